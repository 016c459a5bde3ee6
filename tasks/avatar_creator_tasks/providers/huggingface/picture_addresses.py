"""Where a picture may be fetched from: addresses that the provider names, and where these redirect to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

_REDIRECTS = (301, 302, 303, 307, 308)


def picture_address(result: Mapping[str, Any], router: httpx.URL) -> httpx.URL | None:
    """Of the first picture of a result; None if there is none that may be fetched."""
    pictures = result.get("images")
    first = pictures[0] if isinstance(pictures, list) and pictures else None
    address = first.get("url") if isinstance(first, dict) else None
    return fetchable(address, router) if isinstance(address, str) else None


def redirected(url: httpx.URL, status: int, headers: httpx.Headers, router: httpx.URL) -> httpx.URL | None:
    """Where an answer leads on; None if it does not, or to nothing that may be fetched."""
    location = headers.get("location")
    if status not in _REDIRECTS or not location:
        return None
    try:
        return fetchable(str(url.join(location)), router)
    except (httpx.InvalidURL, ValueError):
        return None


def fetchable(address: str, router: httpx.URL) -> httpx.URL | None:
    """The address, if it is over TLS, unless the router itself is reached without, and has no login in it."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return None
    schemes = ("https",) if router.scheme == "https" else ("https", "http")
    return url if url.scheme in schemes and url.host and not url.userinfo else None
