"""Options of connections to Redis that depend on its URL."""

from __future__ import annotations

from typing import Any


def keepalive(url: str) -> dict[str, Any]:
    """Return the option that detects a dead TCP connection. Unix sockets do not have it."""
    return {} if url.startswith("unix:") else {"socket_keepalive": True}
