"""A local fake of the Hugging Face router, https://router.huggingface.co.

It serves the providers fal-ai (queue and single requests) and hf-inference, and `POST /` of a dedicated
Inference Endpoint. The docstring of each module names the documents that it follows.

`python -m tests.support.huggingface_router --port 0` runs the fake by hand and prints its address.
`/_control/behave` makes it fail, and `/_control/submissions` lists the received submissions.
"""

from tests.support.hosted_fake.behavior import Behavior, Fault
from tests.support.hosted_fake.unanswering import unanswering_address
from tests.support.huggingface_router.router_fake import RouterFake

__all__ = ["Behavior", "Fault", "RouterFake", "unanswering_address"]
