"""The calls of the API over Connect, gRPC-Web and JSON, by the handlers of the gRPC port."""

from __future__ import annotations

from avatar_creator_server.api.backlog import Backlog
from avatar_creator_server.api.handlers import Handlers
from avatar_creator_server.web.messages import Receive, Scope, Send


class WebCalls:
    """The ASGI application that answers the calls of the API."""

    def __init__(self, handlers: Handlers, backlog: Backlog) -> None:
        self._handlers = handlers
        self._backlog = backlog

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a call."""
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
