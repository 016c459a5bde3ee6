"""HTTP requests whose answers are bounded in time and size."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from avatar_creator_server.shared.http import (
    NO_COMPRESSION,
    BearerKey,
    CompressedAnswerError,
    TooLongAnswerError,
    open_http_client,
    read_bounded,
)
from avatar_creator_server.shared.untrusted_http import EgressRules, UntrustedTransport
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import Signal

_OK = range(200, 300)
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer."""

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """True if the status is 2xx."""
        return self.status in _OK


class NoAnswerError(Exception):
    """No complete answer arrived."""

    def __init__(self, signal: Signal, kind: str) -> None:
        super().__init__(f"{signal} ({kind})")
        self.signal = signal


class Deadline:
    """A moment on the event loop's clock."""

    def __init__(self, seconds: float) -> None:
        self._moment = asyncio.get_running_loop().time() + seconds

    def seconds_left(self) -> float:
        """Return the seconds until the deadline; 0 if it has passed."""
        return max(0.0, self._moment - asyncio.get_running_loop().time())


class HttpClient:
    """An HTTP client with its connections.

    It follows no redirect, because a redirect could send the API key to another host. It keeps no cookie.
    """

    def __init__(self, limits: Limits, picture_rules: EgressRules) -> None:
        self._limits = limits
        headers = {**NO_COMPRESSION, "user-agent": "avatar-creator"}
        options: dict[str, Any] = {"headers": headers, "follow_redirects": False, "cookies": _no_cookies()}
        self._reused = open_http_client(verify=_tls(), **options)
        # A billable request needs a new connection. If the other side has just closed a reused one, it is
        # unknown whether the request arrived.
        self._fresh = open_http_client(
            verify=_tls(), limits=httpx.Limits(max_keepalive_connections=0), **options
        )
        self._untrusted = httpx.AsyncClient(transport=UntrustedTransport(picture_rules, _tls()), **options)

    async def close(self) -> None:
        """Close all connections."""
        await self._reused.aclose()
        await self._fresh.aclose()
        await self._untrusted.aclose()

    async def download(self, url: httpx.URL, deadline: Deadline, *, max_bytes: int) -> Answer:
        """Send a GET request to an address that the provider has named, without the API key.

        Args:
            url: Address.
            deadline: Latest end of the call.
            max_bytes: Maximum size of a 2xx answer.

        Raises:
            NoAnswerError: No complete answer arrived.
            RefusedAddressError: The rules do not allow the address.
        """
        return await self._send(self._untrusted, "GET", url, deadline, max_bytes=max_bytes)

    async def send(
        self,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        *,
        key: BearerKey | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        max_bytes: int | None = None,
        draws: bool = False,
        fresh: bool = False,
    ) -> Answer:
        """Send a request to an address of the operator and return its complete answer, with any status.

        Args:
            method: HTTP method.
            url: Address below one of the settings.
            deadline: Latest end of the call.
            key: API key to authorize with; None sends no authorization.
            headers: Additional headers.
            body: Value to send as JSON; None sends no body.
            max_bytes: Maximum size of a 2xx answer. Other answers are cut to `Limits.answer_bytes`.
            draws: Whether the model draws before it answers, so that the first byte may take minutes.
            fresh: Whether to use a new connection.

        Raises:
            NoAnswerError: No complete answer arrived. With the signal NOT_CONNECTED, nothing was sent.
        """
        client = self._fresh if fresh else self._reused
        return await self._send(
            client,
            method,
            url,
            deadline,
            key=key,
            headers=headers,
            body=body,
            max_bytes=max_bytes,
            draws=draws,
        )

    async def _send(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        *,
        key: BearerKey | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        max_bytes: int | None = None,
        draws: bool = False,
    ) -> Answer:
        limits = self._limits
        request = client.build_request(
            method,
            url,
            headers=headers,
            json=body,
            timeout=httpx.Timeout(
                limits.read_seconds,
                connect=limits.connect_seconds,
                read=limits.work_seconds if draws else limits.read_seconds,
            ),
        )
        seconds_left = deadline.seconds_left()
        try:
            async with asyncio.timeout(seconds_left if draws else min(seconds_left, limits.answer_seconds)):
                response = await client.send(request, auth=key, stream=True)
                try:
                    # The event loop parses a refusal, which a host of pictures may send too.
                    largest = max_bytes if response.status_code in _OK else None
                    content = await _read_content(response, largest or limits.answer_bytes)
                finally:
                    await response.aclose()
        except TimeoutError:
            signal = Signal.NO_ANSWER if deadline.seconds_left() else Signal.DEADLINE
            raise NoAnswerError(signal, "complete answer") from None
        except _NOTHING_SENT as error:
            raise NoAnswerError(Signal.NOT_CONNECTED, type(error).__name__) from None
        except httpx.TimeoutException as error:
            raise NoAnswerError(Signal.NO_ANSWER, type(error).__name__) from None
        except httpx.HTTPError as error:
            raise NoAnswerError(Signal.LOST, type(error).__name__) from None
        return Answer(response.status_code, response.headers, content)


@cache
def _tls() -> ssl.SSLContext:
    """Load the trusted certificates once, because loading takes 50 ms."""
    return httpx.create_ssl_context()


def _no_cookies() -> CookieJar:
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


async def _read_content(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the body of an answer. That of a refusal is cut, or left out if it is compressed."""
    try:
        return await read_bounded(response, max_bytes)
    except CompressedAnswerError as error:
        problem, content = NoAnswerError(Signal.UNREADABLE, str(error)), b""
    except TooLongAnswerError as error:
        problem, content = NoAnswerError(Signal.TOO_LARGE, str(error)), error.start
    if response.status_code not in _OK:
        return content
    # Not while the other error is handled: through its traceback, this one would keep the answer in memory.
    del content
    raise problem
