"""The submission of a request that is charged, which a cancellation of the call must not interrupt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from avatar_creator_tasks.providers.base import ProviderError

_GRACE_SECONDS = 10.0
"""Time that a cancelled call leaves its submission to end."""


async def submit_and_report(
    submit: Callable[[], Awaitable[str]], report: Callable[[str], Awaitable[None]]
) -> str:
    """Submit a request, report its id and return it.

    If the call is cancelled, submission and report get some time to end. A request whose id was never
    reported cannot be resumed or cancelled, but is still charged.

    Args:
        submit: Submits the request and returns its id.
        report: Receives the id.

    Raises:
        ProviderError: The submission failed. If the call is cancelled too, this error takes the place of the
            cancellation, because it may say that nothing is charged.
    """

    async def both() -> str:
        request_id = await submit()
        await report(request_id)
        return request_id

    submission = asyncio.create_task(both())
    try:
        return await asyncio.shield(submission)
    except asyncio.CancelledError:
        await _let_end(submission)
        if not submission.cancelled() and isinstance(error := submission.exception(), ProviderError):
            raise error from None
        raise


async def _let_end(submission: asyncio.Task[str]) -> None:
    """Wait up to the grace period for a submission, ignoring further cancellations, and stop it then."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _GRACE_SECONDS
    while not submission.done() and loop.time() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({submission}, timeout=until - loop.time())
    submission.cancel()
    await asyncio.gather(submission, return_exceptions=True)
