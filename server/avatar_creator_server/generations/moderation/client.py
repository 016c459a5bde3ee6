"""A client of a moderation service with the API of OpenAI's Moderations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.settings import SettingsError
from avatar_creator_server.settings.values import header_text
from avatar_creator_server.shared.http import (
    NO_COMPRESSION,
    BearerKey,
    CompressedAnswerError,
    TooLongAnswerError,
    open_http_client,
    read_bounded,
)

log = structlog.get_logger()

_MAX_CATEGORIES = 10


@dataclass(frozen=True, slots=True)
class ModerationLimits:
    """Limits for the answer of a moderation service."""

    seconds: float = 3.0
    """Maximum time for the whole answer, including a second attempt."""
    answer_bytes: int = 256 * 1024
    """Maximum length of an answer. OpenAI's answers have 2 KiB."""
    retry_after: float = 5.0
    """Seconds after which callers may try again if there was no answer."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a moderation service about a text."""

    flagged: bool
    categories: tuple[str, ...]
    """Names of the categories for which the text was flagged, sorted, at most 10; may be empty."""


class _Result(BaseModel):
    model_config = ConfigDict(strict=True)

    flagged: bool
    # Older models do not know `illicit` and `illicit/violent`: these categories are null.
    categories: dict[Annotated[str, StringConstraints(max_length=60)], bool | None]


class _Answer(BaseModel):
    results: list[_Result] = Field(min_length=1)


class ModerationClient:
    """Sends texts to a moderation service.

    https://developers.openai.com/api/reference/resources/moderations documents the API: the answer to
    `POST {"input": text}` is `{"results": [{"flagged": true, "categories": {"violence": true, …}}]}`. The
    client ignores other fields. It sends the key as `Authorization: Bearer`.
    """

    def __init__(self, url: str, api_key: SecretStr, limits: ModerationLimits | None = None) -> None:
        """Create a client without a connection.

        Args:
            url: The full URL of the endpoint, for example `https://api.openai.com/v1/moderations`.
            api_key: The key; may be empty.
            limits: The limits; the defaults of `ModerationLimits` if None.

        Raises:
            SettingsError: The URL, the key or a proxy is invalid. The message does not contain the key.
        """
        key = api_key.get_secret_value()
        if not _is_web_address(url):
            raise SettingsError(
                "MODERATION_URL must be the full URL of the endpoint, beginning with https://"
            )
        if key:
            try:
                header_text(key)
            except ValueError as error:
                raise SettingsError(f"MODERATION_API_KEY {error}") from None
        self._url = url
        self._limits = limits or ModerationLimits()
        # `asyncio.timeout` limits the whole answer. httpx limits each step: a trickle would never time out.
        self._http = open_http_client(
            headers=NO_COMPRESSION,
            auth=BearerKey(key) if key else None,
            timeout=None,
        )

    async def moderate(self, text: str) -> Verdict:
        """Return the verdict about a text.

        Raises:
            UnavailableError: The service did not answer, or not in the documented form.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await self._post_with_retry(text)
            results = _Answer.model_validate_json(body).results
        # Without the causes: they contain the sent text and the answer.
        except TimeoutError:
            raise self._unavailable_error("no answer in time") from None
        except httpx.HTTPError as error:
            raise self._unavailable_error(type(error).__name__) from None
        except ValidationError:
            raise self._unavailable_error("not the documented answer") from None
        flagged_for = {name for result in results for name, holds in result.categories.items() if holds}
        return Verdict(
            flagged=any(result.flagged for result in results),
            categories=tuple(sorted(flagged_for)[:_MAX_CATEGORIES]),
        )

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _post_with_retry(self, text: str) -> bytes:
        try:
            return await self._post(text)
        except httpx.TransportError:
            # The service may have closed a kept connection in the meantime.
            return await self._post(text)

    async def _post(self, text: str) -> bytes:
        async with self._http.stream("POST", self._url, json={"input": text}) as response:
            if response.status_code != httpx.codes.OK:
                raise self._unavailable_error(f"status {response.status_code}")
            try:
                return await read_bounded(response, self._limits.answer_bytes)
            except CompressedAnswerError:
                raise self._unavailable_error("the answer is compressed") from None
            except TooLongAnswerError:
                raise self._unavailable_error("the answer is too long") from None

    def _unavailable_error(self, cause: str) -> UnavailableError:
        log.warning("moderation_unavailable", cause=cause)
        return UnavailableError(
            "MODERATION_UNAVAILABLE",
            "the moderation service does not answer, so nothing was created; try again later",
            retry_after=self._limits.retry_after,
        )


def _is_web_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("https", "http") and bool(parsed.host)
