"""A local fake of a moderation service with the API of OpenAI's Moderations.

Request and answer follow https://developers.openai.com/api/reference/resources/moderations and the types
that https://github.com/openai/openai-python generates from its specification
(`src/openai/types/moderation_create_params.py`, `moderation_create_response.py`, `moderation.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal, get_args

from aiohttp import web

from tests.support.thread_server import ThreadServer

Mode = Literal["clean", "flagged", "500", "malformed", "hang", "trickle", "drop"]

MODEL = "omni-moderation-2024-09-26"

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

FLAGGED_CATEGORIES = ("violence", "violence/graphic")
"""Categories of a flagged text."""

_TRICKLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """A request that the service received."""

    authorization: str
    """The header; empty if there is none."""
    body: Any
    """The decoded JSON."""


class ModerationServiceFake(ThreadServer):
    """A server on loopback in its own thread, which runs until `close`.

    `mode` decides how it answers:
        clean, flagged: As documented.
        500: With status 500 and the documented error.
        malformed: With `malformed_body` and status 200.
        hang: Not at all, until the client disconnects.
        trickle: With one blank at a time, until the client disconnects.
        drop: By closing the connection.
    """

    def __init__(self, mode: Mode = "clean") -> None:
        """Start the server.

        Raises:
            ValueError: There is no such mode.
        """
        if mode not in get_args(Mode):
            raise ValueError(f"no mode {mode!r}: {get_args(Mode)}")
        self.mode: Mode = mode
        self.malformed_body = '{"results": []}'
        self.drops = 0
        """Number of future requests to drop in any mode."""
        self.requests: list[ModerationRequest] = []
        """Received requests, oldest first."""
        application = web.Application()
        application.router.add_post("/v1/moderations", self._moderate)
        super().__init__(application)

    @property
    def url(self) -> str:
        """URL of the endpoint."""
        return f"{self.origin}/v1/moderations"

    async def _moderate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(ModerationRequest(request.headers.get("Authorization", ""), body))
        if not isinstance(body, dict) or not isinstance(body.get("input"), str | list):
            return _error(400, "invalid_request_error", "'input' is a required property")
        if self.drops:
            self.drops -= 1
            _drop(request)
        match self.mode:
            case "500":
                return _error(500, "server_error", "The server had an error while processing your request.")
            case "malformed":
                return web.Response(text=self.malformed_body, content_type="application/json")
            case "hang":
                await asyncio.Event().wait()
            case "trickle":
                await _trickle(request)
            case "drop":
                _drop(request)
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        results = [_result(flagged=self.mode == "flagged") for _ in texts]
        return web.json_response(
            {"id": "modr-970d409ef3bef3b70c73d8232df86e7d", "model": MODEL, "results": results}
        )


def _drop(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _trickle(request: web.Request) -> None:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(_TRICKLE_SECONDS)


def _result(*, flagged: bool) -> dict[str, Any]:
    holds = {category: flagged and category in FLAGGED_CATEGORIES for category in CATEGORIES}
    return {
        "flagged": flagged,
        "categories": holds,
        "category_scores": {category: 0.97 if held else 0.0001 for category, held in holds.items()},
        "category_applied_input_types": {category: ["text"] for category in CATEGORIES},
    }


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": None}
    return web.json_response({"error": error}, status=status)
