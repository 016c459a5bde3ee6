"""Channel options, transport credentials and the bearer token of a call."""

from __future__ import annotations

import os
from typing import Any

import grpc
from grpc import aio

from avatar_creator.proxies import proxy_options

OPTIONS: list[tuple[str, Any]] = [
    # By default, gRPC refuses metadata of more than 8 KiB at random. Proxies may add some to error details.
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 64 * 1024),
    # The client retries calls itself, because it knows which calls are safe to retry.
    ("grpc.enable_retries", 0),
    # Keepalive pings detect a dead connection under a quiet watch. The service allows any interval.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # By default a channel waits up to two minutes between connection attempts, even if a watch asks sooner.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def connect(
    target: str, *, tls: bool, root_certificates: bytes | None, proxy: str | None = None
) -> grpc.Channel:
    """Create a channel for the sync client. It connects at the first call.

    Args:
        target: Host and port, or any other gRPC name.
        tls: True encrypts the connection with TLS.
        root_certificates: PEM certificates that may sign the server's certificate; None uses gRPC's defaults.
        proxy: URL of an HTTP proxy, `http://host:port`; empty for none. None uses the environment's proxy.

    Raises:
        ValueError: `root_certificates` are given without `tls`, or `proxy` is not such a URL.
    """
    credentials = _credentials(tls, root_certificates)
    options = [*OPTIONS, *proxy_options(target, proxy, os.environ)]
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


def connect_async(
    target: str, *, tls: bool, root_certificates: bytes | None, proxy: str | None = None
) -> aio.Channel:
    """Create a channel for the async client. See `connect` for the arguments."""
    credentials = _credentials(tls, root_certificates)
    options = [*OPTIONS, *proxy_options(target, proxy, os.environ)]
    if credentials is None:
        return aio.insecure_channel(target, options=options)
    return aio.secure_channel(target, credentials, options=options)


def bearer(token: str | None) -> tuple[tuple[str, str], ...]:
    """Return the call metadata that carries the token; empty without a token.

    Call metadata, because gRPC's call credentials work only with TLS. Blanks around the token, which a file
    or a shell may leave there, are removed.

    Raises:
        ValueError: The token has characters that metadata cannot carry.
    """
    if token is None:
        return ()
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise ValueError("the token must have printable ASCII characters only; check where it is read from")
    return (("authorization", f"Bearer {token}"),)


def _credentials(tls: bool, root_certificates: bytes | None) -> grpc.ChannelCredentials | None:
    if tls:
        return grpc.ssl_channel_credentials(root_certificates)
    if root_certificates is not None:
        raise ValueError("root_certificates need tls=True")
    return None
