"""The memory and threads of a server under attack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tests.support.service import Deployment

MIB = 1024 * 1024
_SAMPLE_SECONDS = 0.05


class Gauge:
    """The memory and threads of a deployment's first server, and the memory of its decoders.

    A page that several processes share counts in each of them with its share.
    """

    def __init__(self, service: Deployment) -> None:
        self.server = psutil.Process(service.servers[0].pid)
        self.peak_bytes = 0
        self.peak_server_bytes = 0
        self.peak_children_bytes = 0

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Record the peaks while the context is open."""
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(_SAMPLE_SECONDS):
                server, children = self.server_bytes(), self.children_bytes()
                self.peak_bytes = max(self.peak_bytes, server + children)
                self.peak_server_bytes = max(self.peak_server_bytes, server)
                self.peak_children_bytes = max(self.peak_children_bytes, children)

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def bytes(self) -> int:
        """Return the memory of the server and its children."""
        return self.server_bytes() + self.children_bytes()

    def server_bytes(self) -> int:
        """Return the memory of the server."""
        return int(self.server.memory_full_info().pss)

    def children_bytes(self) -> int:
        """Return the memory of its children."""
        total = 0
        for child in self.server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                total += child.memory_full_info().pss
        return total

    def threads(self) -> int:
        """Return the number of threads of the server."""
        return int(self.server.num_threads())
