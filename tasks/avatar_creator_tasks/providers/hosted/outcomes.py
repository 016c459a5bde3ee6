# ruff: noqa: E501
"""The meaning of everything that can happen to a request, as one table.

Sources:

- fal, request errors (`error_type`, X-Fal-Error-Type): fal.ai/docs/documentation/model-apis/request-errors
- fal, model errors (`detail[].type`, X-Fal-Retryable): fal.ai/docs/documentation/model-apis/errors
- fal, automatic retries (X-Fal-Needs-Retry): fal.ai/docs/documentation/serverless/reliability/retries
- fal, charges (5xx never; 4xx if a runner spent time on it): fal.ai/docs/documentation/model-apis/faq
- fal, `User is locked. Reason: Exhausted balance` as a 403: github.com/fal-ai/fal/issues/1112
- fal, a refused job is COMPLETED and its result is the 422: github.com/TanStack/ai/pull/396
- fal, cancellation (200, 202, 400 ALREADY_COMPLETED, 404 NOT_FOUND): fal.ai/docs/inference-api/queue/cancel
- fal, 5xx of an app without a type: github.com/fal-ai/fal, projects/fal/src/fal/api/api.py
- fal, 408, 409 and 429 are retried: github.com/fal-ai/fal, projects/fal_client/src/fal_client/client.py
- fal, results kept for an hour without payload storage: fal.ai/docs/inference-api/queue/result
- Hugging Face, 402 as plain text: github.com/fal-ai/fal/issues/1043
- Hugging Face, 503 with `estimated_time`: huggingface.co/black-forest-labs/FLUX.1-dev/discussions/74
- Hugging Face, 503 of a starting endpoint: huggingface.co/docs/inference-endpoints/guides/autoscaling
- Hugging Face, 410 of a removed host or model: github.com/langchain4j/langchain4j/issues/4146
- Replicate, `aborted` costs nothing, `canceled` is charged: replicate.com/docs/topics/predictions/lifecycle
- Replicate, 402 `Insufficient credit`: github.com/opencodeschool/opencode.school/issues/211
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntFlag, StrEnum

from avatar_creator_tasks.providers.base import ProviderError

_MAX_RETRY_AFTER_ALIVE = timedelta(minutes=15)
"""Maximum delay before the next attempt at a request that exists. fal keeps a result for an hour, and three
retries must fit into it."""


class Stage(StrEnum):
    """The stage of a request at which something happened."""

    SUBMIT = "submitting to the queue"
    DRAW = "drawing in a single request"
    POLL = "polling the status"
    RESULT = "fetching the result"
    PICTURE = "downloading the picture"
    CANCEL = "cancelling"


class Signal(StrEnum):
    """An observation about an answer, besides its status (`"422"`) and the class of the status (`"4xx"`)."""

    NOT_CONNECTED = "no connection"
    """Refused connection, unknown host, failed TLS or connect timeout: nothing was sent."""
    NO_ANSWER = "no answer in time"
    LOST = "connection lost"
    """The connection broke after the request was sent and before the answer was complete."""
    DEADLINE = "deadline passed"
    DEADLINE_ALIVE = "deadline passed, request still exists"
    """The deadline passed and the request has completed in the meantime, or may still be running."""
    UNREADABLE = "unreadable answer"
    """Not JSON, or not the expected JSON."""
    TOO_LARGE = "answer too large"
    ERROR_BODY = "an error with a success status"
    """Status 2xx with an error as the body."""
    NO_PICTURE = "a result without a picture"
    FORBIDDEN_ADDRESS = "a forbidden address"
    """The picture is at an address that the service must not read, such as one of a private network."""
    NOT_A_PICTURE = "not a picture"
    """Another content type, such as a gateway's page."""
    BROKEN_PICTURE = "a damaged picture"
    WRONG_SIZE = "a picture of another size"
    NSFW = "flagged as not safe for work"
    CONTENT = "content policy"
    GATEWAY_PAGE = "a gateway's page"
    """A 403 with HTML: a refusal by a gateway in front of the provider, not by the provider."""
    FOREIGN_REFUSAL = "a refusal by another party"
    """A 4xx of a router, a proxy or a gateway in front of the provider, for example a 404 because it does not
    know the address. It says nothing about the request."""
    LOCKED = "account locked"
    LOADING = "model loading"
    UNSUPPORTED = "model not supported"
    NOT_STARTED = "no runner available"
    IN_PROGRESS = "not finished yet"
    RETRY_HELPS = "4xx, retry may succeed"
    """The provider says that a retry may succeed."""
    RETRY_IS_USELESS = "5xx, retry is useless"
    """The provider says that a retry would fail too."""
    JOB_FAILED = "5xx of the job"
    """The job failed, not the request for its result: fal itself answered, so the door of the queue works."""
    JOB_FAILED_MAYBE_CHARGED = "failed after it has run"
    """The job failed, and the provider does not say whether it charges for that."""


