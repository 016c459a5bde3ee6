"""Answers of the fake, and the ways in which they fail."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, NoReturn

from aiohttp import web

from tests.support.hosted_fake.behavior import Fault

UNANSWERED = ("hang", "drop", "reset")
"""Kinds of failure that send no byte."""

_JSON = "application/json"
_FIRST_ERROR = 400
_TRICKLE_SECONDS = 0.1
_ENDLESS_CHUNK = bytes(65_536)
_HTML = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer before it is sent."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(status: int, body: Any, headers: dict[str, str] | None = None) -> Answer:
        """Create an answer from JSON, or from a text that is sent unchanged."""
        if isinstance(body, str):
            return Answer(status, body.encode(), "text/plain", headers or {})
        return Answer(status, json.dumps(body).encode(), _JSON, headers or {})


def with_fault(answer: Answer | None, fault: Fault | None, documented: Callable[[Fault], Answer]) -> Answer:
    """Return the answer after a fault has replaced its status, type and body.

    Args:
        answer: The regular answer; None if the request was not executed.
        fault: The fault; None keeps the regular answer.
        documented: Returns the documented answer for a fault without its own body.
    """
    if fault is None:
        assert answer is not None
        return answer
    if fault.body is not None:
        return Answer.of(fault.status or (answer.status if answer else 200), fault.body)
    if fault.error_type is not None or (fault.status is not None and fault.status >= _FIRST_ERROR):
        return documented(fault)
    if answer is not None:
        return replace(answer, status=fault.status or answer.status)
    if fault.status is not None or fault.how in ("empty", *UNANSWERED):
        return Answer(fault.status or 200, b"")
    return documented(replace(fault, status=502))


def page(status: int) -> Answer:
    """Return a gateway's error page."""
    return Answer(status, _HTML.format(f"{status} {_reason(status)}").encode(), "text/html")


async def send(request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    """Send the answer with the fault. The call does not return if the fault sends no complete answer."""
    if fault is None:
        return _response(answer)
    answer = replace(answer, headers=answer.headers | _fault_headers(fault))
    match fault.how:
        case "hang":
            await _wait_for_disconnect()
        case "drop" | "reset":
            _close(request, with_reset=fault.how == "reset")
            await _wait_for_disconnect()
        case "html":
            return _response(replace(page(fault.status or 502), headers=_fault_headers(fault)))
        case "empty":
            return _response(replace(answer, body=b""))
        case "truncated":
            return _response(replace(answer, body=answer.body[: len(answer.body) // 2]))
        case "stall":
            await _begin(request, answer)
            await _wait_for_disconnect()
        case "cut":
            await _begin(request, answer)
            _close(request)
            await _wait_for_disconnect()
        case "trickle":
            return await _trickle(request, answer)
        case "endless":
            await _never_end(request, answer)
    return _response(answer)


def _fault_headers(fault: Fault) -> dict[str, str]:
    headers = dict(fault.headers)
    if fault.retry_after is not None:
        then = datetime.now(UTC) + timedelta(seconds=fault.retry_after)
        as_date = format_datetime(then, usegmt=True)
        headers["Retry-After"] = as_date if fault.retry_after_as_date else str(fault.retry_after)
    return headers


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=_headers(answer))


def _headers(answer: Answer) -> dict[str, str]:
    if any(name.lower() == "content-type" for name in answer.headers):
        return answer.headers
    return {"Content-Type": answer.content_type, **answer.headers}


def _reason(status: int) -> str:
    return web.Response(status=status).reason


async def _begin(request: web.Request, answer: Answer) -> web.StreamResponse:
    """Announce the complete answer and send half of it."""
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    return response


async def _trickle(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    for place in range(len(answer.body)):
        await response.write(answer.body[place : place + 1])
        await asyncio.sleep(_TRICKLE_SECONDS)
    return response


async def _never_end(request: web.Request, answer: Answer) -> NoReturn:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(answer.body)
    while True:
        await response.write(_ENDLESS_CHUNK)


def _close(request: web.Request, *, with_reset: bool = False) -> None:
    if request.transport is None:
        return
    if with_reset:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.close()


async def _wait_for_disconnect() -> NoReturn:
    """Wait until the server cancels the handler, because the client has disconnected."""
    await asyncio.Event().wait()
    raise AssertionError("no code sets the event")
