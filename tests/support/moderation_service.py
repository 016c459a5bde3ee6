"""A local fake of a moderation service with the API of OpenAI's Moderations.

Request and answer follow https://developers.openai.com/api/reference/resources/moderations and the types
that https://github.com/openai/openai-python generates from its specification
(`src/openai/types/moderation_create_params.py`, `moderation_create_response.py`, `moderation.py`).
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, get_args

from aiohttp import web

from tests.support.ports import free_port

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

_START_SECONDS = 10.0
_END_SECONDS = 10.0
_TRICKLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """A request that the service received."""

    authorization: str
    """The header; empty if there is none."""
    body: Any
    """The decoded JSON."""


class ModerationServiceFake:
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
        self._port = free_port()
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._finish = asyncio.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._run(),), daemon=True
        )
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise RuntimeError("the moderation service's fake did not start")

    @property
    def url(self) -> str:
        """URL of the endpoint."""
        return f"http://127.0.0.1:{self._port}/v1/moderations"

    def close(self) -> None:
        """Stop the server, and close its connections.

        Raises:
            TimeoutError: The thread did not end. It is a daemon thread, so it ends with Python.
        """
        self._loop.call_soon_threadsafe(self._finish.set)
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError("the moderation service's fake has not stopped")
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _run(self) -> None:
        application = web.Application()
        application.router.add_post("/v1/moderations", self._moderate)
        runner = web.AppRunner(application, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self._started.set()
        await self._finish.wait()
        await runner.cleanup()

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
