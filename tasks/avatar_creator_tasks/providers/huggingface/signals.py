"""The signals of an answer whose status is not 2xx."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from avatar_creator_tasks.providers.hosted.answers import Dialect
from avatar_creator_tasks.providers.hosted.error_body import error_messages
from avatar_creator_tasks.providers.hosted.http_client import Answer
from avatar_creator_tasks.providers.hosted.outcomes import MEANT_BY_ANYONE, Signal

_NOT_STARTED = frozenset(
    {"runner_scheduling_failure", "runner_connection_refused", "runner_connection_timeout", "startup_timeout"}
)
"""fal's types of errors that happen before a runner receives the request."""
_RETRY_HEADERS = ("x-fal-retryable", "x-fal-needs-retry")
"""Headers that say whether a retry may succeed; newer pages of fal's documentation name the second one."""
_FROM_FAL = "x-fal-request-id"
"""Header of every answer that fal itself makes, and not a proxy in front of it: fal's own client relies on it
(github.com/fal-ai/fal, projects/fal_client/src/fal_client/client.py, `_is_ingress_error`).

No source says that fal's 404 for a request that it does not know has the header. Without the header, the
request counts as alive: the generation may fail, but does not pay for a second picture."""
_CONTENT = re.compile(
    r"\bnsfw\b|not safe for work|\bcontent (?:checker|filter|policy|policies|moderation|violation)"
    r"|\bsafety (?:checker|filter|system|policy|policies|violation)|policy violation|violates .{0,40}policy"
)
"""Words of a refusal because of the content, in a casefolded message. fal: `The content could not be
processed because it contained material flagged by a content checker.`
(fal.ai/docs/documentation/model-apis/errors). diffusers: `Potential NSFW content was detected in one or more
images.` (pipelines/stable_diffusion/safety_checker.py). Clients of fal also look for other words in refusals
without a type, such as `safety checker` and `content policy`."""
_MAX_CHARACTERS = 10_000
"""Number of characters at the start of a refusal's messages that are searched."""
_YES, _NO = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The parts of an answer from which signals are derived."""

    status: int
    body: Mapping[str, Any]
    """JSON body of the provider; empty if there is none."""
    text: str
    """Messages of the body, casefolded."""
    error_types: frozenset[str]
    """fal's types of the error."""
    is_markup: bool
    """True if the body is HTML or XML."""
    is_from_fal: bool
    """True if fal itself made the answer, and not a proxy in front of it."""
    retry_hint: str
    """Value of the header that says whether a retry may succeed; empty if missing."""

    @property
    def is_of_fal(self) -> bool:
        """True if fal has said what is wrong; its types are its own words."""
        return self.is_from_fal or bool(self.error_types)

    @property
    def is_client_error(self) -> bool:
        return self.status // 100 == 4

    @property
    def is_server_error(self) -> bool:
        return self.status // 100 >= 5

    @property
    def status_class(self) -> str:
        return f"{min(self.status // 100, 5)}xx"


def _is_content_refused(refusal: _Refusal) -> bool:
    if refusal.error_types:
        return "content_policy_violation" in refusal.error_types
    is_unprocessable = refusal.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return is_unprocessable and _CONTENT.search(refusal.text) is not None


