"""Another user during an attack: the latencies that this user sees, and how much slower they may be."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc

from avatar_creator.v1.avatar_service_pb2 import GetAvatarRequest
from avatar_creator.v1.avatar_service_pb2_grpc import AvatarServiceStub
from tests import pictures
from tests.support.service import Deployment
from tests.support.waiting import wait_until

SLOWER = 10.0
"""Maximum ratio of another user's median read to that of a quiet time, if the attacker computes little.

The attacker, the server, PostgreSQL and the other user share two cores. So a read of 2 ms waits for a core
several times, and for the interpreter of the server.
"""
SLOWER_NEXT_TO_A_FLOOD = 15.0
"""The same ratio for an attacker that calls as often as it can: its process keeps one of the cores busy."""
SLOWER_NEXT_TO_LARGE_ANSWERS = 60.0
"""The same ratio for 32 readers of answers of 3.5 MiB: encoding one holds the server's interpreter for about
20 ms, ten times as long as a quiet read takes, and the readers' process keeps one of the cores busy."""
LEAST_QUIET_SECONDS = 0.005
"""Some tests count shorter quiet medians as this: the ratio of very short times says little."""
SLOWEST_READ_SECONDS = 2.0
"""Maximum 99th percentile of another user's reads: CALL_WAIT_SECONDS, the longest time that a call waits.

The next free turn goes to the user who was served longest ago, so one read needs only a part of that time.
"""
READ_SECONDS = 20.0
"""Deadline of another user's read. A read that fails counts as this."""
_QUIET_READS = 100
_PAUSE_SECONDS = 0.01


class Reads:
    """Reads of one user."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors: list[str] = []
        """Statuses and texts of the reads that failed."""

    @property
    def median(self) -> float:
        """The median latency, in seconds."""
        return statistics.median(self.seconds)

    @property
    def percentile99(self) -> float:
        """The latency that 99 % of the reads do not exceed, in seconds."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    def assert_hardly_slower(self, quiet: float, slower: float = SLOWER) -> None:
        """Assert that no read failed, and that the reads took little more than the median of a quiet time.

        Args:
            quiet: The median of a quiet time, in seconds.
            slower: Maximum ratio of the medians.
        """
        assert not self.errors, f"{len(self.errors)} of {len(self.seconds)} reads failed: {self.errors[:5]}"
        ratio = self.median / quiet
        assert ratio < slower, (
            f"a median read of {self.median:.3f} s, {ratio:.1f} times the quiet {quiet:.4f} s"
        )
        assert self.percentile99 < SLOWEST_READ_SECONDS, (
            f"1 % of the reads took {self.percentile99:.1f} s or more"
        )


class Witness:
    """Another user, who reads an avatar again and again, on connections of its own and without retries."""

    def __init__(self, service: Deployment) -> None:
        self.client = service.client("witness")
        self._target = service.target
        self._metadata = (("authorization", f"Bearer {service.token('witness')}"),)
        self.project_id = self.client.projects.create("Quiet").id
        avatar = self.client.avatars.upload(self.project_id, pictures.png(), name="Face")
        self._request = GetAvatarRequest(avatar_id=avatar.id)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its client."""
        self.client.close()

    @contextmanager
    def reading(self, callers: int = 1) -> Iterator[Reads]:
        """Read while the context is open, and yield the reads that have ended.

        Args:
            callers: Number of threads that read at the same time.
        """
        reads = Reads()
        stop = threading.Event()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(self._target, options) as channel:
            stub = AvatarServiceStub(channel)
            threads = [
                threading.Thread(target=self._read, args=(stub, reads, stop), daemon=True)
                for _ in range(callers)
            ]
            for thread in threads:
                thread.start()
            try:
                yield reads
            finally:
                stop.set()
                for thread in threads:
                    thread.join()

    def quiet_median(self) -> float:
        """Return the median latency of a quiet time, in seconds."""
        with self.reading() as reads:
            wait_until(lambda: len(reads.seconds) >= _QUIET_READS, 60.0)
        assert not reads.errors, reads.errors
        return reads.median

    def upload_with_thumbnail(self, data: bytes) -> None:
        """Upload a picture, and wait until its thumbnail is ready."""
        avatar = self.client.avatars.upload(self.project_id, data, name="Face", timeout=60)
        wait_until(lambda: not self.client.avatars.get(avatar.id).thumbnail_pending, 60.0)

    def upload_seconds(self, data: bytes) -> float:
        """Upload a picture and return the time that it took."""
        started = time.perf_counter()
        self.client.avatars.upload(self.project_id, data, name="Face", timeout=60)
        return time.perf_counter() - started

    def _read(self, stub: AvatarServiceStub, reads: Reads, stop: threading.Event) -> None:
        while True:
            started = time.perf_counter()
            try:
                stub.GetAvatar(self._request, metadata=self._metadata, timeout=READ_SECONDS)
                reads.seconds.append(time.perf_counter() - started)
            except grpc.RpcError as error:
                reads.errors.append(f"{error.code()} {error.details()}")
                reads.seconds.append(READ_SECONDS)
            if stop.wait(_PAUSE_SECONDS):
                return
