"""Requests that are charged and can be resumed, whose submission no cancellation may interrupt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reports
from avatar_creator_tasks.providers.hosted.http_client import Deadline
from avatar_creator_tasks.providers.hosted.outcomes import RequestError
from avatar_creator_tasks.providers.hosted.repetition import DeadlinePassedError

_GRACE_SECONDS = 10.0
"""Time that a cancelled call leaves its submission to end."""


class ResumableRequests(Protocol):
    """A provider's requests, which an id identifies."""

    async def submit(self, request: PortraitRequest, deadline: Deadline) -> str:
        """Submit a request and return its id."""

    async def portrait(
        self,
        request_id: str,
        request: PortraitRequest,
        deadline: Deadline,
        progress: Callable[[float], Awaitable[None]],
        /,
    ) -> Portrait:
        """Wait for a request and fetch its picture."""

    async def cancel_after_deadline(self, request_id: str, /) -> RequestError:
        """Cancel a request whose deadline has passed and return the error of the attempt."""


async def draw_resumably(
    requests: ResumableRequests, request: PortraitRequest, reports: Reports, deadline: Deadline
) -> Portrait:
    """Submit or resume a request and fetch its picture; cancel it if the deadline passes.

    Raises:
        ProviderError: The portrait could not be drawn.
    """
    request_id = request.resume_request_id or await _submit_and_report(
        lambda: requests.submit(request, deadline), reports.submitted
    )
    try:
        return await requests.portrait(request_id, request, deadline, reports.progress)
    except DeadlinePassedError:
        pass
    raise await requests.cancel_after_deadline(request_id)


async def _submit_and_report(
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