MEANT_BY_ANYONE = frozenset({401, 402, 403, 408, 409, 429})
"""Statuses that mean the same from the provider and from a router, proxy or gateway in front of it. Another 4xx
that the provider has not sent itself is a `Signal.FOREIGN_REFUSAL`."""


class Flags(IntFlag):
    """The consequences of an outcome."""

    NONE = 0
    RETRYABLE = 1
    """Another attempt may succeed (`ProviderError.retryable`)."""
    CHARGED = 2
    """The provider may have charged for the request (`ProviderError.charged`)."""
    SUBMIT_UNKNOWN = 4
    """A request with an unknown id may exist (`ProviderError.submit_unknown`)."""
    ALIVE = 8
    """The request still exists at the provider (`ProviderError.request_alive`)."""
    REPEAT = 16
    """The same HTTP request is repeated a few times before its failure counts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The meaning of one signal at one stage."""

    reason: str
    """Name of an `ErrorReason`."""
    flags: Flags
    message: str
    """Text for people."""


_SUBMIT, _DRAW, _POLL, _RESULT = Stage.SUBMIT, Stage.DRAW, Stage.POLL, Stage.RESULT
_PICTURE, _CANCEL = Stage.PICTURE, Stage.CANCEL
_SENDING = (_SUBMIT, _DRAW)
_ASKING = (_POLL, _RESULT)
_FETCHING = (_POLL, _RESULT, _PICTURE)

_FATAL = Flags.NONE
_RETRY = Flags.RETRYABLE
_CHARGED = Flags.CHARGED
_RETRY_CHARGED = Flags.RETRYABLE | Flags.CHARGED
_RETRY_CHARGED_REPEAT = _RETRY_CHARGED | Flags.REPEAT
_UNKNOWN = _RETRY_CHARGED | Flags.SUBMIT_UNKNOWN
_ALIVE = _RETRY_CHARGED | Flags.ALIVE
_ALIVE_REPEAT = _ALIVE | Flags.REPEAT

_Row = tuple[tuple[Stage, ...], tuple[Signal | str, ...], str, Flags, str]

