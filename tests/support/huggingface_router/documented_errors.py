"""The error answers that the providers document.

Hugging Face answers `{"error": text}`, with `estimated_time` in seconds while a model loads. Examples of its
402s: https://github.com/fal-ai/fal/issues/1043 and https://github.com/huggingface/agents-course/issues/386.

fal answers with `{"detail": [{"loc", "msg", "type", "url", "ctx"?, "input"?}]}` for errors of a model
(https://fal.ai/docs/documentation/model-apis/errors) and `{"detail": text, "error_type": type}` with the
header X-Fal-Error-Type for errors of a request
(https://fal.ai/docs/documentation/model-apis/request-errors). X-Fal-Retryable says "true" or "false".
fal's framework answers an app's uncaught error with 500 `{"detail": "Internal Server Error"}` and a GPU error
with 503 `{"detail": "GPU error"}`, without a type (https://github.com/fal-ai/fal,
projects/fal/src/fal/api/api.py and exceptions/gpu.py).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

NO_CREDIT = (
    "You have exceeded your monthly included credits for Inference Providers. "
    "Subscribe to PRO to get 20x more monthly included credits."
)
WRONG_TOKEN = "Invalid username or password."
NO_PERMISSION = (
    "This authentication method does not have sufficient permissions to call Inference Providers on behalf "
    "of user sarah"
)
_LOADING_SECONDS = 35.6677131652832

_REQUEST_ERRORS = {
    "request_timeout": (504, "Request timed out"),
    "startup_timeout": (504, "Runner did not start in time"),
    "runner_scheduling_failure": (503, "No runner could be allocated"),
    "runner_connection_timeout": (503, "Connection to the runner timed out"),
    "runner_disconnected": (503, "Runner disconnected"),
    "runner_connection_refused": (503, "Runner refused the connection"),
    "runner_connection_error": (503, "Runner connection error"),
    "runner_incomplete_response": (502, "Runner sent an incomplete response"),
    "runner_server_error": (500, "Runner server error"),
    "client_disconnected": (499, "Client disconnected"),
    "client_cancelled": (499, "Request was cancelled by the client"),
    "bad_request": (400, "Bad request"),
    "internal_error": (500, "Internal error"),
}

# Status, message, location, and value of X-Fal-Retryable.
_MODEL_ERRORS: dict[str, tuple[int, str, list[str], bool]] = {
    "internal_server_error": (500, "Internal server error", ["body"], True),
    "generation_timeout": (504, "Generation timeout", ["body"], True),
    "downstream_service_error": (400, "Downstream service error", ["body"], True),
    "downstream_service_unavailable": (500, "Downstream service unavailable", ["body"], True),
    "content_policy_violation": (
        422,
        "The content could not be processed because it contained material flagged by a content checker.",
        ["body", "prompt"],
        False,
    ),
    "image_too_small": (422, "Image too small", ["body", "image_url"], False),
    "image_too_large": (422, "Image too large", ["body", "image_url"], False),
    "image_load_error": (422, "Image load error", ["body", "image_url"], False),
    "file_download_error": (422, "File download error", ["body", "loras"], False),
    "face_detection_error": (422, "Could not detect face in the image", ["body", "image_url"], False),
    "file_too_large": (422, "File too large", ["body", "image_url"], False),
}

_UNTYPED = {500: "Internal Server Error", 503: "GPU error"}
"""Texts of fal's framework."""

_TYPE_BY_STATUS = {
    422: "content_policy_violation",
    499: "client_cancelled",
    500: "internal_error",
    502: "runner_incomplete_response",
    503: "runner_scheduling_failure",
    504: "request_timeout",
}


def hugging_face_error(status: int, model: str = "") -> dict[str, Any]:
    """Return the body with which Hugging Face answers this status."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"error": f"Model {model} is currently loading", "estimated_time": _LOADING_SECONDS}
    texts = {
        401: WRONG_TOKEN,
        402: NO_CREDIT,
        403: NO_PERMISSION,
        404: f"Model {model} does not exist",
        408: "Request Timeout",
        429: "Rate limit reached. Please log in or use a HF access token",
        504: "Model too busy, unable to get response in less than 60 second(s)",
    }
    return {"error": texts.get(status, phrase(status))}


def fal_error(
    status: int | None, error_type: str | None = None
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return status, headers and body of fal's answer for a type of error or, without one, for a status.

    The type is empty for errors that fal's framework answers without a type.
    """
    if error_type == "":
        usual = status or 500
        return usual, {}, {"detail": _UNTYPED.get(usual, phrase(usual))}
    kind = error_type or _TYPE_BY_STATUS.get(status or 0)
    if kind in _MODEL_ERRORS:
        usual, message, place, retryable = _MODEL_ERRORS[kind]
        headers = {"X-Fal-Retryable": str(retryable).lower()}
        return status or usual, headers, {"detail": [model_error(place, message, kind)]}
    if kind is not None:
        usual, message = _REQUEST_ERRORS.get(kind, (500, kind))
        return status or usual, {"X-Fal-Error-Type": kind}, {"detail": message, "error_type": kind}
    assert status is not None
    return status, {}, {"detail": phrase(status)}


def model_error(place: list[Any], message: str, kind: str, **more: Any) -> dict[str, Any]:
    """Return one entry of `detail`."""
    return {
        "loc": place,
        "msg": message,
        "type": kind,
        "url": f"https://docs.fal.ai/errors/#{kind}",
        **more,
    }


def phrase(status: int) -> str:
    """Return the text of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Error {status}"
