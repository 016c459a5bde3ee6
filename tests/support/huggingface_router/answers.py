"""Answers, and giving them badly."""

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

from tests.support.huggingface_router.behaviour import Fault

UNANSWERED = ("hang", "drop", "reset")
"""Ways to fail in which not a byte is sent."""

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
    """A response before it is given."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(status: int, said: Any, headers: dict[str, str] | None = None) -> Answer:
        """An answer of JSON, or of a text that goes out as it is."""
        if isinstance(said, str):
            return Answer(status, said.encode(), "text/plain", headers or {})
        return Answer(status, json.dumps(said).encode(), _JSON, headers or {})


def spoiled(answer: Answer | None, fault: Fault | None, documented: Callable[[Fault], Answer]) -> Answer:
    """The answer that a fault puts in place of the right one.

    Args:
        answer: the right one; None: what was asked was not done.
        fault: what it says of status, type and body is followed.
        documented: the answer to a fault without a body of its own.
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


async def give(request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    """Give the answer in the way the fault says; never returns if that is none."""
    if fault is None:
        return _response(answer)
    answer = replace(answer, headers=answer.headers | _fault_headers(fault))
    match fault.how:
        case "hang":
            await _wait_until_client_goes()
        case "drop" | "reset":
            _close(request, with_reset=fault.how == "reset")
            await _wait_until_client_goes()
        case "html":
            status = fault.status or 502
            page = _HTML.format(f"{status} {_reason(status)}")
            return _response(replace(answer, status=status, body=page.encode(), content_type="text/html"))
        case "empty":
            return _response(replace(answer, body=b""))
        case "truncated":
            return _response(replace(answer, body=answer.body[: len(answer.body) // 2]))
        case "stall":
            await _begin(request, answer)
            await _wait_until_client_goes()
        case "cut":
            await _begin(request, answer)
            _close(request)
            await _wait_until_client_goes()
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
    """Announce the whole of it, and send half."""
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


async def _wait_until_client_goes() -> NoReturn:
    """Wait to be cancelled, which the server does when the connection is gone."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets the event")
