"""Options that all connections to Redis have."""

from __future__ import annotations

from typing import Any


def connection_options(url: str) -> dict[str, Any]:
    """Return the options of an asynchronous connection to the Redis at this URL.

    They detect a dead TCP connection; Unix sockets do not have that option. There is no `socket_timeout`:
    with it, redis-py calls `asyncio.wait_for`, which before Python 3.12 may lose a cancellation, and a worker
    that was asked to stop would work on. Callers limit each command with `asyncio.timeout`. Source:
    https://github.com/python/cpython/issues/86296
    """
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return {"socket_timeout": None, **keepalive}
