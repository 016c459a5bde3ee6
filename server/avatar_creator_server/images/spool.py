"""Files that are being received: small ones in memory, larger ones on disk without a name."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

import structlog

from avatar_creator_server.errors import UnavailableError

log = structlog.get_logger()

MEMORY_BYTES = 256 * 1024
"""Maximum number of bytes of a file in memory. The rest is on disk."""

_WRITERS = 2
_RETRY_SECONDS = 5.0

_Result = TypeVar("_Result")


class Spool:
    """Creates the files that a process receives."""

    def __init__(self, folder: Path | None) -> None:
        """Create a spool.

        Args:
            folder: The folder of the files; None for the system's temporary folder.
        """
        self._folder = folder
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="spool")

    def create(self, on_close: Callable[[], None]) -> SpooledFile:
        """Create an empty file. Closing it calls `on_close`."""
        return SpooledFile(self._folder, self._writers, on_close)

    def close(self) -> None:
        """End the threads that write."""
        self._writers.shutdown(wait=False, cancel_futures=True)


class SpooledFile:
    """A file that is being received. Only one task uses it at a time."""

    def __init__(
        self, folder: Path | None, writers: ThreadPoolExecutor, on_close: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._writers = writers
        self._on_close = on_close
        self._buffer = bytearray()
        self._on_disk: IO[bytes] | None = None
        self._disk_lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._is_closed = False
        self.size_bytes = 0

    async def append(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            UnavailableError: The disk does not accept them.
        """
        self._digest.update(data)
        self._buffer += data
        self.size_bytes += len(data)
        if len(self._buffer) > MEMORY_BYTES:
            full, self._buffer = self._buffer, bytearray()
            await self._in_thread(lambda: self._write(full))

    async def read(self) -> bytes:
        """Return all bytes.

        Raises:
            UnavailableError: The disk does not return them.
        """
        if self._on_disk is None:
            return bytes(self._buffer)
        return await self._in_thread(self._read)

    def sha256(self) -> bytes:
        """Return the SHA-256 of all bytes."""
        return self._digest.digest()

    def close(self) -> None:
        """Give up the bytes. A second call does no harm."""
        if self._is_closed:
            return
        self._is_closed = True
        self._buffer.clear()
        try:
            self._writers.submit(self._close_on_disk)  # it may have to wait for a write
        except RuntimeError:  # the spool is closed
            self._close_on_disk()
        finally:
            self._on_close()

    def _close_on_disk(self) -> None:
        with self._disk_lock:
            if self._on_disk is not None:
                self._on_disk.close()

    def _write(self, data: bytearray) -> None:
        with self._disk_lock:
            if self._is_closed:
                return  # a cancelled task has left this write
            if self._on_disk is None:
                # A file without a name: the kernel removes it when this process ends, however it ends.
                self._on_disk = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
            rest = memoryview(data)
            while rest:
                rest = rest[self._on_disk.write(rest) :]

    def _read(self) -> bytes:
        assert self._on_disk is not None
        self._on_disk.seek(0)
        return b"".join((self._on_disk.read(), self._buffer))

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writers, work)
        except OSError as error:
            log.warning("spool_failed", error=repr(error))
            raise UnavailableError(
                "STORAGE_UNAVAILABLE",
                "the server cannot store the bytes of the upload right now",
                retry_after=_RETRY_SECONDS,
            ) from error
