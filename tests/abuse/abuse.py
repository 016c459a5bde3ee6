"""Measurements that all abuse tests share: what another user sees, and the memory and threads of a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from avatar_creator import AvatarCreator
from tests import pictures
from tests.support.service import Deployment
from tests.support.waiting import wait_until

MIB = 1024 * 1024
ENOUGH_READS = 30


class Witness:
    """Another user, who reads an avatar again and again."""

    def __init__(self, client: AvatarCreator) -> None:
        self._client = client
        self.project_id = client.projects.create("Quiet").id
        self._avatar_id = client.avatars.upload(self.project_id, pictures.png(), name="Face").id

    @contextmanager
    def reading(self) -> Iterator[list[float]]:
        """Read on a thread while the context is open, and yield the latencies in seconds."""
        latencies: list[float] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.wait(0.01):
                started = time.perf_counter()
                self._client.avatars.get(self._avatar_id, timeout=30)
                latencies.append(time.perf_counter() - started)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield latencies
            wait_until(lambda: len(latencies) >= ENOUGH_READS, 30.0)
        finally:
            stop.set()
            thread.join()

    def upload_seconds(self, data: bytes) -> float:
        """Upload a picture and return the time that it took."""
        started = time.perf_counter()
        self._client.avatars.upload(self.project_id, data, name="Face", timeout=60)
        return time.perf_counter() - started

    def quiet_median(self) -> float:
        """Return the median latency of a quiet time, in seconds."""
        with self.reading() as latencies:
            pass
        return median(latencies)


class Gauge:
    """The memory and threads of a server and of its decoders."""

    def __init__(self, service: Deployment) -> None:
        self.server = psutil.Process(service.servers[0].pid)
        self.peak_server_bytes = 0
        self.peak_children_bytes = 0

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Record the peaks while the context is open."""
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(0.02):
                self.peak_server_bytes = max(self.peak_server_bytes, self.server_bytes())
                self.peak_children_bytes = max(self.peak_children_bytes, self.children_bytes())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def server_bytes(self) -> int:
        """Return the resident memory of the server."""
        return int(self.server.memory_info().rss)

    def children_bytes(self) -> int:
        """Return the resident memory of its children."""
        total = 0
        for child in self.server.children():
            try:
                total += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def threads(self) -> int:
        """Return the number of threads of the server."""
        return int(self.server.num_threads())


def median(values: list[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]


def percentile99(values: list[float]) -> float:
    """Return the value that 99 % of the values do not exceed."""
    return sorted(values)[int(len(values) * 0.99)]
