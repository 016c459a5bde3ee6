"""The meaning of Replicate's answers: errors of the API, and the error of a prediction that has failed.

The API answers an error with a problem document, `{"title", "detail", "status", "type"?}` (RFC 7807;
github.com/replicate/replicate-python, replicate/exceptions.py).

A prediction that fails has the text of the model's exception in `error`. Some texts mean that the content was
refused:

- `NSFW content detected. Try running it again, or try a different prompt.` and `All generated images
  contained NSFW content. Try running it again with a different prompt.`, from the safety checker of a model
  (github.com/replicate/cog-stable-diffusion, predict.py; github.com/replicate/cog-flux, predict.py).
- `The input or output was flagged as sensitive. Please try again with different inputs. (E005)`, from models
  that their maker runs. No page of Replicate documents this text; users report it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from avatar_creator_tasks.providers.hosted.answers import Dialect
from avatar_creator_tasks.providers.hosted.http_client import Answer
from avatar_creator_tasks.providers.hosted.outcomes import MEANT_BY_ANYONE, Signal

_NSFW = re.compile(r"\bnsfw\b", re.IGNORECASE)
_CONTENT = re.compile(
    r"\(E005\)|flagged as sensitive|content polic|content moderation|safety (?:system|filter)",
    re.IGNORECASE,
)
_MAX_CHARACTERS = 10_000
"""Number of characters at the start of a text that are searched."""
_RESETS = re.compile(r"rate limit resets in ~?(\d{1,6}) ?s", re.IGNORECASE)


def _signals_of(answer: Answer, body: Mapping[str, Any]) -> Iterator[Signal | str]:
    """Yield the signals of an answer whose status is not 2xx, from the most specific to the most general.

    Args:
        answer: An answer of the API.
        body: Its JSON body; empty if there is none.
    """
    text = f"{_text(body, 'title')} {_text(body, 'detail')}"
    is_client_error = answer.status // 100 == 4
    if is_client_error and _CONTENT.search(text):
        yield Signal.CONTENT
    if answer.status == HTTPStatus.FORBIDDEN and answer.content.lstrip().startswith(b"<"):
        yield Signal.GATEWAY_PAGE
    if is_client_error and "spend limit" in text.casefold():
        # The account's own monthly limit, which stops every request of the service.
        yield Signal.LOCKED
    is_foreign = is_client_error and not is_own_problem(body, answer.status)
    if is_foreign and answer.status not in MEANT_BY_ANYONE:
        yield Signal.FOREIGN_REFUSAL
    yield str(answer.status)
    yield f"{min(answer.status // 100, 5)}xx"


def signal_of_failed_prediction(error: str) -> Signal:
    """Return the signal of a prediction that has failed with this error."""
    start = error[:_MAX_CHARACTERS]
    if _NSFW.search(start):
        return Signal.NSFW
    return Signal.CONTENT if _CONTENT.search(start) else Signal.JOB_FAILED_MAYBE_CHARGED


def _delay_in(body: Mapping[str, Any]) -> object:
    """Return the seconds until a retry that a 429 asks for in its body; None if there are none.

    The body is `{"detail": "Request was throttled. Your rate limit resets in ~30s.", "status": 429,
    "retry_after": 30}`. The page replicate.com/docs/topics/predictions/rate-limits shows only `detail`.
    """
    if "retry_after" in body:
        return body["retry_after"]
    found = _RESETS.search(_text(body, "detail"))
    return int(found[1]) if found else None


def _text(body: Mapping[str, Any], name: str) -> str:
    """Return the start of a text in a body; an empty text if there is none."""
    value = body.get(name)
    return value[:_MAX_CHARACTERS] if isinstance(value, str) else ""


def is_own_problem(body: Mapping[str, Any], status: int) -> bool:
    """Return whether a body is a problem document of Replicate itself for this status, not of a gateway."""
    return isinstance(body.get("detail"), str) and body.get("status", status) == status


def _bills_nothing(_answer: Answer) -> bool:
    """Return False: no refusal of Replicate's API says whether the request is charged."""
    return False


REPLICATE = Dialect(signals_of=_signals_of, delay_in=_delay_in, bills_nothing=_bills_nothing)
"""Replicate's way to refuse requests."""
