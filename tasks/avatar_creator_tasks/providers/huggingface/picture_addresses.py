"""Addresses from which a picture may be downloaded: the provider's own and their redirects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

_REDIRECTS = (301, 302, 303, 307, 308)


def picture_address(result: Mapping[str, Any], router: httpx.URL) -> httpx.URL | None:
    """Return the address of the first picture in a result; None if it is missing or not allowed."""
    pictures = result.get("images")
    first = pictures[0] if isinstance(pictures, list) and pictures else None
    address = first.get("url") if isinstance(first, dict) else None
    return allowed_address(address, router) if isinstance(address, str) else None


def redirected(url: httpx.URL, status: int, headers: httpx.Headers, router: httpx.URL) -> httpx.URL | None:
    """Return the address to which an answer redirects; None if it does not redirect or is not allowed."""
    location = headers.get("location")
    if status not in _REDIRECTS or not location:
        return None
    try:
        return allowed_address(str(url.join(location)), router)
    except (httpx.InvalidURL, ValueError):
        return None


def allowed_address(address: str, router: httpx.URL) -> httpx.URL | None:
    """Return the address as a URL; None if it is not allowed.

    An address must not contain credentials, and must use TLS unless the router itself does not.
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return None
    schemes = ("https",) if router.scheme == "https" else ("https", "http")
    return url if url.scheme in schemes and url.host and not url.userinfo else None
