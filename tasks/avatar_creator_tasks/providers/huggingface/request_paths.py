"""The path that identifies a request at fal.

Polling, fetching and cancelling need only this path, for example
`fal-ai/flux-lora/requests/764cabcf-b745-4b3e-ae38-1200304cf45b`. Its strict form keeps every address below
the router's own. The path comes from `response_url`, as in huggingface.js
(packages/inference/src/providers/fal-ai.ts) and in huggingface_hub (inference/_providers/fal_ai.py), and is
taken whole: usually it has the owner and the alias of the app and not the rest of the app's name
(`fal-ai/flux/dev` is polled at `fal-ai/flux`, fal.ai/docs/api-reference/inference-api), but fal alone decides
that.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
_ALIAS = r"[A-Za-z0-9](?:\.?[A-Za-z0-9_-]){0,99}"
_PATH = re.compile(f"{_NAME}/{_ALIAS}(?:/{_ALIAS}){{0,3}}/requests/({_NAME})", re.ASCII)


def is_request_path(text: str) -> bool:
    """Return whether the text is exactly such a path, so that it cannot lead to another address."""
    return _PATH.fullmatch(text) is not None


def request_path(app: str, receipt: dict[str, Any]) -> str | None:
    """Return the path of a request that the queue has just accepted; None if the receipt has none.

    Args:
        app: Name of the app that received the request.
        receipt: The queue's answer to the submission.
    """
    request_id = receipt.get("request_id")
    if not isinstance(request_id, str) or re.fullmatch(_NAME, request_id, re.ASCII) is None:
        return None
    address = receipt.get("response_url")
    if isinstance(address, str):
        try:
            path = urlsplit(address).path.removeprefix("/").removesuffix("/response")
        except ValueError:
            path = ""
        found = _PATH.fullmatch(path)
        if found is not None and found[1] == request_id:
            return path
    owner, alias = app.split("/")[:2]
    return f"{owner}/{alias}/requests/{request_id}"