# fmt: off
TABLE: tuple[_Row, ...] = (
    # No complete answer.
    (_SENDING,           (Signal.NOT_CONNECTED,),              "UNAVAILABLE",     _RETRY,                 "could not connect to the provider"),
    (_SENDING,           (Signal.NO_ANSWER,),                  "TIMEOUT",         _UNKNOWN,               "the provider did not answer in time"),
    (_SENDING,           (Signal.DEADLINE,),                   "TIMEOUT",         _UNKNOWN,               "the provider did not answer before the deadline"),
    (_SENDING,           (Signal.LOST,),                       "UNAVAILABLE",     _UNKNOWN,               "the connection was lost before the provider answered"),
    (_FETCHING,          (Signal.NOT_CONNECTED,),              "UNAVAILABLE",     _ALIVE_REPEAT,          "could not connect to the provider while the request was running"),
    (_FETCHING,          (Signal.NO_ANSWER,),                  "TIMEOUT",         _ALIVE_REPEAT,          "the provider did not answer in time while the request was running"),
    (_FETCHING,          (Signal.LOST,),                       "UNAVAILABLE",     _ALIVE_REPEAT,          "the connection was lost while the request was running"),
    (_FETCHING,          (Signal.DEADLINE,),                   "TIMEOUT",         _RETRY_CHARGED,         "the picture was not finished before the deadline: the request was cancelled"),
    (_FETCHING,          (Signal.DEADLINE_ALIVE,),             "TIMEOUT",         _ALIVE,                 "the picture was not finished before the deadline: the request may still be running"),

    # Unusable answers.
    ((_SUBMIT,),         (Signal.UNREADABLE, Signal.TOO_LARGE, Signal.ERROR_BODY),
                                                               "BAD_ANSWER",      _UNKNOWN,               "the provider's receipt could not be read"),
    (_ASKING,            (Signal.UNREADABLE, Signal.TOO_LARGE),
                                                               "BAD_ANSWER",      _ALIVE_REPEAT,          "the provider's answer could not be read"),
    ((_RESULT,),         (Signal.ERROR_BODY,),                 "BAD_ANSWER",      _RETRY_CHARGED,         "the provider's result is an error"),
    ((_RESULT,),         (Signal.NO_PICTURE,),                 "BAD_ANSWER",      _RETRY_CHARGED,         "the provider's result contains no picture"),
    ((_PICTURE,),        (Signal.FORBIDDEN_ADDRESS,),          "BAD_ANSWER",      _CHARGED,               "the provider's picture is at an address that the service must not read"),
    ((_DRAW,),           (Signal.ERROR_BODY,),                 "BAD_ANSWER",      _RETRY_CHARGED,         "the provider sent an error instead of a picture"),
    ((_DRAW,),           (Signal.NOT_A_PICTURE, Signal.UNREADABLE),
                                                               "BAD_ANSWER",      _RETRY_CHARGED,         "the provider sent something that is not a picture"),
    ((_DRAW,),           (Signal.BROKEN_PICTURE,),             "BAD_ANSWER",      _RETRY_CHARGED,         "the provider's picture is damaged"),
    ((_PICTURE,),        (Signal.NOT_A_PICTURE, Signal.UNREADABLE),
                                                               "BAD_ANSWER",      _ALIVE_REPEAT,          "the picture's address returned something that is not a picture"),
    ((_PICTURE,),        (Signal.BROKEN_PICTURE,),             "BAD_ANSWER",      _RETRY_CHARGED_REPEAT,  "the provider's picture is damaged"),
    ((_DRAW, _PICTURE),  (Signal.TOO_LARGE,),                  "BAD_ANSWER",      _RETRY_CHARGED,         "the provider's picture is too large"),
    ((_DRAW, _PICTURE),  (Signal.WRONG_SIZE,),                 "BAD_ANSWER",      _RETRY_CHARGED,         "the provider's picture does not have the requested size"),
    (_SENDING,           ("3xx",),                             "BAD_ANSWER",      _RETRY,                 "the provider redirected the request to another address"),
    (_FETCHING,          ("3xx",),                             "BAD_ANSWER",      _ALIVE_REPEAT,          "the provider redirected the query to another address"),

    # The provider refuses the service itself.
    (_SENDING,           (Signal.GATEWAY_PAGE,),               "REJECTED",        _FATAL,                 "a gateway in front of the provider refused the request"),
    (_ASKING,            (Signal.GATEWAY_PAGE, Signal.FOREIGN_REFUSAL),
                                                               "BAD_ANSWER",      _ALIVE_REPEAT,          "a gateway in front of the provider refused the query"),
    (_SENDING,           ("401", "403"),                       "CREDENTIALS",     _FATAL,                 "the provider refused the service's API key"),
    (_SENDING,           ("402", Signal.LOCKED),               "CREDIT",          _FATAL,                 "the service has no credit left at the provider"),
    (_ASKING,            ("401", "403"),                       "CREDENTIALS",     _ALIVE,                 "the provider refused the service's API key while the request was running"),
    (_ASKING,            ("402", Signal.LOCKED),               "CREDIT",          _ALIVE,                 "the service has no credit left at the provider, while the request was running"),
    (_SENDING,           ("404", "410", Signal.UNSUPPORTED),   "GONE",            _FATAL,                 "the provider does not offer the model"),
    (_ASKING,            (Signal.UNSUPPORTED,),                "GONE",            _ALIVE,                 "the provider does not offer the model any longer, while the request was running"),
    (_ASKING,            ("410",),                             "GONE",            _CHARGED,               "the provider no longer offers the model"),

    # The provider refuses this request.
    (_SENDING,           (Signal.CONTENT,),                    "CONTENT_REFUSED", _FATAL,                 "the provider's content policy refused the request"),
    ((_RESULT,),         (Signal.CONTENT,),                    "CONTENT_REFUSED", _CHARGED,               "the provider's content policy refused the request"),
    ((_RESULT,),         (Signal.NSFW,),                       "NSFW",            _CHARGED,               "the provider withheld the picture as not safe for work"),
    (_SENDING,           (Signal.RETRY_HELPS,),                "UNAVAILABLE",     _RETRY,                 "the provider failed temporarily"),
    ((_RESULT,),         (Signal.RETRY_HELPS,),                "UNAVAILABLE",     _RETRY_CHARGED,         "the provider failed temporarily"),
    (_SENDING,           ("4xx",),                             "REJECTED",        _FATAL,                 "the provider refused the request"),
    ((_RESULT,),         ("4xx",),                             "REJECTED",        _CHARGED,               "the provider refused the request"),

    # The provider is overloaded or fails.
    (_SENDING,           ("429",),                             "OVERLOADED",      _RETRY,                 "the provider received too many requests from the service"),
    (_FETCHING,          ("429",),                             "OVERLOADED",      _ALIVE_REPEAT,          "the provider received too many queries from the service"),
    ((_DRAW,),           (Signal.LOADING,),                    "OVERLOADED",      _RETRY,                 "the provider's model is still loading"),
    (_SENDING,           ("408",),                             "UNAVAILABLE",     _RETRY,                 "the provider did not receive the request in time"),
    ((_SUBMIT,),         ("409",),                             "UNAVAILABLE",     _RETRY,                 "the provider could not accept the request at this moment"),
    ((_SUBMIT,),         (Signal.NOT_STARTED,),                "UNAVAILABLE",     _RETRY,                 "the provider has no free runner"),
    ((_DRAW,),           ("503",),                             "UNAVAILABLE",     _RETRY,                 "the provider is temporarily unavailable"),
    (_SENDING,           ("5xx",),                             "UNAVAILABLE",     _UNKNOWN,               "the provider failed"),
    ((_RESULT,),         (Signal.RETRY_IS_USELESS,),           "REJECTED",        Flags.REPEAT,           "the provider failed on the request and says that a retry would fail too"),
    ((_RESULT,),         (Signal.JOB_FAILED,),                 "UNAVAILABLE",     _RETRY | Flags.REPEAT,  "the provider failed on the request"),
    ((_RESULT,),         (Signal.JOB_FAILED_MAYBE_CHARGED,),   "UNAVAILABLE",     _RETRY_CHARGED,         "the provider failed on the request"),
    (_FETCHING,          ("408", "409", "5xx"),                "UNAVAILABLE",     _ALIVE_REPEAT,          "the provider failed while the request was running"),

    # Only for a request that exists.
    (_ASKING,            ("404",),                             "UNAVAILABLE",     _RETRY_CHARGED_REPEAT,  "the provider no longer knows the request"),
    ((_RESULT,),         ("499",),                             "UNAVAILABLE",     _RETRY_CHARGED,         "the request was cancelled at the provider"),
    ((_RESULT,),         (Signal.IN_PROGRESS,),                "UNAVAILABLE",     _ALIVE_REPEAT,          "the provider reported the picture as finished but is still drawing"),
    ((_POLL,),           ("4xx",),                             "BAD_ANSWER",      _ALIVE_REPEAT,          "the provider refused to report the status"),
    ((_PICTURE,),        ("404", "410"),                       "UNAVAILABLE",     _RETRY_CHARGED_REPEAT,  "the provider no longer has the picture"),
    ((_PICTURE,),        ("4xx",),                             "BAD_ANSWER",      _ALIVE_REPEAT,          "the provider's link to the picture does not work"),

    # Cancellations that failed.
    ((_CANCEL,),         (Signal.NOT_CONNECTED, Signal.LOST, "408", "5xx"),
                                                               "UNAVAILABLE",     _RETRY,                 "the cancellation did not reach the provider"),
    ((_CANCEL,),         (Signal.NO_ANSWER, Signal.DEADLINE),  "TIMEOUT",         _RETRY,                 "the provider did not confirm the cancellation in time"),
    ((_CANCEL,),         ("429",),                             "OVERLOADED",      _RETRY,                 "the provider received too many cancellations from the service"),
    ((_CANCEL,),         ("401", "403"),                       "CREDENTIALS",     _FATAL,                 "the provider refused the service's API key"),
    ((_CANCEL,),         ("402", Signal.LOCKED),               "CREDIT",          _FATAL,                 "the service has no credit left at the provider"),
    ((_CANCEL,),         ("3xx", "4xx", Signal.UNREADABLE, Signal.TOO_LARGE),
                                                               "BAD_ANSWER",      _RETRY,                 "the provider did not confirm the cancellation"),
)
"""Rows of stages, signals (any of them), reason without PROVIDER_, consequences and message.

If an answer has several signals, the first one with a row counts. So signals are always listed from the most
specific to the most general.
"""
# fmt: on

