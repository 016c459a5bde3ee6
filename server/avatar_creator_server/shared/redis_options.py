"""Options that all connections to Redis have."""

from __future__ import annotations

from typing import Any


def connection_options(url: str) -> dict[str, Any]:
    """Return the options of an asynchronous connection to the Redis at this URL.

    They detect a dead TCP connection; Unix sockets do not have that option. They set no limit of time:
    callers use `asyncio.timeout`. For its own limit, redis-py calls `asyncio.wait_for`, which before Python
    3.12 may lose a cancellation: a worker that was asked to stop worked forever. Source:
    https://github.com/python/cpython/issues/86296
    """
    keepalive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    return {"socket_timeout": None, **keepalive}
