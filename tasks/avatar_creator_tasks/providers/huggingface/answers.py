"""What an answer says.

fal reports a failed request as `{"detail": text, "error_type": type}`, with the type in X-Fal-Error-Type
too, and what a model refuses as `{"detail": [{"loc", "msg", "type"}, …]}`; X-Fal-Retryable, or
X-Fal-Needs-Retry in newer pages of its documentation, says whether the same request may succeed
(fal.ai/docs/documentation/model-apis/errors and …/request-errors). Hugging Face answers `{"error":
text}`, sometimes with `estimated_time` in seconds, or plain text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from avatar_creator_tasks.providers.huggingface.excerpt import excerpt
from avatar_creator_tasks.providers.huggingface.http_client import Answer
from avatar_creator_tasks.providers.huggingface.outcomes import RequestError, Sign, Step, failure

LONGEST_RETRY_AFTER = timedelta(hours=1)
"""More than this is not believed: a generation is not to sleep for days."""

_LISTED = 3
_NOT_STARTED = frozenset(
    {"runner_scheduling_failure", "runner_connection_refused", "runner_connection_timeout", "startup_timeout"}
)
"""Failures of fal before a runner had the request."""
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


def json_object(answer: Answer) -> dict[str, Any] | None:
    """The JSON object that the body is; None if it is none."""
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def is_error_body(said: Mapping[str, Any]) -> bool:
    """Whether a body is what errors look like."""
    return any(said.get(name) for name in ("error", "error_type", "detail"))


class AnswerReader:
    """Turns answers that are not what was asked for into errors."""

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        self._secret = secret
        self._now = now

    def refusal(self, step: Step, answer: Answer, *, known_type: str = "") -> RequestError:
        """The error that an answer other than a 2xx is; `known_type` is fal's type of it, if known before."""
        said = json_object(answer)
        # Whoever serves the picture knows nothing of fal.
        own = said if said is not None and step is not Step.PICTURE else {}
        return failure(
            step,
            _signs(answer, own, known_type),
            status=answer.status,
            said=self.words(answer),
            retry_after=self._retry_after(answer, own),
            nothing_billed=answer.headers.get("x-fal-billable-units", "").strip() in ("0", "0.0"),
        )

    def words(self, answer: Answer) -> str:
        """The provider's own message, fit to be shown; empty if it has none."""
        said = json_object(answer)
        if said is not None:
            told = next((said[name] for name in ("error", "detail", "message") if said.get(name)), "")
            return excerpt("; ".join(_messages(told)), self._secret)
        text = answer.content.decode("utf-8", "replace").strip()
        is_plain = answer.headers.get("content-type", "text/plain").startswith("text/plain")
        return excerpt(text, self._secret) if is_plain and not text.startswith(("<", "{", "[")) else ""

    def fact(self, value: object) -> str:
        """Something the provider says, fit to be kept."""
        return excerpt(str(value), self._secret)

    def _retry_after(self, answer: Answer, said: Mapping[str, Any]) -> timedelta:
        header = answer.headers.get("retry-after", "").strip()
        if not header:
            # Seconds until the model is loaded.
            return _clamped(said.get("estimated_time"))
        try:
            return _clamped(float(header))
        except ValueError:
            pass
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return timedelta(0)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return _clamped((moment - self._now()).total_seconds())


def _signs(answer: Answer, said: Mapping[str, Any], known_type: str) -> Iterator[Sign | str]:
    """From the most to the least telling."""
    status = answer.status
    detail = said.get("detail")
    types = {known_type, str(answer.headers.get("x-fal-error-type", "")), str(said.get("error_type") or "")}
    if isinstance(detail, list):
        types |= {str(each.get("type")) for each in detail if isinstance(each, dict)}
    types.discard("")
    told = " ".join(_messages(detail or said.get("error") or "")).casefold()
    if "content_policy_violation" in types:
        yield Sign.CONTENT
    if status == HTTPStatus.FORBIDDEN and ("locked" in told or "balance" in told):
        yield Sign.LOCKED
    if status == HTTPStatus.FORBIDDEN and answer.content.lstrip().startswith(b"<"):
        yield Sign.GATEWAY_PAGE
    if status == HTTPStatus.SERVICE_UNAVAILABLE and "estimated_time" in said:
        yield Sign.LOADING
    if status == HTTPStatus.BAD_REQUEST and "not supported by provider" in told:
        yield Sign.UNSUPPORTED
    if status == HTTPStatus.BAD_REQUEST and "still in progress" in told:
        yield Sign.IN_PROGRESS
    if types & _NOT_STARTED:
        yield Sign.NOT_STARTED
    yield str(status)
    hint = next(
        (
            value
            for name in ("x-fal-retryable", "x-fal-needs-retry")
            if (value := answer.headers.get(name, "").strip().casefold())
        ),
        "",
    )
    status_class = f"{min(status // 100, 5)}xx"
    if status_class == "4xx" and hint in _YES:
        yield Sign.RETRY_HELPS
    if status_class == "5xx" and types:
        if hint in _NO:
            yield Sign.RETRY_IS_VAIN
        yield Sign.JOB_FAILED
    yield status_class


def _messages(told: Any) -> Iterator[str]:
    """The texts of an error, without what was sent, which fal repeats in it."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, list):
        for each in told[:_LISTED]:
            yield from _messages(each)
    elif isinstance(told, dict):
        place = told.get("loc")
        where = ".".join(str(part) for part in place[1:]) if isinstance(place, list) else ""
        text = next((told[name] for name in ("msg", "message") if isinstance(told.get(name), str)), "")
        if text:
            yield f"{where}: {text}" if where else text


def _clamped(seconds: Any) -> timedelta:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
        return timedelta(0)
    return timedelta(seconds=min(max(seconds, 0), LONGEST_RETRY_AFTER.total_seconds()))
