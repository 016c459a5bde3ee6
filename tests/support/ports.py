"""Free TCP ports on loopback."""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Below the range that outgoing connections get theirs from (32768 on Linux, 49152 on macOS): a server
# killed and started again finds its port as it left it, and a client that keeps trying a dead port cannot
# be given that same port as its own and so connect to itself.
_RANGE = range(20_000, 32_000)
# Of several test processes side by side each has ports of its own.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_START_TRIES = 3
_OURS = _RANGE[_PROCESS::_PROCESSES]
_recent: deque[int] = deque(maxlen=64)
"""The last ports that `free_port` has returned: a server may not listen at them yet."""


def free_port() -> int:
    """Return a free port of 127.0.0.1. Another process may still take the port first."""
    while True:
        port = random.choice(_OURS)
        if port in _recent:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _recent.append(port)
        return port


def start_on_free_port(start: Callable[[int], T]) -> T:
    """Start a server on a free port, and return what `start` returns.

    Args:
        start: Starts the server on a port. A RuntimeError with "in use" means that another process has taken
            the port in between; then another one is tried.
    """
    tries_left = _START_TRIES
    while True:
        tries_left -= 1
        try:
            return start(free_port())
        except RuntimeError as error:
            if not tries_left or "in use" not in str(error):
                raise
