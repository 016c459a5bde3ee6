# ruff: noqa: E501
"""What everything that can happen to a request means: one table.

Sources, where they say it:

- fal, request errors (`error_type`, X-Fal-Error-Type): fal.ai/docs/documentation/model-apis/request-errors
- fal, model errors (`detail[].type`, X-Fal-Retryable): fal.ai/docs/documentation/model-apis/errors
- fal, what is retried (X-Fal-Needs-Retry): fal.ai/docs/documentation/serverless/reliability/retries
- fal, what is charged (5xx never; 4xx if a runner spent time on it): fal.ai/docs/documentation/model-apis/faq
- fal, `User is locked. Reason: Exhausted balance` as a 403: github.com/fal-ai/fal/issues/1112
- fal, a refused job is COMPLETED and its result is the 422: github.com/TanStack/ai/pull/396
- fal, cancelling (200, 202, 400 ALREADY_COMPLETED, 404 NOT_FOUND): fal.ai/docs/inference-api/queue/cancel
- Hugging Face, 402 as plain text: github.com/fal-ai/fal/issues/1043
- Hugging Face, 503 with `estimated_time`: huggingface.co/black-forest-labs/FLUX.1-dev/discussions/74
- Hugging Face, 503 of an endpoint that is starting: huggingface.co/docs/inference-endpoints/guides/autoscaling
- Hugging Face, 410 of a host or model that is gone: github.com/langchain4j/langchain4j/issues/4146
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntFlag, StrEnum

from avatar_creator_tasks.providers.base import ProviderError


class Step(StrEnum):
    """What was being done."""

    SUBMIT = "handing the request to the queue"
    DRAW = "having it drawn in a single request"
    POLL = "asking how far it is"
    RESULT = "asking for its result"
    PICTURE = "fetching its picture"
    CANCEL = "cancelling it"


class Sign(StrEnum):
    """What was seen. Besides these there are statuses (`"422"`) and their classes (`"4xx"`)."""

    NOT_CONNECTED = "no connection"
    """Refused, no such host, no TLS, or none in time: nothing was sent."""
    NO_ANSWER = "no answer in time"
    LOST = "connection lost"
    """After the request was sent, before its answer was whole."""
    DEADLINE = "deadline passed"
    DEADLINE_STANDING = "deadline passed, request still stands"
    """The provider could not be told to drop it, or has finished it meanwhile."""
    UNREADABLE = "unreadable answer"
    """Not JSON, or not what the step is answered with."""
    TOO_LARGE = "answer too large"
    SAYS_ERROR = "an error as success"
    """A 2xx whose body is an error."""
    NO_PICTURE = "a result without a picture"
    NOT_A_PICTURE = "no picture"
    """Another type, as a gateway's page has."""
    BROKEN_PICTURE = "a broken picture"
    WRONG_SIZE = "a picture of another size"
    NSFW = "flagged as not safe for work"
    CONTENT = "content policy"
    GATEWAY_PAGE = "a gateway's page"
    """A refusal with status 403 that is HTML: by something in front of the provider, not by the provider."""
    LOCKED = "account locked"
    LOADING = "model loading"
    UNSUPPORTED = "model not supported"
    NOT_STARTED = "no runner took it"
    IN_PROGRESS = "not finished yet"
    RETRY_HELPS = "4xx, may be repeated"
    """The provider says so."""
    RETRY_IS_VAIN = "5xx, need not be repeated"
    """The provider says so."""
    JOB_FAILED = "5xx of the job"
    """It is the job that failed, not the question about it."""


class Flags(IntFlag):
    """What follows from it."""

    NONE = 0
    AGAIN = 1
    """Another attempt may mend it (`ProviderError.retryable`)."""
    PAID = 2
    """It may have been charged (`ProviderError.charged`)."""
    ORPHAN = 4
    """There may be a request nobody knows the id of (`ProviderError.submit_unknown`)."""
    ALIVE = 8
    """The request still stands (`ProviderError.request_alive`)."""
    ASK = 16
    """The same question is asked a few times more before the answer is believed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One cell of the table."""

    reason: str
    """Name of an `ErrorReason`."""
    flags: Flags
    words: str
    """For people."""


