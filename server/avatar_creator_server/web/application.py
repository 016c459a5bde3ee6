"""The way of an HTTP request through the web port.

1. A request for a host that this service is not known by is refused (`WebOrigins.is_known_host`).
2. A preflight of a browser is answered: it asks whether a page of another origin may call.
3. A POST to `/<service>/<method>` is a call of the API.
4. Other requests are for a handler, which is found by the path.

To add a handler, write a function that takes a `Request` and returns a `Response` (see `messages.py`), and
name it in `WebDoor._routes` in `door.py`:

- `exact` has handlers of one path, such as `/healthz` and `/page.json`;
- `prefixes` has handlers of all paths with a beginning that ends in a slash, such as `/pictures/`;
- `fallback` answers all other paths. The static page belongs there.

Handlers answer GET and HEAD. The listener adds the security headers to each answer, and this module those of
CORS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from avatar_creator_server.web.messages import (
    AsgiApplication,
    Event,
    Handler,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    send_response,
    text,
)
from avatar_creator_server.web.origins import WebOrigins

log = structlog.get_logger()

_Headers = list[tuple[bytes, bytes]]


async def not_found(_request: Request) -> Response:
    """Answer a path that the web port does not have."""
    return text(404, "Not found.")


@dataclass(frozen=True, slots=True)
class Routes:
    """The handlers of the web port."""

    exact: Mapping[str, Handler] = field(default_factory=dict)
    """Handlers by the path that each one answers."""
    prefixes: Mapping[str, Handler] = field(default_factory=dict)
    """Handlers by the beginning of the paths that each one answers; it ends in a slash."""
    fallback: Handler = not_found
    """Handler of all other paths."""

    def find(self, path: str) -> Handler:
        """Return the handler of a path."""
        handler = self.exact.get(path)
        if handler is not None:
            return handler
        for prefix, handler in self.prefixes.items():
            if path.startswith(prefix):
                return handler
        return self.fallback


class Application:
    """The ASGI application of the web port."""

    def __init__(
        self, routes: Routes, load_calls: Callable[[], AsgiApplication], origins: WebOrigins
    ) -> None:
        """Create the application.

        Args:
            routes: The handlers.
            load_calls: Returns the application that answers every POST: the calls of the API. It is called
                in a thread, at the first of them: what it imports would be a part of the memory of each
                server.
            origins: The hosts and origins that may use the service.
        """
        self._routes = routes
        self._load_calls = load_calls
        self._calls: AsgiApplication | None = None
        self._loading = asyncio.Lock()
        self._origins = origins
        self._drains = False

    def drain(self) -> None:
        """Refuse further calls of the API: the server ends."""
        self._drains = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope)
        origin = request.headers.get("origin", "")
        headers: _Headers = self._origins.headers(origin)
        started = False

        async def respond(event: Event) -> None:
            nonlocal started
            if event["type"] == "http.response.start":
                started = True
                event["headers"] = [*event.get("headers", ()), *headers]
            await send(event)

        try:
            is_known_host = self._origins.is_known_host(request.headers.get("host", ""))
            if is_known_host and request.method == "POST" and not self._drains:
                calls = self._calls or await self._first_calls()
                await calls(scope, receive, respond)
            else:
                response = await self._respond(request, origin) if is_known_host else _misdirected()
                await send_response(response, respond, is_head=request.method == "HEAD")
        except Exception as error:
            # Never the text of the error, which may contain anything.
            log.error("web_request_failed", method=request.method, path=request.path, exc_info=error)
            if started:
                raise  # the listener closes the connection, so that the client sees that something is missing
            await send_response(text(500, "Internal error."), respond)

    async def _first_calls(self) -> AsgiApplication:
        # The first calls may come at the same time, and each would load an application of its own.
        async with self._loading:
            if self._calls is None:
                self._calls = await asyncio.to_thread(self._load_calls)
        return self._calls

    async def _respond(self, request: Request, origin: str) -> Response:
        if request.method == "OPTIONS":
            return Response(204, self._origins.preflight(origin))
        if request.method == "POST":
            # Clients of Connect and gRPC-Web read it as UNAVAILABLE, and send the call to another server.
            return text(503, "The server ends.")
        if request.method not in ("GET", "HEAD"):
            return Response(405, {"allow": "GET, HEAD, POST, OPTIONS"})
        return await self._routes.find(request.path)(request)


def _misdirected() -> Response:
    return text(
        421,
        "This service is not known by this host name: set WEB_PUBLIC_URL to the address that people open, or "
        "WEB_BEHIND_PROXY=true if a proxy checks the name.",
    )
