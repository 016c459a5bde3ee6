"""A faithful local fake of the Hugging Face router, https://router.huggingface.co.

It serves the providers fal-ai (queue and single requests) and hf-inference, and `POST /` of a dedicated
Inference Endpoint; each module's docstring names the documents it follows. `python -m
tests.support.huggingface_router --port 0` runs it by hand and says where; `/_control/behave` makes it
misbehave, and `/_control/submissions` shows what came in.
"""

from tests.support.huggingface_router.behaviour import Behavior, Fault
from tests.support.huggingface_router.router_fake import RouterFake
from tests.support.huggingface_router.unanswering import unanswering_address

__all__ = ["Behavior", "Fault", "RouterFake", "unanswering_address"]