_SUBMIT, _DRAW, _POLL, _RESULT = Step.SUBMIT, Step.DRAW, Step.POLL, Step.RESULT
_PICTURE, _CANCEL = Step.PICTURE, Step.CANCEL
_SENDING = (_SUBMIT, _DRAW)
_ASKING = (_POLL, _RESULT)
_STANDING = (_POLL, _RESULT, _PICTURE)

_NO = Flags.NONE
_AGAIN = Flags.AGAIN
_PAID = Flags.PAID
_AGAIN_PAID = Flags.AGAIN | Flags.PAID
_AGAIN_PAID_ASK = _AGAIN_PAID | Flags.ASK
_ORPHAN = _AGAIN_PAID | Flags.ORPHAN
_ALIVE = _AGAIN_PAID | Flags.ALIVE
_ALIVE_ASK = _ALIVE | Flags.ASK
_OURS = Flags.PAID | Flags.ALIVE
"""The service itself is refused while the request stands."""

_Row = tuple[tuple[Step, ...], tuple[Sign | str, ...], str, Flags, str]

# fmt: off
TABLE: tuple[_Row, ...] = (
    # Nothing or nothing whole came back.
    (_SENDING,  (Sign.NOT_CONNECTED,),          "UNAVAILABLE",     _AGAIN,          "the provider could not be reached"),
    (_SENDING,  (Sign.NO_ANSWER,),              "TIMEOUT",         _ORPHAN,         "the provider did not answer in time"),
    (_SENDING,  (Sign.DEADLINE,),               "TIMEOUT",         _ORPHAN,         "the provider did not answer before the deadline"),
    (_SENDING,  (Sign.LOST,),                   "UNAVAILABLE",     _ORPHAN,         "the connection was lost before the provider had answered"),
    (_STANDING, (Sign.NOT_CONNECTED,),          "UNAVAILABLE",     _ALIVE_ASK,      "the provider could not be reached while it drew"),
    (_STANDING, (Sign.NO_ANSWER,),              "TIMEOUT",         _ALIVE_ASK,      "the provider did not answer in time while it drew"),
    (_STANDING, (Sign.LOST,),                   "UNAVAILABLE",     _ALIVE_ASK,      "the connection was lost while the provider drew"),
    (_STANDING, (Sign.DEADLINE,),               "TIMEOUT",         _AGAIN_PAID,     "the picture was not finished before the deadline, and was cancelled"),
    (_STANDING, (Sign.DEADLINE_STANDING,),      "TIMEOUT",         _ALIVE,          "the picture had not come before the deadline"),

    # Answers that are none.
    ((_SUBMIT,), (Sign.UNREADABLE, Sign.TOO_LARGE, Sign.SAYS_ERROR),
                                                "BAD_ANSWER",      _ORPHAN,         "the provider's receipt could not be read"),
    (_ASKING,   (Sign.UNREADABLE, Sign.TOO_LARGE),
                                                "BAD_ANSWER",      _ALIVE_ASK,      "the provider's answer could not be read"),
    ((_RESULT,), (Sign.SAYS_ERROR,),            "BAD_ANSWER",      _AGAIN_PAID,     "the provider's result is an error"),
    ((_RESULT,), (Sign.NO_PICTURE,),            "BAD_ANSWER",      _AGAIN_PAID,     "the provider's result names no picture"),
    ((_DRAW,),  (Sign.SAYS_ERROR,),             "BAD_ANSWER",      _AGAIN_PAID,     "the provider sent an error in a picture's place"),
    ((_DRAW,),  (Sign.NOT_A_PICTURE, Sign.UNREADABLE),
                                                "BAD_ANSWER",      _AGAIN_PAID,     "the provider sent something else in a picture's place"),
    ((_DRAW,),  (Sign.BROKEN_PICTURE,),         "BAD_ANSWER",      _AGAIN_PAID,     "the provider's picture is broken"),
    ((_PICTURE,), (Sign.NOT_A_PICTURE, Sign.UNREADABLE),
                                                "BAD_ANSWER",      _ALIVE_ASK,      "something else is in the picture's place"),
    ((_PICTURE,), (Sign.BROKEN_PICTURE,),       "BAD_ANSWER",      _AGAIN_PAID_ASK, "the provider's picture is broken"),
    ((_DRAW, _PICTURE), (Sign.TOO_LARGE,),      "BAD_ANSWER",      _AGAIN_PAID,     "the provider's picture is too large"),
    ((_DRAW, _PICTURE), (Sign.WRONG_SIZE,),     "BAD_ANSWER",      _AGAIN_PAID,     "the provider's picture has another size than was asked for"),
    (_SENDING,  ("3xx",),                       "BAD_ANSWER",      _AGAIN,          "the provider sent the request elsewhere"),
    (_STANDING, ("3xx",),                       "BAD_ANSWER",      _ALIVE_ASK,      "the provider sent the question elsewhere"),

    # The service itself is refused.
    (_SENDING,  (Sign.GATEWAY_PAGE,),           "REJECTED",        _NO,             "a gateway in front of the provider refused the request"),
    (_ASKING,   (Sign.GATEWAY_PAGE,),           "BAD_ANSWER",      _ALIVE_ASK,      "a gateway in front of the provider refused the question"),
    (_SENDING,  ("401", "403"),                 "CREDENTIALS",     _NO,             "the provider refused the service's key"),
    (_SENDING,  ("402", Sign.LOCKED),           "CREDIT",          _NO,             "the service has no credit left at the provider"),
    (_ASKING,   ("401", "403"),                 "CREDENTIALS",     _OURS,           "the provider refused the service's key while it drew"),
    (_ASKING,   ("402", Sign.LOCKED),           "CREDIT",          _OURS,           "the service has no credit left at the provider"),
    (_SENDING,  ("404", "410", Sign.UNSUPPORTED), "GONE",          _NO,             "the provider has no such model"),
    (_ASKING,   ("410",),                       "GONE",            _PAID,           "the provider has no such model any more"),

    # The request is refused as it stands.
    (_SENDING,  (Sign.CONTENT,),                "CONTENT_REFUSED", _NO,             "the provider's content policy refused the request"),
    ((_RESULT,), (Sign.CONTENT,),               "CONTENT_REFUSED", _PAID,           "the provider's content policy refused the request"),
    ((_RESULT,), (Sign.NSFW,),                  "NSFW",            _PAID,           "the provider withheld the picture as not safe for work"),
    (_SENDING,  (Sign.RETRY_HELPS,),            "UNAVAILABLE",     _AGAIN,          "the provider failed for the moment"),
    ((_RESULT,), (Sign.RETRY_HELPS,),           "UNAVAILABLE",     _AGAIN_PAID,     "the provider failed for the moment"),
    (_SENDING,  ("4xx",),                       "REJECTED",        _NO,             "the provider refused the request"),
    ((_RESULT,), ("4xx",),                      "REJECTED",        _PAID,           "the provider refused the request"),

    # The provider is overloaded, or fails.
    (_SENDING,  ("429",),                       "OVERLOADED",      _AGAIN,          "the provider has too many requests of the service"),
    (_STANDING, ("429",),                       "OVERLOADED",      _ALIVE_ASK,      "the provider was asked too often"),
    ((_DRAW,),  (Sign.LOADING,),                "OVERLOADED",      _AGAIN,          "the provider's model is still loading"),
    (_SENDING,  ("408",),                       "UNAVAILABLE",     _AGAIN,          "the provider gave up waiting for the request"),
    ((_SUBMIT,), (Sign.NOT_STARTED,),           "UNAVAILABLE",     _AGAIN,          "the provider has nobody to draw at present"),
    ((_DRAW,),  ("503",),                       "UNAVAILABLE",     _AGAIN,          "the provider is not available at present"),
    (_SENDING,  ("5xx",),                       "UNAVAILABLE",     _ORPHAN,         "the provider failed"),
    ((_RESULT,), (Sign.RETRY_IS_VAIN,),         "REJECTED",        Flags.ASK,       "the provider failed at the request and would again"),
    ((_RESULT,), (Sign.JOB_FAILED,),            "UNAVAILABLE",     _AGAIN | Flags.ASK, "the provider failed at the request"),
    (_STANDING, ("408", "5xx"),                 "UNAVAILABLE",     _ALIVE_ASK,      "the provider failed while the request stood"),

    # What is only so of a request that was made.
    (_ASKING,   ("404",),                       "UNAVAILABLE",     _AGAIN_PAID_ASK, "the provider does not know the request any more"),
    ((_RESULT,), ("499",),                      "UNAVAILABLE",     _AGAIN_PAID,     "the request was cancelled at the provider"),
    ((_RESULT,), (Sign.IN_PROGRESS,),           "UNAVAILABLE",     _ALIVE_ASK,      "the provider has not finished after all"),
    ((_POLL,),  ("4xx",),                       "BAD_ANSWER",      _ALIVE_ASK,      "the provider refused to say how far it is"),
    ((_PICTURE,), ("404", "410"),               "UNAVAILABLE",     _AGAIN_PAID_ASK, "the provider has the picture no longer"),
    ((_PICTURE,), ("4xx",),                     "BAD_ANSWER",      _ALIVE_ASK,      "the provider's link to the picture does not work"),

    # It could not be told to drop a request.
    ((_CANCEL,), (Sign.NOT_CONNECTED, Sign.LOST, "408", "5xx"),
                                                "UNAVAILABLE",     _AGAIN,          "the provider could not be told to drop the request"),
    ((_CANCEL,), (Sign.NO_ANSWER, Sign.DEADLINE), "TIMEOUT",       _AGAIN,          "the provider did not say in time whether it drops the request"),
    ((_CANCEL,), ("429",),                      "OVERLOADED",      _AGAIN,          "the provider was asked too often to drop requests"),
    ((_CANCEL,), ("401", "403"),                "CREDENTIALS",     _NO,             "the provider refused the service's key"),
    ((_CANCEL,), ("402", Sign.LOCKED),          "CREDIT",          _NO,             "the service has no credit left at the provider"),
    ((_CANCEL,), ("3xx", "4xx", Sign.UNREADABLE, Sign.TOO_LARGE),
                                                "BAD_ANSWER",      _AGAIN,          "the provider did not say whether it drops the request"),
)
"""Where it happened, what was seen (any of these), the reason without PROVIDER_, what follows, the words.

Of several signs the first that has a row counts, so an answer's are given from the most to the least telling.
"""
# fmt: on

