"""Free TCP ports on loopback."""

from __future__ import annotations

import os
import random
import socket

# Below the range that outgoing connections get theirs from (32768 on Linux, 49152 on macOS): a server
# killed and started again finds its port as it left it, and a client that keeps trying a dead port cannot
# be given that same port as its own and so connect to itself.
_RANGE = range(20_000, 32_000)
# Of several test processes side by side each has ports of its own.
_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_OURS = _RANGE[_PROCESS::_PROCESSES]


def free_port() -> int:
    """Return a free port of 127.0.0.1. Another process may still take the port first."""
    while True:
        port = random.choice(_OURS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
