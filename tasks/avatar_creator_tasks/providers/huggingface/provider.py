"""The provider itself: chooses the protocol of each route."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports, foreign_request_error
from avatar_creator_tasks.providers.hosted.answers import AnswerReader, utc_now
from avatar_creator_tasks.providers.hosted.downloads import PictureDownloads
from avatar_creator_tasks.providers.hosted.http_client import Deadline, HttpClient
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import Stage, failure
from avatar_creator_tasks.providers.hosted.pictures import PictureReader
from avatar_creator_tasks.providers.hosted.submission import draw_resumably
from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.fal_queue import FalQueue
from avatar_creator_tasks.providers.huggingface.request_paths import is_request_path
from avatar_creator_tasks.providers.huggingface.signals import HUGGING_FACE
from avatar_creator_tasks.providers.huggingface.single_requests import SingleRequests

log = structlog.get_logger()


class HuggingFaceProvider:
    """Draws with hosted models."""

    estimates_progress = True
    max_concurrency = 2

    def __init__(
        self,
        access: Access,
        decoders: Decoders,
        *,
        limits: Limits | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Create the provider.

        Args:
            access: Addresses and credentials.
            decoders: Child processes that decode the pictures. Others close them.
            limits: Limits on requests and answers.
            now: Returns the current time, to interpret a Retry-After that is a date.
        """
        limits = limits or Limits()
        reader = AnswerReader(access.api_key, now, HUGGING_FACE)
        self._deadline_seconds = access.deadline.total_seconds()
        self._http = HttpClient(limits, access.picture_rules)
        pictures = PictureReader(decoders, max_pixels=limits.picture_pixels)
        downloads = PictureDownloads(limits, self._http, reader, pictures)
        self._queue = FalQueue(access, limits, self._http, reader, downloads)
        self._single = SingleRequests(access, limits, self._http, reader, pictures)

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Draw the portrait; `outcomes.TABLE` defines the errors.

        With an id to resume, the call only fetches that request and submits nothing.

        Raises:
            ProviderError: The portrait could not be drawn.
        """
        deadline = Deadline(self._deadline_seconds)
        match request.route.name:
            case "fal-ai" | "fal-ai-reference":
                return await draw_resumably(self._queue, request, reports, deadline)
            case "hf-inference" | "endpoint":
                if request.resume_request_id:
                    raise failure(Stage.POLL, ("404",), provider_message="another route made the request")
                return await self._single.portrait(request, deadline, reports.progress)
            case other:
                raise ValueError(f"unknown route {other}")

    async def cancel(self, request_id: str) -> None:
        """Cancel a request at fal. A request that has ended or is unknown is not an error.

        Raises:
            ProviderError: fal itself has not answered, so the request counts as running.
        """
        if not is_request_path(request_id):
            raise foreign_request_error(request_id)
        result = await self._queue.cancel(request_id)
        log.info("provider_cancellation_answered", answer=result.name, meaning=str(result))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()
