"""The JSON bodies in which the providers report errors.

fal reports a failed request as `{"detail": text, "error_type": type}` and a model's refusal as `{"detail":
[{"loc", "msg", "type"}, …]}` (fal.ai/docs/documentation/model-apis/errors and …/request-errors). Hugging Face
answers `{"error": text}`, sometimes with `estimated_time` in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_MAX_MESSAGES = 3
_MAX_LOCATION = 5


def json_object(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body; None if the body is not a JSON object."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def is_error_body(body: Mapping[str, Any]) -> bool:
    """Return whether a body has the form of an error."""
    return any(body.get(name) for name in ("error", "error_type", "detail"))


def error_messages(error: Any) -> Iterator[str]:
    """Yield the texts of an error, without the input that fal repeats in them."""
    if isinstance(error, str):
        yield error
    elif isinstance(error, list):
        # No provider nests lists. A text as deep as the parser allows would end in a RecursionError here.
        for each in error[:_MAX_MESSAGES]:
            if not isinstance(each, list):
                yield from error_messages(each)
    elif isinstance(error, dict):
        location = error.get("loc")
        parts = location[1 : 1 + _MAX_LOCATION] if isinstance(location, list) else ()
        field = ".".join(str(part) for part in parts if isinstance(part, str | int))
        text = next((error[name] for name in ("msg", "message") if isinstance(error.get(name), str)), "")
        if text:
            yield f"{field}: {text}" if field else text
