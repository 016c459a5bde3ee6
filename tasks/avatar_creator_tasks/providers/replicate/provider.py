"""The provider itself: submits or resumes a prediction, and cancels it at the deadline."""

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
from avatar_creator_tasks.providers.hosted.pictures import PictureReader
from avatar_creator_tasks.providers.hosted.submission import draw_resumably
from avatar_creator_tasks.providers.replicate.access import Access
from avatar_creator_tasks.providers.replicate.predictions import (
    Predictions,
    is_prediction_id,
)
from avatar_creator_tasks.providers.replicate.signals import REPLICATE

log = structlog.get_logger()


class ReplicateProvider:
    """Draws with the models that Replicate hosts."""

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
            access: Address and credentials.
            decoders: Child processes that decode the pictures. Others close them.
            limits: Limits on requests and answers.
            now: Returns the current time, to interpret a Retry-After that is a date.
        """
        limits = limits or Limits()
        reader = AnswerReader(access.api_token, now, REPLICATE)
        self._deadline_seconds = access.deadline.total_seconds()
        self._http = HttpClient(limits, access.picture_rules)
        pictures = PictureReader(decoders, max_pixels=limits.picture_pixels)
        downloads = PictureDownloads(limits, self._http, reader, pictures)
        self._predictions = Predictions(access, limits, self._http, reader, downloads)

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Draw the portrait; `outcomes.TABLE` defines the errors.

        With an id to resume, the call only fetches that prediction and submits nothing.

        Raises:
            ProviderError: The portrait could not be drawn.
        """
        deadline = Deadline(self._deadline_seconds)
        return await draw_resumably(self._predictions, request, reports, deadline)

    async def cancel(self, request_id: str) -> None:
        """Cancel a prediction. One that has ended or is unknown is not an error.

        Raises:
            ProviderError: Replicate has not said what happened, so the prediction counts as running.
        """
        if not is_prediction_id(request_id):
            raise foreign_request_error(request_id)
        result = await self._predictions.cancel(request_id)
        log.info("provider_cancellation_answered", answer=result.name, meaning=str(result))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()
