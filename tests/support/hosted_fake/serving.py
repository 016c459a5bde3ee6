"""The web application of a fake, and its process."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.hosted_fake.answers import Answer, send, with_fault
from tests.support.hosted_fake.behavior import Fault, Plan
from tests.support.hosted_fake.control import Control
from tests.support.hosted_fake.submissions import Submissions

_MAX_BODY_BYTES = 64 * 1024 * 1024
"""Maximum size of a request: the body contains references as base64."""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def controlled_application(
    plan: Plan, submissions: Submissions, documented: Callable[[Fault], Answer]
) -> web.Application:
    """Create an application that has only the control routes, and fails in an outage of the plan.

    Args:
        plan: The behavior.
        submissions: The received submissions.
        documented: Returns the provider's documented answer for a fault without its own body.
    """

    @web.middleware
    async def fail_in_outage(request: web.Request, handler: _Handler) -> web.StreamResponse:
        fault = plan.outage
        if fault is None or request.path.startswith("/_control/"):
            return await handler(request)
        submissions.requests["outage"] += 1
        return await send(request, with_fault(None, fault, documented), fault)

    app = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[fail_in_outage])
    Control(plan, submissions).add_routes(app)
    return app


def run(app: web.Application, description: str | None) -> None:
    """Serve an application at the port in the arguments of the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free port")
    asyncio.run(_serve(app, parser.parse_args().port))


async def _serve(app: web.Application, port: int) -> None:
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
