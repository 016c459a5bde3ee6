"""Uploads and downloads: how many run at once, how slow they may be, and when they end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from avatar_creator_server.api.access import token_seconds_left
from avatar_creator_server.api.context import Context, send, when_call_ends
from avatar_creator_server.errors import AvatarCreatorError, TooSlowError, UnauthenticatedError
from avatar_creator_server.fair_queue import UserLimit
from avatar_creator_server.images.spool import Spool, SpooledFile
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.memory import MemoryReturn
from avatar_creator_server.shared.turns import Turns

_REASON = "TRANSFER_LIMIT"
_WAITING_UPLOADS_FACTOR = 2
"""Waiting uploads, as a multiple of those that run: gRPC buffers up to 1 MiB of each waiting upload."""
_WAITING_DOWNLOADS_FACTOR = 8

_OPEN_DOWNLOADS = 10_000
"""Maximum number of downloads that wait, run, or were ended and not read."""

_KIB = 1024

_Message = TypeVar("_Message")


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Limits of the time that a transfer takes."""

    total_seconds: float
    """Maximum time for a whole transfer."""
    stall_seconds: float
    """Time that a transfer may lag behind the least rate. Earlier speed does not extend this time."""
    least_bytes_per_second: float
    """Least rate of the payload."""


class Pace:
    """The time limits of one running transfer: its least rate, its total time and its token."""

    def __init__(self, limits: PaceLimits, token_seconds: float = math.inf) -> None:
        """Begin.

        Args:
            limits: The limits.
            token_seconds: Seconds until the token of the call expires; infinite without a token.
        """
        self._limits = limits
        self._start = asyncio.get_running_loop().time()
        self._token_end = self._start + token_seconds
        self._transferred = 0
        self._total_end = self._start + limits.total_seconds
        self._lag_end = self._start + limits.stall_seconds

    async def receive(self, requests: AsyncIterator[_Message]) -> _Message | None:
        """Return the next request; None at the end of the stream.

        Raises:
            TooSlowError: The sender is too slow.
            UnauthenticatedError: The token has expired.
        """
        try:
            async with self.limit():
                return await anext(requests, None)
        except TimeoutError as error:
            raise self._end() from error

    async def send(self, context: Context, response: Any) -> None:
        """Send a response; wait until the reader has made room for it.

        Raises what `receive` raises.
        """
        try:
            async with self.limit():
                await send(context, response.SerializeToString())
        except TimeoutError as error:
            raise self._end() from error

    def limit(self) -> asyncio.Timeout:
        """Return a context that is cancelled when the next message has come too late."""
        return asyncio.timeout_at(self._deadline())

    def count(self, transferred_bytes: int) -> None:
        """Count the payload of a message that was sent or received."""
        limits = self._limits
        self._transferred += transferred_bytes
        earned = transferred_bytes / limits.least_bytes_per_second
        most = asyncio.get_running_loop().time() + limits.stall_seconds
        self._lag_end = min(self._lag_end + earned, most)

    def _deadline(self) -> float:
        return min(self._lag_end, self._total_end, self._token_end)

    def _end(self) -> AvatarCreatorError:
        limits = self._limits
        elapsed = asyncio.get_running_loop().time() - self._start
        if self._deadline() == self._token_end:
            return UnauthenticatedError("TOKEN_EXPIRED", "the token has expired")
        if self._deadline() == self._total_end:
            limit = f"and the maximum is {limits.total_seconds:g} s"
        else:
            rate = limits.least_bytes_per_second / _KIB
            limit = f"and the minimum is {rate:g} KiB/s, with pauses of at most {limits.stall_seconds:g} s"
        return TooSlowError(
            "TRANSFER_TOO_SLOW",
            f"the transfer is too slow: {self._transferred:,} bytes in {elapsed:.0f} s, {limit}; "
            "send the same call again over a faster connection",
        )


class Transfers:
    """The uploads and downloads of one server."""

    def __init__(self, settings: Settings, memory: MemoryReturn) -> None:
        self._limits = PaceLimits(
            total_seconds=settings.transfer_seconds,
            stall_seconds=settings.transfer_stall_seconds,
            least_bytes_per_second=settings.transfer_least_kib_per_second * _KIB,
        )
        self._spool = Spool(settings.spool_path)
        self._memory = memory
        self._uploads = Turns(
            "uploads",
            at_once=settings.uploads_at_once,
            user_limit=UserLimit(settings.uploads_at_once_per_user, _REASON),
            waiting_factor=_WAITING_UPLOADS_FACTOR,
            wait_seconds=settings.transfer_wait_seconds,
        )
        self._downloads = Turns(
            "downloads",
            at_once=settings.downloads_at_once,
            user_limit=UserLimit(settings.downloads_at_once_per_user, _REASON),
            waiting_factor=_WAITING_DOWNLOADS_FACTOR,
            wait_seconds=settings.transfer_wait_seconds,
        )
        self._open_downloads = Turns(
            "downloads",
            at_once=_OPEN_DOWNLOADS,
            user_limit=UserLimit(
                (1 + _WAITING_DOWNLOADS_FACTOR) * settings.downloads_at_once_per_user, _REASON
            ),
            waiting_factor=0,
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
        # gRPC keeps up to 1 MiB of each upload, also of refused ones.
        self._memory.soon()
        await self._uploads.begin(user_id)
        file = self._spool.create(on_close=lambda: self._end_upload(user_id))
        try:
            yield file, Pace(self._limits, token_seconds_left())
        finally:
            file.close()

    @asynccontextmanager
    async def download(self, user_id: str) -> AsyncIterator[Pace]:
        """Wait for a turn, and yield the pace to keep.

        Raises what `upload` raises, about downloads.
        """
        await self._open_downloads.begin(user_id)
        # A call that was ended stays open until its reader has read what gRPC has already buffered: 256 KiB.
        # It leaves its turn to others, but counts against its user.
        when_call_ends(lambda: self._open_downloads.end(user_id))
        async with self._downloads.turn(user_id):
            yield Pace(self._limits, token_seconds_left())

    @asynccontextmanager
    async def linked_download(self, user_id: str) -> AsyncIterator[Pace]:
        """Wait for a turn to send a picture to someone who has its link, and yield the pace to keep.

        Args:
            user_id: Owner of the picture, whose turns these are: only their own downloads wait for them.

        Raises what `upload` raises, about downloads.
        """
        async with self._downloads.turn(user_id):
            yield Pace(self._limits)

    def has(self, user_id: str) -> bool:
        """Return whether the user has a transfer that runs or waits."""
        return any(turns.has(user_id) for turns in (self._uploads, self._downloads, self._open_downloads))

    def _end_upload(self, user_id: str) -> None:
        self._uploads.end(user_id)
        self._memory.soon()

    def close(self) -> None:
        """End the threads of the transfers."""
        self._spool.close()
