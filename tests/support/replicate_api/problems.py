"""The errors of Replicate's API, and those of its predictions.

The API answers problem documents, `{"title"?, "detail", "status"}` (github.com/replicate/replicate-python,
replicate/exceptions.py). Examples of them in issues and logs of users: 401, 402 and 422 with
`invalid_fields`; a 429 has its delay in the text, in `retry_after`, or in both
(replicate.com/docs/topics/predictions/rate-limits). The texts of 403, 404 and 5xx are not documented, so this
fake defines them.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from tests.support.hosted_fake.answers import Answer
from tests.support.hosted_fake.behavior import Fault

_DOCUMENTED: Mapping[int, tuple[str, str]] = {
    401: ("Unauthenticated", "You did not pass a valid authentication token"),
    402: (
        "Insufficient credit",
        "You have insufficient credit to run this model. Go to "
        "https://replicate.com/account/billing#billing to purchase credit.",
    ),
    404: ("", "The requested resource could not be found."),
    429: ("", "Request was throttled. Your rate limit resets in ~30s."),
}

PREDICTION_ERRORS: Mapping[str, str] = {
    "nsfw": "NSFW content detected. Try running it again, or try a different prompt.",
    "all_nsfw": (
        "All generated images contained NSFW content. Try running it again with a different prompt."
    ),
    "sensitive": (
        "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
    ),
    "out_of_memory": "CUDA out of memory. (E1001)",
    "interrupted": "Prediction interrupted; please retry (code: PA)",
}
"""Errors of failed predictions by the `error_type` of a fault."""


def problem(status: int, detail: str | None = None, title: str | None = None, **more: Any) -> Answer:
    """Return a problem document; without a text, the documented one for this status."""
    usual_title, usual_detail = _DOCUMENTED.get(status, ("", _phrase(status)))
    title = usual_title if title is None else title
    body = {"detail": usual_detail if detail is None else detail, "status": status, **more}
    return Answer.of(status, {"title": title, **body} if title else body)


def invalid_input(errors: list[tuple[str, str, str]]) -> Answer:
    """Return the refusal of an input, for the type, field and description of each error."""
    return problem(
        422,
        "".join(f"- {field}: {description}\n" for _, field, description in errors),
        "Input validation failed",
        invalid_fields=[
            {"type": kind, "field": field, "description": description} for kind, field, description in errors
        ],
    )


def documented(fault: Fault) -> Answer:
    """Return the documented answer for a fault without its own body."""
    status = fault.status or 503
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return invalid_input(
            [("number_lte", "input.num_inference_steps", "Must be less than or equal to 50")]
        )
    return problem(status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"
