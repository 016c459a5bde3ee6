"""Errors, messages and facts that the provider's answers contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import structlog

from avatar_creator_tasks.providers.hosted.error_body import error_messages, json_object
from avatar_creator_tasks.providers.hosted.excerpt import excerpt
from avatar_creator_tasks.providers.hosted.http_client import Answer
from avatar_creator_tasks.providers.hosted.outcomes import RequestError, Signal, Stage, failure

log = structlog.get_logger()

MAX_RETRY_AFTER = timedelta(hours=1)
"""Maximum accepted Retry-After, so that no answer can delay a generation for days."""

_MAX_HEADER = 500
"""Maximum number of characters of a header that is parsed. A longer one counts as missing: its sender chooses
the text, and the event loop waits while it is parsed."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_INTEGER = re.compile("[0-9]{1,15}", re.ASCII)

SignalsOf = Callable[[Answer, Mapping[str, Any]], Iterable[Signal | str]]
"""Returns the signals of an answer whose status is not 2xx, the most specific first. The arguments are the
answer and the provider's JSON body (empty if there is none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The parts of one provider's refusals that the protocol of HTTP does not define."""

    signals_of: SignalsOf
    delay_in: Callable[[Mapping[str, Any]], object]
    """Returns the seconds until a retry that the body of a refusal asks for, or anything else if it asks for
    none. The headers count before it."""
    bills_nothing: Callable[[Answer], bool]
    """Returns whether a refusal says that the provider does not charge for the request."""


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


class AnswerReader:
    """Turns answers into errors, messages and facts, and removes the secret from all of them."""

    def __init__(
        self,
        secret: str,
        now: Callable[[], datetime],
        dialect: Dialect,
    ) -> None:
        """Create a reader.

        Args:
            secret: The API key, which no message may contain.
            now: Returns the current time, to interpret a Retry-After that is a date.
            dialect: The provider's way to refuse requests.
        """
        self._secret = secret
        self._now = now
        self._dialect = dialect

    def refusal(self, stage: Stage, answer: Answer, signals_of: SignalsOf | None = None) -> RequestError:
        """Return the error for an answer whose status is not 2xx.

        Args:
            stage: The stage of the request.
            answer: The answer.
            signals_of: Finds the signals with what earlier answers have reported; None uses the dialect's.
        """
        # The host of the pictures is not the provider: its body has another format, and no user may see it.
        is_foreign = stage is Stage.PICTURE
        body = {} if is_foreign else json_object(answer.content) or {}
        message = self.message(answer)
        if is_foreign and message:
            log.info("picture_download_refused", status=answer.status, message=message)
        return failure(
            stage,
            (signals_of or self._dialect.signals_of)(answer, body),
            status=answer.status,
            provider_message="" if is_foreign else message,
            retry_after=self._retry_after(answer, body, is_foreign=is_foreign),
            nothing_billed=not is_foreign and self._dialect.bills_nothing(answer),
        )

    def unusable(self, stage: Stage, signal: Signal, answer: Answer) -> RequestError:
        """Return the error for an answer with a success status and an unusable body."""
        return failure(stage, (signal,), status=answer.status, provider_message=self.message(answer))

    def message(self, answer: Answer) -> str:
        """Return the provider's own message, safe to show; empty if the answer has none."""
        body = json_object(answer.content)
        if body is not None:
            error = next((body[name] for name in ("error", "detail", "message") if body.get(name)), "")
            return excerpt("; ".join(error_messages(error)), self._secret)
        text = answer.content.decode("utf-8", "replace").strip()
        is_plain = answer.headers.get("content-type", "text/plain").startswith("text/plain")
        return excerpt(text, self._secret) if is_plain and not text.startswith(("<", "{", "[")) else ""

    def fact(self, value: object) -> str:
        """Return a value of the provider as text, safe to store."""
        return excerpt(str(value) if isinstance(value, str | int | float) else "", self._secret)

    def _retry_after(self, answer: Answer, body: Mapping[str, Any], *, is_foreign: bool) -> timedelta:
        """Return the delay that a refusal asks for. Only the provider itself has limits on the service."""
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS and not is_foreign:
            seconds = _rate_limit_seconds(_bounded(answer, "ratelimit"))
            if seconds is not None:
                return _clamped(seconds)
        header = _bounded(answer, "retry-after").strip()
        if not header:
            return _clamped(self._dialect.delay_in(body))
        try:
            return _clamped(float(header))
        except ValueError:
            pass
        try:
            moment = parsedate_to_datetime(header)
        except (ValueError, TypeError, OverflowError):
            return timedelta(0)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return _clamped((moment - self._now()).total_seconds())


def _bounded(answer: Answer, name: str) -> str:
    """Return a header to parse; an empty text if the answer has none, or a longer one than is parsed."""
    value: str = answer.headers.get(name, "")
    return value if len(value) <= _MAX_HEADER else ""


def _rate_limit_seconds(header: str) -> int | None:
    """Return the seconds until every exhausted limit in a RateLimit header is reset; None without any.

    Hugging Face sends `ratelimit: "api";r=0;t=55`, and its own client prefers that to Retry-After
    (huggingface.co/docs/hub/rate-limits; huggingface_hub, utils/_http.py, `parse_ratelimit_headers`). The
    form is a list of structured fields, draft-ietf-httpapi-ratelimit-headers-09.
    """
    waits = []
    for limit in _QUOTED.sub("", header).split(","):
        parts = (parameter.partition("=") for parameter in limit.split(";")[1:])
        parameters = {name.strip(): value.strip() for name, _, value in parts}
        remaining, reset = (_INTEGER.fullmatch(parameters.get(name, "")) for name in ("r", "t"))
        if remaining is not None and int(remaining[0]) == 0 and reset is not None:
            waits.append(int(reset[0]))
    return max(waits, default=None)


def _clamped(seconds: Any) -> timedelta:
    # An integer can be too large for a float.
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:
        return timedelta(0)
    return timedelta(seconds=min(max(seconds, 0), MAX_RETRY_AFTER.total_seconds()))
