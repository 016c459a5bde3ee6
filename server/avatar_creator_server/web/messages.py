"""HTTP requests and responses, as the handlers of the web port see them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
AsgiApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application. Source: https://asgi.readthedocs.io/en/latest/specs/www.html"""


class Request:
    """A request without its body. Only the API reads bodies."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def method(self) -> str:
        """The method in capitals, such as `GET`."""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """The path, with its escapes decoded. It begins with a slash."""
        return str(self._scope["path"])

    @property
    def query(self) -> str:
        """The part after the question mark, with its escapes; empty if there is none."""
        return bytes(self._scope["query_string"]).decode("latin-1")

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers by their names in lower case. Values of the same name are joined with commas."""
        found: dict[str, str] = {}
        for name, value in self._scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
        return found


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers by their names in lower case, without those that each answer has. A body in one piece needs no
    `content-length`."""
    body: bytes | AsyncGenerator[bytes, None] = b""
    """The body, or its pieces. The next piece is taken when the client has made room for it. The generator is
    closed at the end, and when the client is gone."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Answers requests with GET or HEAD. The body of an answer to HEAD is not sent, and pieces are not taken."""


def text(status: int, words: str) -> Response:
    """Return an answer for a person who reads it without the page."""
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, f"{words}\n".encode())


async def send_response(response: Response, send: Send, *, is_head: bool = False) -> None:
    """Send an answer. Each piece waits until the client has made room for it."""
    headers = {**response.headers}
    if isinstance(response.body, bytes) and response.status not in (204, 304):
        headers.setdefault("content-length", str(len(response.body)))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    start: Event = {"type": "http.response.start", "status": response.status, "headers": encoded}
    body = response.body
    if isinstance(body, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": b"" if is_head else body})
        return
    async with aclosing(body):
        await send(start)
        if not is_head:
            async for piece in body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
