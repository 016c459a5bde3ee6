"""HTTP clients of the service, with the proxies that the environment names, and bounded answers."""

from __future__ import annotations

import socket
from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any

import httpx

from avatar_creator_server.settings import SettingsError

_DIRECT: dict[str, None] = dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]"))
"""Addresses of this machine, which no proxy can reach."""

_NO_ENCODING = "identity"
NO_COMPRESSION: Mapping[str, str] = MappingProxyType({"accept-encoding": _NO_ENCODING})
"""Headers of a request whose answer `read_bounded` reads: a small answer must not expand to a huge one."""


class CompressedAnswerError(Exception):
    """The answer is compressed, which was not requested. It could expand to any size."""


class TooLongAnswerError(Exception):
    """The answer has more bytes than allowed."""

    def __init__(self, start: bytes) -> None:
        super().__init__(f"more than {len(start):,} bytes")
        self.start = start
        """The allowed number of bytes from the start of the answer."""


def open_http_client(**options: Any) -> httpx.AsyncClient:
    """Create a client without a connection. It uses the proxies of the environment, except on this machine.

    Args:
        options: Options of `httpx.AsyncClient`.

    Raises:
        SettingsError: A variable of the environment names a proxy that httpx cannot use.
    """
    try:
        return httpx.AsyncClient(mounts=_DIRECT, **options)
    # httpx raises ImportError for SOCKS, and one of the others for what is not a URL of a proxy.
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise SettingsError(
            "http_proxy, https_proxy or all_proxy is not the URL of an HTTP proxy: "
            "set it to http://host:port, or unset it"
        ) from error


class BearerKey(httpx.Auth):
    """Adds the API key to a request, so that no local variable contains the header in a traceback."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the authorization header."""
        if self._key:
            request.headers["authorization"] = f"Bearer {self._key}"
        yield request


async def read_bounded(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the body of a streamed answer. It is read only until it is too long.

    Raises:
        CompressedAnswerError: The answer is compressed.
        TooLongAnswerError: The answer has more than `max_bytes`.
        httpx.HTTPError: The connection broke.
    """
    if response.headers.get("content-encoding", _NO_ENCODING).strip().lower() != _NO_ENCODING:
        raise CompressedAnswerError("compressed")
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > max_bytes:
            del content[max_bytes:]
            raise TooLongAnswerError(bytes(content))
    return bytes(content)


def http_problem(error: Exception) -> str:
    """Return why a request has no answer, as the end of a sentence for people."""
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "no answer in time"
        case httpx.ProxyError():
            return "the proxy refuses the connection"
        case httpx.ConnectError() if _has_no_address(error):
            return "its name cannot be resolved"
        case httpx.ConnectError():
            return "no connection to its address"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return "it is not a URL that can be called"
    return "the connection broke"


def _has_no_address(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, socket.gaierror):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
