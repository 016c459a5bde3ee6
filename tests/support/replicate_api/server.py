"""The server of the fake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.huggingface_router.answers import send, with_fault
from tests.support.huggingface_router.behavior import Plan
from tests.support.huggingface_router.control import Control
from tests.support.huggingface_router.submissions import Submissions
from tests.support.replicate_api.predictions_api import PredictionsApi
from tests.support.replicate_api.problems import documented

# The body contains references as base64.
_MAX_BODY_BYTES = 64 * 1024 * 1024

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Plan(Plan):
    """A plan whose valid tokens are those of Replicate."""

    def is_valid_token(self, token: str) -> bool:
        return token.startswith("r8_") if self.tokens is None else token in self.tokens


def application() -> web.Application:
    """Create a fake without predictions and without faults."""
    plan = _Plan()
    submissions = Submissions()

    @web.middleware
    async def fail_in_outage(request: web.Request, handler: _Handler) -> web.StreamResponse:
        fault = plan.outage
        if fault is None or request.path.startswith("/_control/"):
            return await handler(request)
        submissions.requests["outage"] += 1
        return await send(request, with_fault(None, fault, documented), fault)

    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[fail_in_outage])
    PredictionsApi(plan, submissions).add_routes(app)
    Control(plan, submissions).add_routes(app)
    return app
