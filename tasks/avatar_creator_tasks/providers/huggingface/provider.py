"""The provider: by which way each route draws."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports
from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.answers import AnswerReader
from avatar_creator_tasks.providers.huggingface.fal_queue import Cancelled, DeadlinePassedError, FalQueue
from avatar_creator_tasks.providers.huggingface.http_client import Deadline, Exchange
from avatar_creator_tasks.providers.huggingface.limits import Limits
from avatar_creator_tasks.providers.huggingface.outcomes import Step, failure
from avatar_creator_tasks.providers.huggingface.request_paths import is_request_path
from avatar_creator_tasks.providers.huggingface.single_requests import SingleRequests

_HEARD_OUT_SECONDS = 10.0

log = structlog.get_logger()


def _now() -> datetime:
    return datetime.now(UTC)


class HuggingFaceProvider:
    """Draws with models that others run."""

    estimates_progress = True
    most_at_once = 2

    def __init__(
        self, access: Access, *, limits: Limits | None = None, now: Callable[[], datetime] = _now
    ) -> None:
        """Reach them so.

        Args:
            access: whom to reach, and how.
            limits: bounds on what goes over the wire.
            now: what time it is, for a Retry-After that names a moment.
        """
        limits = limits or Limits()
        reader = AnswerReader(access.api_key, now)
        self._deadline_seconds = access.deadline.total_seconds()
        self._exchange = Exchange(limits)
        self._queue = FalQueue(access, limits, self._exchange, reader)
        self._single = SingleRequests(access, limits, self._exchange, reader)

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Make the portrait; see `outcomes.TABLE` for what is raised when.

        An id to resume by is only asked about: with one, nothing is ever submitted.

        Raises:
            ProviderError: there is no picture.
        """
        deadline = Deadline(self._deadline_seconds)
        match request.route.name:
            case "fal-ai" | "fal-ai-kontext":
                return await self._from_queue(request, reports, deadline)
            case "hf-inference" | "endpoint":
                if request.resume_request_id:
                    raise failure(Step.POLL, ("404",), said="it was made by another route")
                return await self._single.portrait(request, deadline, reports.progress)
            case other:
                raise ValueError(f"no way to draw by the route {other!r}")

    async def cancel(self, request_id: str) -> None:
        """Let fal drop a request; what has ended or is unknown needs no cancelling.

        Raises:
            ProviderError: fal could not be told; says whether asking again may help.
        """
        if not is_request_path(request_id):
            log.warning("provider_request_of_others_not_cancelled")
            return
        cancelled = await self._queue.cancel(request_id)
        if cancelled is not Cancelled.TOLD:
            log.info("provider_request_needed_no_cancelling", because=str(cancelled))

    async def _submitted(self, request: PortraitRequest, reports: Reports, deadline: Deadline) -> str:
        """Submit a request and tell of it.

        Both are seen to their end when the call is cancelled, for a while: what is not known of can neither
        be taken up again nor cancelled, and is paid for.
        """

        async def submit_and_tell() -> str:
            path = await self._queue.submit(request, deadline)
            await reports.submitted(path)
            return path

        submission = asyncio.create_task(submit_and_tell())
        try:
            return await asyncio.shield(submission)
        except asyncio.CancelledError:
            await _see_through(submission)
            raise

    async def close(self) -> None:
        """Close its connections."""
        await self._exchange.close()

    async def _from_queue(self, request: PortraitRequest, reports: Reports, deadline: Deadline) -> Portrait:
        path = request.resume_request_id or await self._submitted(request, reports, deadline)
        try:
            return await self._queue.portrait(path, request, deadline, reports.progress)
        except DeadlinePassedError:
            pass
        raise await self._queue.give_up(path)


async def _see_through(submission: asyncio.Task[str]) -> None:
    """Wait for its end for a while, however often the waiting is cancelled; what it raises is nobody's."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _HEARD_OUT_SECONDS
    while not submission.done() and loop.time() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({submission}, timeout=until - loop.time())
    submission.cancel()
    await asyncio.gather(submission, return_exceptions=True)