_OUTCOMES = {
    (stage, signal): Outcome(f"PROVIDER_{reason}", flags, message)
    for stages, signals, reason, flags, message in TABLE
    for stage in stages
    for signal in signals
}


class RequestError(ProviderError):
    """An error defined by the table."""

    def __init__(self, outcome: Outcome, message: str, retry_after: timedelta, *, charged: bool) -> None:
        flags = outcome.flags
        super().__init__(
            outcome.reason,
            message,
            retryable=Flags.RETRYABLE in flags,
            retry_after=retry_after,
            charged=charged,
            submit_unknown=Flags.SUBMIT_UNKNOWN in flags,
            request_alive=Flags.ALIVE in flags,
        )
        self.repeatable = Flags.REPEAT in flags
        """True if the same HTTP request may be repeated immediately."""


def failure(
    stage: Stage,
    signals: Iterable[Signal | str],
    *,
    status: int | None = None,
    provider_message: str = "",
    retry_after: timedelta = timedelta(0),
    nothing_billed: bool = False,
) -> RequestError:
    """Return the error that the table defines for these signals at this stage.

    Args:
        stage: The stage of the request.
        signals: The observed signals, from the most specific to the most general.
        status: HTTP status to show in the message.
        provider_message: The provider's own message, already safe to show.
        retry_after: Minimum delay before another attempt.
        nothing_billed: Whether the provider says that it did not charge.
    """
    outcome = next(_OUTCOMES[stage, signal] for signal in signals if (stage, signal) in _OUTCOMES)
    if Flags.ALIVE in outcome.flags:
        retry_after = min(retry_after, _MAX_RETRY_AFTER_ALIVE)
    shown = "" if status is None else f" ({status})"
    return RequestError(
        outcome,
        f"{outcome.message}{shown}{': ' if provider_message else ''}{provider_message}",
        retry_after,
        # A request that still exists is charged when its picture is fetched, even if this answer bills nothing.
        charged=Flags.CHARGED in outcome.flags and (Flags.ALIVE in outcome.flags or not nothing_billed),
    )
