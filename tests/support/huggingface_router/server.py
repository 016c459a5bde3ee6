"""The server of the fake."""

from __future__ import annotations

import asyncio
import secrets
import signal
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.answers import Answer, send, with_fault
from tests.support.huggingface_router.behavior import Fault, Plan
from tests.support.huggingface_router.control import Control
from tests.support.huggingface_router.fal_queue import FalQueue
from tests.support.huggingface_router.hf_inference import HfInference
from tests.support.huggingface_router.hub import Hub
from tests.support.huggingface_router.submissions import Submissions

# The body contains a reference picture as base64.
_MAX_BODY_BYTES = 64 * 1024 * 1024

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application() -> web.Application:
    """Create a fake without submissions and without faults."""
    plan = Plan()
    submissions = Submissions()

    @web.middleware
    async def fail_in_outage(request: web.Request, handler: _Handler) -> web.StreamResponse:
        fault = plan.outage
        if fault is None or request.path.startswith("/_control/"):
            return await handler(request)
        submissions.requests["outage"] += 1
        return await send(request, with_fault(None, fault, _documented), fault)

    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[fail_in_outage])
    app.on_response_prepare.append(_name_request)
    for routes in (FalQueue, HfInference, Hub, Control):
        routes(plan, submissions).add_routes(app)
    return app


async def serve(port: int) -> None:
    """Serve the fake on 127.0.0.1 until SIGTERM or SIGINT; the first line of output is the URL."""
    await serve_application(application(), port)


async def serve_application(app: web.Application, port: int) -> None:
    """Serve an application on 127.0.0.1 until SIGTERM or SIGINT; the first line of output is the URL."""
    # Cancelling the handler ends a job whose caller has disconnected.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    host, listening = runner.addresses[0][:2]
    print(f"http://{host}:{listening}", flush=True)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault(
        "x-request-id", f"Root=1-{secrets.token_hex(4)}-{secrets.token_hex(12)};{uuid.uuid4()}"
    )


def _documented(fault: Fault) -> Answer:
    status = fault.status or 503
    return Answer.of(status, documented_errors.hugging_face_error(status))
