"""An address to which no connection is ever accepted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_FULL_SECONDS = 0.1
_MOST_CONNECTIONS = 16
_REFUSED_WHEN_FULL = 3


@contextmanager
def unanswering_address() -> Iterator[str]:
    """Open a socket that accepts no connection and has a full backlog, so that connecting to it hangs.

    Yields:
        The URL of the socket.

    Raises:
        RuntimeError: The backlog accepted every connection.
    """
    with ExitStack() as open_sockets:
        listening = open_sockets.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        refused_in_a_row = 0
        for _ in range(_MOST_CONNECTIONS):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.settimeout(_FULL_SECONDS)
            try:
                waiting.connect(listening.getsockname())
                refused_in_a_row = 0
            except TimeoutError:
                refused_in_a_row += 1
            # A single timeout may come from a slow machine.
            if refused_in_a_row == _REFUSED_WHEN_FULL:
                break
        else:
            raise RuntimeError("the backlog did not fill up")
        host, port = listening.getsockname()
        yield f"http://{host}:{port}"
