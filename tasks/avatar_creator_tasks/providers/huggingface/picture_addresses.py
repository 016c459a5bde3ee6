"""Addresses from which a picture may be downloaded: the provider's own and their redirects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

_REDIRECTS = (301, 302, 303, 307, 308)


def picture_address(
    result: Mapping[str, Any], router: httpx.URL, *, may_lack_tls: bool = False
) -> httpx.URL | None:
    """Return the address of the first picture in a result; None if it is missing or not allowed."""
    pictures = result.get("images")
    first = pictures[0] if isinstance(pictures, list) and pictures else None
    address = first.get("url") if isinstance(first, dict) else None
    return allowed_address(address, router, may_lack_tls=may_lack_tls) if isinstance(address, str) else None


def redirected(
    url: httpx.URL,
    status: int,
    headers: httpx.Headers,
    router: httpx.URL,
    *,
    may_lack_tls: bool = False,
) -> httpx.URL | None:
    """Return the address to which an answer redirects; None if it does not redirect or is not allowed."""
    location = headers.get("location")
    if status not in _REDIRECTS or not location:
        return None
    try:
        return allowed_address(str(url.join(location)), router, may_lack_tls=may_lack_tls)
    except (httpx.InvalidURL, ValueError):
        return None


def allowed_address(address: str, router: httpx.URL, *, may_lack_tls: bool = False) -> httpx.URL | None:
    """Return the address as a URL; None if it is not allowed. The rules for its host are checked later.

    Args:
        address: An address without credentials.
        router: Address of the router. If it uses TLS, the address must use it too.
        may_lack_tls: Whether the operator has listed private hosts, which need no TLS.
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return None
    needs_tls = router.scheme == "https" and not may_lack_tls
    schemes = ("https",) if needs_tls else ("https", "http")
    return url if url.scheme in schemes and url.host and not url.userinfo else None
