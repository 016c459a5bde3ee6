"""The parts that the local fakes of hosted providers share: faults, submissions, pictures and control.

A fake runs in its own process. `/_control/behave` makes it fail, and `/_control/submissions` lists the
received submissions.
"""

from tests.support.hosted_fake.behavior import Behavior, Fault
from tests.support.hosted_fake.running_fake import RunningFake
from tests.support.hosted_fake.unanswering import unanswering_address

__all__ = ["Behavior", "Fault", "RunningFake", "unanswering_address"]
