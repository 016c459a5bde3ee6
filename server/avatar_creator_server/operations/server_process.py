"""One of several processes of a server, and what it agrees with the supervisor that has started it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from typing import BinaryIO

from prometheus_client import values

READY = b"ready\n"
"""Line that a process sends when it listens and can begin to serve."""
START = b"start\n"
"""Line that the supervisor sends when all processes can begin to serve."""
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of the folder in which all processes keep their metrics.

Source: https://prometheus.github.io/client_python/multiprocess"""

_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


class ServerProcess:
    """This process. Create it before anything imports the metrics."""

    def __init__(self, number: int) -> None:
        """Let this process end with its supervisor, and keep its metrics under its number.

        Args:
            number: Number of the process in its server, from 1. A process that takes the place of a dead one
                has the same number, and continues its counters.
        """
        self._to_supervisor = _private_output()
        if sys.platform == "linux":
            # Killed like one process, at once: the port is free for the next server.
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if METRICS_VARIABLE in os.environ:
            # Not by the process id: each restart would leave files that every scrape reads
            # (https://github.com/prometheus/client_python/issues/509).
            values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]

    async def wait_for_others(self, finish: asyncio.Event) -> bool:
        """Say that this process can begin to serve, and wait until all processes of the server can.

        Returns:
            False if `finish` was set before, or the supervisor has ended.
        """
        self._to_supervisor.write(READY)
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb")
        )
        waits = {
            asyncio.create_task(reader.readline(), name="start"),
            asyncio.create_task(finish.wait(), name="finish"),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            results = await asyncio.gather(*waits, return_exceptions=True)
            transport.close()
        return START in results and not finish.is_set()


def _private_output() -> BinaryIO:
    """Return the standard output without a buffer, and send all other output to standard error."""
    private = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return private