def _is_account_locked(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.FORBIDDEN and ("locked" in refusal.text or "balance" in refusal.text)


def _is_gateway_page(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.FORBIDDEN and refusal.is_markup


def _is_model_loading(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.SERVICE_UNAVAILABLE and "estimated_time" in refusal.body


def _is_model_unsupported(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.BAD_REQUEST and "not supported by provider" in refusal.text


def _is_in_progress(refusal: _Refusal) -> bool:
    return refusal.status == HTTPStatus.BAD_REQUEST and "still in progress" in refusal.text


def _is_not_started(refusal: _Refusal) -> bool:
    return not refusal.error_types.isdisjoint(_NOT_STARTED)


def _is_foreign_refusal(refusal: _Refusal) -> bool:
    is_of_fal = refusal.is_of_fal and not (refusal.is_markup and refusal.status == HTTPStatus.NOT_FOUND)
    return refusal.is_client_error and refusal.status not in MEANT_BY_ANYONE and not is_of_fal


def _is_retry_helpful(refusal: _Refusal) -> bool:
    return refusal.is_client_error and refusal.retry_hint in _YES


def _is_retry_useless(refusal: _Refusal) -> bool:
    return _is_job_failed(refusal) and refusal.retry_hint in _NO


def _is_job_failed(refusal: _Refusal) -> bool:
    # fal's framework answers an app's uncaught errors and GPU errors without a type.
    return refusal.is_server_error and refusal.is_of_fal


_Rule = tuple[Signal, Callable[[_Refusal], bool]]

_BEFORE_STATUS: tuple[_Rule, ...] = (
    (Signal.CONTENT, _is_content_refused),
    (Signal.LOCKED, _is_account_locked),
    (Signal.GATEWAY_PAGE, _is_gateway_page),
    (Signal.LOADING, _is_model_loading),
    (Signal.UNSUPPORTED, _is_model_unsupported),
    (Signal.IN_PROGRESS, _is_in_progress),
    (Signal.NOT_STARTED, _is_not_started),
    (Signal.FOREIGN_REFUSAL, _is_foreign_refusal),
)
"""Rules for signals that are more specific than the status, the most specific first."""
_AFTER_STATUS: tuple[_Rule, ...] = (
    (Signal.RETRY_HELPS, _is_retry_helpful),
    (Signal.RETRY_IS_USELESS, _is_retry_useless),
    (Signal.JOB_FAILED, _is_job_failed),
)
"""Rules for signals between the status and the class of the status."""


def signals_of(answer: Answer, body: Mapping[str, Any], known_type: str = "") -> Iterator[Signal | str]:
    """Yield the signals of an answer, from the most specific to the most general.

    Args:
        answer: An answer whose status is not 2xx.
        body: JSON body of the provider; empty if there is none.
        known_type: fal's type of the error, if an earlier answer has reported one; else empty.
    """
    refusal = _read_refusal(answer, body, known_type)
    yield from (signal for signal, applies in _BEFORE_STATUS if applies(refusal))
    yield str(refusal.status)
    yield from (signal for signal, applies in _AFTER_STATUS if applies(refusal))
    yield refusal.status_class


def _read_refusal(answer: Answer, body: Mapping[str, Any], known_type: str) -> _Refusal:
    detail = body.get("detail")
    hints = (answer.headers.get(name, "").strip().casefold() for name in _RETRY_HEADERS)
    return _Refusal(
        status=answer.status,
        body=body,
        text=" ".join(error_messages(detail or body.get("error") or ""))[:_MAX_CHARACTERS].casefold(),
        error_types=frozenset(_error_types(answer, body, known_type)) - {""},
        is_from_fal=bool(answer.headers.get(_FROM_FAL)),
        is_markup=answer.content.lstrip().startswith(b"<"),
        retry_hint=next(filter(None, hints), ""),
    )


def _error_types(answer: Answer, body: Mapping[str, Any], known_type: str) -> Iterator[str]:
    yield known_type
    yield str(answer.headers.get("x-fal-error-type", ""))
    kinds = [body.get("error_type")]
    detail = body.get("detail")
    if isinstance(detail, list):
        kinds += [each.get("type") for each in detail if isinstance(each, dict)]
    yield from (kind for kind in kinds if isinstance(kind, str))


def _estimated_time(body: Mapping[str, Any]) -> object:
    """Return the seconds until a model of Hugging Face is loaded."""
    return body.get("estimated_time")


def _bills_nothing(answer: Answer) -> bool:
    """Return whether fal says that the request costs nothing."""
    return answer.headers.get("x-fal-billable-units", "").strip() in ("0", "0.0")


HUGGING_FACE = Dialect(signals_of=signals_of, delay_in=_estimated_time, bills_nothing=_bills_nothing)
"""The way in which Hugging Face's router and the providers behind it refuse requests."""
