"""Channels with the options and credentials of a client."""

from __future__ import annotations

import os
from typing import Any

import grpc
from grpc import aio

import avatar_creator
from avatar_creator.arguments import described
from avatar_creator.proxies import Proxy, proxy_options

KEEPALIVE = 30.0
"""Default seconds of silence after which a connection with a running call is pinged."""

_LONGEST_KEEPALIVE = 86_400.0
"""Longest keepalive, in seconds: gRPC keeps it in milliseconds, in 32 bits."""

OPTIONS: list[tuple[str, Any]] = [
    # By default, gRPC refuses metadata of more than 8 KiB at random. Proxies may add some to error details.
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 64 * 1024),
    # The client retries calls itself, because it knows which calls are safe to retry.
    ("grpc.enable_retries", 0),
    # By default a channel waits up to two minutes between connection attempts, even if a watch asks sooner.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def connect(
    target: str,
    *,
    tls: bool,
    root_certificates: bytes | None,
    proxy: Proxy = None,
    keepalive: float | None = KEEPALIVE,
) -> grpc.Channel:
    """Create a channel for the sync client. It connects at the first call.

    Args:
        target: Host and port, or any other gRPC name.
        tls: True encrypts the connection with TLS.
        root_certificates: PEM certificates that may sign the server's certificate; None uses gRPC's defaults.
        proxy: URL of an HTTP proxy, `http://host:port`; False for none. None uses the environment's proxy.
        keepalive: Seconds of silence after which a connection with a running call is pinged; None for never.

    Raises:
        ValueError: `root_certificates` are given without `tls`, `proxy` is not such a URL, or `keepalive` is
            not positive.
    """
    credentials = _credentials(tls, root_certificates)
    options = _options(target, proxy, keepalive)
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


def connect_async(
    target: str,
    *,
    tls: bool,
    root_certificates: bytes | None,
    proxy: Proxy = None,
    keepalive: float | None = KEEPALIVE,
) -> aio.Channel:
    """Create a channel for the async client. See `connect` for the arguments."""
    credentials = _credentials(tls, root_certificates)
    options = _options(target, proxy, keepalive)
    if credentials is None:
        return aio.insecure_channel(target, options=options)
    return aio.secure_channel(target, credentials, options=options)


def _options(target: str, proxy: Proxy, keepalive: float | None) -> list[tuple[str, Any]]:
    return [
        *OPTIONS,
        ("grpc.primary_user_agent", f"avatar-creator-client/{avatar_creator.__version__}"),
        *_keepalive_options(keepalive),
        *proxy_options(target, proxy, os.environ),
    ]


def _keepalive_options(seconds: float | None) -> list[tuple[str, Any]]:
    """Return the options for pings, which detect a dead connection under a quiet watch.

    The service allows any interval.
    """
    if seconds is None:
        return []
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"keepalive must be a positive number of seconds (got {described(seconds)})")
    return [
        ("grpc.keepalive_time_ms", max(1, round(min(seconds, _LONGEST_KEEPALIVE) * 1000))),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _credentials(tls: bool, root_certificates: bytes | None) -> grpc.ChannelCredentials | None:
    if root_certificates is not None and not isinstance(root_certificates, bytes):
        raise ValueError(f"root_certificates must be bytes (got {described(root_certificates)})")
    if tls:
        return grpc.ssl_channel_credentials(root_certificates)
    if root_certificates is not None:
        raise ValueError("root_certificates need TLS: use an https:// target or tls=True")
    return None
