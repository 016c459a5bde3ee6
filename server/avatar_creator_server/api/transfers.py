"""Uploads and downloads: how many run at once, how slow they may be, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from avatar_creator_server.api.access import token_seconds_left
from avatar_creator_server.api.interceptors.context import Context
from avatar_creator_server.errors import AvatarCreatorError, TooSlowError, UnauthenticatedError
from avatar_creator_server.images.spool import Spool, SpooledFile
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.turns import Turns

_WAITING_FACTOR = 2
"""Waiting uploads of a user, as a multiple of those that run: gRPC buffers the bytes of a waiting upload."""
_WAITING_DOWNLOADS_FACTOR = 8

_KIB = 1024

_Message = TypeVar("_Message")


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Limits of the time that a transfer takes."""

    total_seconds: float
    """Maximum time for a whole transfer."""
    stall_seconds: float
    """Time by which a transfer may lag behind the least rate."""
    least_bytes_per_second: float
    """Least rate: the mean since the begin of the transfer."""


class Pace:
    """The time limits of one running transfer: its least rate, its total time and its token."""

    def __init__(self, limits: PaceLimits) -> None:
        self._limits = limits
        self._start = asyncio.get_running_loop().time()
        self._token_end = self._start + token_seconds_left()
        self._transferred = 0

    async def receive(self, requests: AsyncIterator[_Message]) -> _Message | None:
        """Return the next request; None at the end of the stream.

        Raises:
            TooSlowError: The sender is too slow.
            UnauthenticatedError: The token has expired.
        """
        try:
            async with asyncio.timeout_at(self._deadline()):
                return await anext(requests, None)
        except TimeoutError as error:
            raise self._end() from error

    async def send(self, context: Context, response: Any) -> None:
        """Send a response; wait until the reader has made room for it.

        Raises what `receive` raises.
        """
        try:
            async with asyncio.timeout_at(self._deadline()):
                await context.write(response)
        except TimeoutError as error:
            raise self._end() from error

    def count(self, transferred_bytes: int) -> None:
        """Count the payload of a message that was sent or received."""
        self._transferred += transferred_bytes

    def _deadline(self) -> float:
        limits = self._limits
        lagging = limits.stall_seconds + self._transferred / limits.least_bytes_per_second
        return min(self._start + min(limits.total_seconds, lagging), self._token_end)

    def _end(self) -> AvatarCreatorError:
        limits = self._limits
        elapsed = asyncio.get_running_loop().time() - self._start
        if self._start + elapsed >= self._token_end:
            return UnauthenticatedError("TOKEN_EXPIRED", "the token has expired")
        if elapsed >= limits.total_seconds:
            limit = f"and the maximum is {limits.total_seconds:g} s"
        else:
            rate = limits.least_bytes_per_second / _KIB
            limit = f"and the minimum is {rate:g} KiB/s after the first {limits.stall_seconds:g} s"
        return TooSlowError(
            f"the transfer is too slow: {self._transferred:,} bytes in {elapsed:.0f} s, {limit}; "
            "send the same call again over a faster connection"
        )


class Transfers:
    """The uploads and downloads of one server."""

    def __init__(self, settings: Settings) -> None:
        self._limits = PaceLimits(
            total_seconds=settings.transfer_seconds,
            stall_seconds=settings.transfer_stall_seconds,
            least_bytes_per_second=settings.transfer_least_kib_per_second * _KIB,
        )
        self._spool = Spool(settings.spool_path)
        self._uploads = Turns(
            "uploads",
            at_once=settings.uploads_at_once,
            at_once_per_user=settings.uploads_at_once_per_user,
            waiting_per_user=_WAITING_FACTOR * settings.uploads_at_once_per_user,
            wait_seconds=settings.transfer_wait_seconds,
        )
        self._downloads = Turns(
            "downloads",
            at_once=settings.downloads_at_once,
            at_once_per_user=settings.downloads_at_once_per_user,
            waiting_per_user=_WAITING_DOWNLOADS_FACTOR * settings.downloads_at_once_per_user,
            wait_seconds=settings.transfer_wait_seconds,
        )

    @asynccontextmanager
    async def upload(self, user_id: str) -> AsyncIterator[tuple[SpooledFile, Pace]]:
        """Wait for a turn, and yield the file to fill and the pace to keep.

        Closing the file, or leaving the context, ends the turn.

        Raises:
            ResourceExhaustedError: The user has too many uploads.
            UnavailableError: The server has too many uploads.
        """
        await self._uploads.begin(user_id)
        file = self._spool.create(on_close=lambda: self._uploads.end(user_id))
        try:
            yield file, Pace(self._limits)
        finally:
            file.close()

    @asynccontextmanager
    async def download(self, user_id: str) -> AsyncIterator[Pace]:
        """Wait for a turn, and yield the pace to keep.

        Raises what `upload` raises, about downloads.
        """
        async with self._downloads.turn(user_id):
            yield Pace(self._limits)

    def close(self) -> None:
        """End the threads of the transfers."""
        self._spool.close()
