"""The server of the fake."""

from __future__ import annotations

import secrets
import uuid

from aiohttp import web

from tests.support.hosted_fake.answers import Answer
from tests.support.hosted_fake.behavior import Fault
from tests.support.hosted_fake.serving import controlled_application
from tests.support.hosted_fake.submissions import Submissions
from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.fal_queue import FalQueue
from tests.support.huggingface_router.hf_inference import HfInference
from tests.support.huggingface_router.hub import Hub
from tests.support.huggingface_router.router_plan import RouterPlan


def application() -> web.Application:
    """Create a fake without submissions and without faults."""
    plan = RouterPlan()
    submissions = Submissions()
    app = controlled_application(plan, submissions, _documented)
    app.on_response_prepare.append(_name_request)
    for routes in (FalQueue, HfInference, Hub):
        routes(plan, submissions).add_routes(app)
    return app


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault(
        "x-request-id", f"Root=1-{secrets.token_hex(4)}-{secrets.token_hex(12)};{uuid.uuid4()}"
    )


def _documented(fault: Fault) -> Answer:
    status = fault.status or 503
    return Answer.of(status, documented_errors.hugging_face_error(status))
