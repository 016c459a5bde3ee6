"""Authorization of the router's callers.

A valid token is `Authorization: Bearer hf_…`. The router answers all others with 401 `{"error": text}`.
"""

from __future__ import annotations

from aiohttp import web

from tests.support.hosted_fake.answers import Answer
from tests.support.hosted_fake.behavior import Plan
from tests.support.huggingface_router import documented_errors


def is_allowed(request: web.Request, plan: Plan) -> bool:
    """Return whether the request has a valid token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and plan.is_valid_token(token)


def refusal() -> Answer:
    """Return the answer to a request without a valid token."""
    return Answer.of(401, documented_errors.hugging_face_error(401))
