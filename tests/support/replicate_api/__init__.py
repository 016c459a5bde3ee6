"""A local fake of Replicate's API, https://api.replicate.com, and of its host of pictures.

The docstring of each module names the documents that it follows. Faults and behaviors are those of
`hosted_fake`. Here, a fault of the stage "status" fails the answer to `GET /v1/predictions/{id}`, and one of
the stage "result" makes the prediction itself end without a picture.

`python -m tests.support.replicate_api --port 0` runs the fake by hand and prints its address.
"""

from tests.support.hosted_fake.behavior import Behavior, Fault
from tests.support.replicate_api.replicate_fake import ReplicateFake

__all__ = ["Behavior", "Fault", "ReplicateFake"]
