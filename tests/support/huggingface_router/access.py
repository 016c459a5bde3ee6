"""Who may call the router.

A right token is `Authorization: Bearer hf_…`; the router answers others 401 `{"error": text}`.
"""

from __future__ import annotations

from aiohttp import web

from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.answers import Answer
from tests.support.huggingface_router.behaviour import Plan


def is_allowed(request: web.Request, plan: Plan) -> bool:
    """Whether the request has a right token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and plan.is_right_token(token)


def refusal() -> Answer:
    """What a request without one hears."""
    return Answer.of(401, documented_errors.hugging_face_error(401))
