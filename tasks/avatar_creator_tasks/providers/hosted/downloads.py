"""Downloads of finished pictures, from hosts that are not trusted and never receive the API key."""

from __future__ import annotations

import httpx
import structlog
from PIL import Image

from avatar_creator_server.shared.untrusted_http import RefusedAddressError
from avatar_creator_tasks.providers.hosted.answers import AnswerReader
from avatar_creator_tasks.providers.hosted.http_client import Answer, Deadline, HttpClient, NoAnswerError
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import Signal, Stage, failure
from avatar_creator_tasks.providers.hosted.picture_addresses import redirected
from avatar_creator_tasks.providers.hosted.pictures import BadPictureError, PictureReader
from avatar_creator_tasks.providers.hosted.repetition import unanswered

log = structlog.get_logger()


class PictureDownloads:
    """Downloads and decodes the pictures that a provider's answers name."""

    def __init__(
        self, limits: Limits, http: HttpClient, reader: AnswerReader, pictures: PictureReader
    ) -> None:
        self._limits = limits
        self._http = http
        self._reader = reader
        self._pictures = pictures

    async def picture(self, url: httpx.URL, size: tuple[int, int], deadline: Deadline) -> Image.Image:
        """Download and decode a picture, which may have another size than the requested one.

        Args:
            url: Address of the picture.
            size: The requested width and height in pixels.
            deadline: Latest end of the call.

        Raises:
            RequestError: The picture cannot be read; the table says whether a repetition may help.
            DeadlinePassedError: The deadline passed.
        """
        answer = await self._download(url, deadline)
        content_type = answer.headers.get("content-type", "")
        try:
            return await self._pictures.read(answer.content, content_type, size, deadline)
        except BadPictureError as error:
            raise failure(Stage.PICTURE, (error.signal,), provider_message=error.message) from error

    async def _download(self, url: httpx.URL, deadline: Deadline) -> Answer:
        for _ in range(self._limits.redirects + 1):
            try:
                answer = await self._http.download(url, deadline, max_bytes=self._limits.picture_bytes)
            except RefusedAddressError as error:
                log.warning("picture_address_refused", host=self._reader.fact(url.host), because=str(error))
                raise failure(Stage.PICTURE, (Signal.FORBIDDEN_ADDRESS,)) from None
            except NoAnswerError as error:
                raise unanswered(Stage.PICTURE, error) from error
            if answer.is_success:
                return answer
            target = redirected(url, answer.status, answer.headers)
            if target is None:
                break
            url = target
        raise self._reader.refusal(Stage.PICTURE, answer)
