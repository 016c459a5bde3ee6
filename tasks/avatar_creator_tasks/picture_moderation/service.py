"""The classifier behind an address, such as an Inference Endpoint of Hugging Face.

Request and answer are those of Hugging Face's image classification: the body of the POST is the picture's
file, and `classifier` describes the answer. The source is `ImageClassificationInput` in
github.com/huggingface/huggingface.js, packages/tasks: "If no `parameters` are provided, you can also provide
the image data as a raw bytes payload."
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO

import httpx
import structlog
from PIL import Image
from pydantic import SecretStr, ValidationError

from avatar_creator_server.settings import SettingsError
from avatar_creator_server.shared.http import (
    NO_COMPRESSION,
    BearerKey,
    CompressedAnswerError,
    TooLongAnswerError,
    http_problem,
    open_http_client,
    read_bounded,
)
from avatar_creator_tasks.picture_moderation.classifier import ANSWER, NoVerdictError, nsfw_score_in

log = structlog.get_logger()

MAX_SIDE_PIXELS = 1024
"""Longest side of a picture that is sent. Classifiers reduce it further, often to 224 pixels."""
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """Limits for the answers of the service."""

    answer_seconds: float = 15.0
    """Maximum time for one answer."""
    answer_bytes: int = 256 * 1024
    """Maximum length of an answer."""
    first_pause: float = 0.5
    """Seconds until the second try. Each further pause is twice as long."""
    longest_pause: float = 8.0
    """Longest pause, in seconds."""


class ServiceClassifier:
    """Sends pictures to the operator's own address, and tries again until it answers."""

    def __init__(self, url: str, api_key: SecretStr, limits: ServiceLimits | None = None) -> None:
        """Create a client without a connection.

        Args:
            url: Address, as the settings have checked it.
            api_key: Key for the header `Authorization: Bearer`; may be empty.
            limits: The limits; the defaults of `ServiceLimits` if None.

        Raises:
            SettingsError: The address cannot be called, or the environment names an unusable proxy.
        """
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL:
            raise SettingsError("PICTURE_MODERATION is a URL that no client can call: check it") from None
        self._key = BearerKey(api_key.get_secret_value())
        self._limits = limits or ServiceLimits()
        # `asyncio.timeout` limits the whole answer. httpx limits each step: a trickle would never time out.
        # No redirect: the host is not chosen.
        self._http = open_http_client(
            headers={**NO_COMPRESSION, "accept": "application/json", "user-agent": "avatar-creator"},
            timeout=None,
            follow_redirects=False,
        )

    @property
    def name(self) -> str:
        """The host of the address."""
        return self._url.host

    async def load(self) -> None:
        """Do nothing: a service that does not answer now may answer when the first picture is ready."""

    async def nsfw_score(self, image: Image.Image) -> float:
        """Return the probability that a picture is not safe for work. Try until there is an answer."""
        file = await asyncio.to_thread(jpeg_to_send, image)
        pause = self._limits.first_pause
        while True:
            try:
                return await self.ask(file)
            except NoVerdictError as error:
                log.warning("picture_moderation_unanswered", classifier=self.name, cause=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._limits.longest_pause)

    async def ask(self, file: bytes) -> float:
        """Send one request with a JPEG file, and return the score in its answer.

        Raises:
            NoVerdictError: There is no usable answer.
        """
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                answer = ANSWER.validate_json(await self._post(file))
        # Without the causes: they can contain the answer.
        except TimeoutError:
            raise NoVerdictError("no answer in time") from None
        except httpx.HTTPError as error:
            raise NoVerdictError(http_problem(error)) from None
        except ValidationError:
            raise NoVerdictError("the answer is not a list of labels with scores from 0 to 1") from None
        return nsfw_score_in(answer)

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _post(self, file: bytes) -> bytes:
        async with self._http.stream(
            "POST", self._url, content=file, headers={"content-type": "image/jpeg"}, auth=self._key
        ) as response:
            if response.status_code != httpx.codes.OK:
                raise NoVerdictError(f"status {response.status_code}")
            try:
                return await read_bounded(response, self._limits.answer_bytes)
            except CompressedAnswerError:
                raise NoVerdictError("the answer is compressed") from None
            except TooLongAnswerError:
                raise NoVerdictError("the answer is too long") from None


def jpeg_to_send(image: Image.Image) -> bytes:
    """Encode a picture for the service, reduced to `MAX_SIDE_PIXELS`. The file has no metadata."""
    small = image.convert("RGB")
    small.info.clear()
    small.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
    file = BytesIO()
    small.save(file, "JPEG", quality=_JPEG_QUALITY)
    return file.getvalue()