_OUTCOMES = {
    (step, sign): Outcome(f"PROVIDER_{reason}", flags, words)
    for steps, signs, reason, flags, words in TABLE
    for step in steps
    for sign in signs
}


class RequestError(ProviderError):
    """A request came to an end of the table."""

    def __init__(self, outcome: Outcome, message: str, retry_after: timedelta, *, charged: bool) -> None:
        flags = outcome.flags
        super().__init__(
            outcome.reason,
            message,
            retryable=Flags.AGAIN in flags,
            retry_after=retry_after,
            charged=charged,
            submit_unknown=Flags.ORPHAN in flags,
            request_alive=Flags.ALIVE in flags,
        )
        self.ask_again = Flags.ASK in flags
        """Whether the same question may be asked again on the spot."""


def failure(
    step: Step,
    signs: Iterable[Sign | str],
    *,
    status: int | None = None,
    said: str = "",
    retry_after: timedelta = timedelta(0),
    nothing_billed: bool = False,
) -> RequestError:
    """The error that these signs, from the most to the least telling, are at this step.

    Args:
        step: what was being done.
        signs: what was seen.
        status: HTTP status, for people.
        said: what the provider says itself, already fit to be shown.
        retry_after: least wait before another attempt.
        nothing_billed: the provider says that it did not charge.
    """
    seen = tuple(signs)
    outcome = next(_OUTCOMES[step, sign] for sign in seen if (step, sign) in _OUTCOMES)
    shown = "" if status is None else f" ({status})"
    return RequestError(
        outcome,
        f"{outcome.words}{shown}{': ' if said else ''}{said}",
        retry_after,
        # What still stands is paid for when its picture is fetched, whatever this answer says.
        charged=Flags.PAID in outcome.flags and (Flags.ALIVE in outcome.flags or not nothing_billed),
    )
