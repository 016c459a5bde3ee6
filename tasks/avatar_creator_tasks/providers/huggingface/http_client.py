"""One HTTP request and its whole answer, bounded in time and size."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx

from avatar_creator_tasks.providers.huggingface.limits import Limits
from avatar_creator_tasks.providers.huggingface.outcomes import Sign

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
    """A whole answer."""

    status: int
    headers: httpx.Headers
    content: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return self.status in _OK


class NoAnswerError(Exception):
    """There is no whole answer."""

    def __init__(self, sign: Sign, kind: str) -> None:
        super().__init__(f"{sign} ({kind})")
        self.sign = sign


class Deadline:
    """A moment of the event loop's clock."""

    def __init__(self, seconds: float) -> None:
        self._moment = asyncio.get_running_loop().time() + seconds

    def seconds_left(self) -> float:
        """Until then; 0 when it has passed."""
        return max(0.0, self._moment - asyncio.get_running_loop().time())


class BearerKey(httpx.Auth):
    """Puts the key on a request, so that it stands in no variable that a traceback may show."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        if self._key:
            request.headers["authorization"] = f"Bearer {self._key}"
        yield request


class Exchange:
    """Holds the connections.

    Nothing follows a redirect: it might lead the key elsewhere.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # The answer is wanted as it is: a small one that unpacks to a huge one is no use to anybody.
        plain = {"accept-encoding": "identity", "user-agent": "avatar-creator"}
        self._kept = httpx.AsyncClient(headers=plain, follow_redirects=False, verify=_tls())
        # A request that costs money never rides on a connection that the other side may be closing just now:
        # whether it had arrived could not be told.
        self._fresh = httpx.AsyncClient(
            headers=plain,
            follow_redirects=False,
            verify=_tls(),
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def close(self) -> None:
        """Close them."""
        await self._kept.aclose()
        await self._fresh.aclose()

    async def ask(
        self,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        *,
        key: BearerKey | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        most_bytes: int | None = None,
        works: bool = False,
        fresh: bool = False,
    ) -> Answer:
        """Send a request and take its whole answer, whatever its status.

        Args:
            method: of HTTP.
            url: where to.
            deadline: when to give up at the latest.
            key: what to authorize with; None: nothing.
            headers: more of them.
            body: sent as JSON, unless None.
            most_bytes: of the answer, if it is a success; of other answers the rest is left out.
            works: whether what is asked for is made only now, so that the first byte takes its time.
            fresh: whether it needs a connection of its own.

        Raises:
            NoAnswerError: there is none, or none that is whole; with the sign NOT_CONNECTED nothing was sent.
        """
        limits = self._limits
        client = self._fresh if fresh else self._kept
        request = client.build_request(
            method,
            url,
            headers=headers,
            json=body,
            timeout=httpx.Timeout(
                limits.read_seconds,
                connect=limits.connect_seconds,
                read=limits.work_seconds if works else limits.read_seconds,
            ),
        )
        seconds_left = deadline.seconds_left()
        try:
            async with asyncio.timeout(seconds_left if works else min(seconds_left, limits.answer_seconds)):
                response = await client.send(request, auth=key, stream=True)
                try:
                    content = await _content_of(response, most_bytes or limits.answer_bytes)
                finally:
                    await response.aclose()
        except TimeoutError:
            sign = Sign.NO_ANSWER if deadline.seconds_left() else Sign.DEADLINE
            raise NoAnswerError(sign, "whole answer") from None
        except _NOTHING_SENT as error:
            raise NoAnswerError(Sign.NOT_CONNECTED, type(error).__name__) from None
        except httpx.TimeoutException as error:
            raise NoAnswerError(Sign.NO_ANSWER, type(error).__name__) from None
        except httpx.DecodingError as error:
            raise NoAnswerError(Sign.UNREADABLE, type(error).__name__) from None
        except httpx.HTTPError as error:
            raise NoAnswerError(Sign.LOST, type(error).__name__) from None
        return Answer(response.status_code, response.headers, content)


@cache
def _tls() -> ssl.SSLContext:
    """What certificates are trusted. Reading them takes a twentieth of a second."""
    return httpx.create_ssl_context()


async def _content_of(response: httpx.Response, most_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > most_bytes:
            if response.status_code in _OK:
                raise NoAnswerError(Sign.TOO_LARGE, f"more than {most_bytes} bytes")
            break
    return bytes(content[:most_bytes])
