"""How the client connects: channel options and credentials."""

from __future__ import annotations

from typing import Any

import grpc
from grpc import aio

OPTIONS: list[tuple[str, Any]] = [
    # 100 avatars with thumbnails of about 40 KiB come in one message; the default limit is 4 MiB.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # The client repeats calls itself, and knows which it may.
    ("grpc.enable_retries", 0),
    # Finds a dead connection under a quiet watch. The service allows a ping every 10 s, more than gRPC does
    # by default.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # By default a channel waits up to two minutes before it connects again, however often a watch asks.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def connect(target: str, *, tls: bool, root_certificates: bytes | None) -> grpc.Channel:
    """A channel for the sync client; nothing is sent yet."""
    credentials = _credentials(tls, root_certificates)
    if credentials is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, credentials, options=OPTIONS)


def connect_async(target: str, *, tls: bool, root_certificates: bytes | None) -> aio.Channel:
    """A channel for the async client; nothing is sent yet."""
    credentials = _credentials(tls, root_certificates)
    if credentials is None:
        return aio.insecure_channel(target, options=OPTIONS)
    return aio.secure_channel(target, credentials, options=OPTIONS)


def bearer(token: str | None) -> tuple[tuple[str, str], ...]:
    """Call metadata that carries the token. Call metadata, because channel credentials need TLS.

    Blanks around the token, as a file or a shell leaves them, are not part of it.

    Raises:
        ValueError: the token has characters that metadata cannot carry.
    """
    if token is None:
        return ()
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token has characters that are not printable ASCII")
    return (("authorization", f"Bearer {token}"),)


def _credentials(tls: bool, root_certificates: bytes | None) -> grpc.ChannelCredentials | None:
    if tls:
        return grpc.ssl_channel_credentials(root_certificates)
    if root_certificates is not None:
        raise ValueError("root_certificates are for tls=True")
    return None
