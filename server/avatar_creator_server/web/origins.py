"""The hosts by which browsers know the service, and the origins whose pages may call it.

No cookie exists, so no page of another origin can act with the rights of a person who has only visited it.
The rules here keep such pages from reading answers at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from avatar_creator_server.addresses import is_loopback, parse_address
from avatar_creator_server.settings import Settings

_PREFLIGHT_SECONDS = 7_200
"""Time for which a browser keeps the answer to a preflight; Chromium accepts no longer one."""
_CALL_HEADERS = (
    *("authorization", "content-type", "content-encoding"),
    *(
        "connect-protocol-version",
        "connect-timeout-ms",
        "connect-content-encoding",
        "connect-accept-encoding",
    ),
    *("grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "x-grpc-web", "x-user-agent"),
)
"""Headers of a call. Source: https://connectrpc.com/docs/cors"""
_ANSWER_HEADERS = (
    *("content-encoding", "connect-content-encoding"),
    *("grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding"),
    *("content-range", "etag"),
)
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class WebOrigins:
    """The hosts and origins of one web port."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(settings.web_origin_list)
        self._hosts = _known_hosts(settings)

    def is_known_host(self, host: str) -> bool:
        """Return whether the service answers requests for a host.

        A server on a loopback address is reached only by this machine. But any page can have a name that
        resolves to that address, and then call the server as its own ("DNS rebinding"). The browser still
        sends that name.

        Args:
            host: The value of the header `host`, with or without a port.
        """
        return self._hosts is None or _name_of(host) in self._hosts

    def headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """Return the headers of an answer to a page of `origin`, which is empty if the request names none."""
        if not self._origins:
            return []
        headers = [(b"vary", b"Origin")]
        if origin in self._origins:
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
            headers.append((b"access-control-expose-headers", ", ".join(_ANSWER_HEADERS).encode()))
        return headers

    def preflight(self, origin: str) -> Mapping[str, str]:
        """Return what an origin may do, as headers; none if it may do nothing."""
        if origin not in self._origins:
            return {}
        return {
            "access-control-allow-methods": "GET, HEAD, POST",
            "access-control-allow-headers": ", ".join(_CALL_HEADERS),
            "access-control-max-age": str(_PREFLIGHT_SECONDS),
        }


def security_headers(settings: Settings) -> list[tuple[bytes, bytes]]:
    """Return the headers of every answer of the web port.

    Source: https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
    """
    frames = " ".join(settings.web_origin_list) or "'none'"
    # Pictures in a bucket: the answer to a signed link is a redirect, whose target must be allowed too.
    pictures = " https: http:" if settings.storage_url else ""
    policy = "; ".join(
        (
            "default-src 'self'",
            f"img-src 'self' blob: data:{pictures}",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {frames}",
        )
    )
    headers = {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        **({} if settings.web_origin_list else {"x-frame-options": "DENY"}),
    }
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _known_hosts(settings: Settings) -> frozenset[str] | None:
    """Return the only names that the service answers to; None if it answers to all.

    Only this machine reaches a loopback address. With any other address, the certificate or the proxy decides
    the names.
    """
    host = parse_address(settings.web_listen_address).host
    if settings.web_behind_proxy or not is_loopback(host):
        return None
    public = urlsplit(settings.web_public_url).hostname
    return frozenset((*_LOOPBACK_NAMES, host.lower(), *([public] if public else [])))


def _name_of(host: str) -> str:
    """Return the host without its port, in lower case; empty if it is malformed."""
    if "@" in host or "/" in host:
        return ""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
