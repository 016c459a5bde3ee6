"""Addresses of pictures in the provider's answers. `EgressRules` decides which of them may be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from avatar_creator_server.shared.untrusted_http import RefusedAddressError, Target

_MAX_ADDRESS = 8_192
"""Maximum number of characters of an address. Signed addresses of storages have about 2,000."""
_REDIRECTS = (301, 302, 303, 307, 308)


def picture_address(result: Mapping[str, Any]) -> httpx.URL | None:
    """Return the address of the first picture in a result; None if it is missing or not one of the web."""
    pictures = result.get("images")
    first = pictures[0] if isinstance(pictures, list) and pictures else None
    address = first.get("url") if isinstance(first, dict) else None
    return web_address(address) if isinstance(address, str) else None


def redirected(url: httpx.URL, status: int, headers: httpx.Headers) -> httpx.URL | None:
    """Return the address to which an answer redirects; None if it is missing or not one of the web."""
    location = headers.get("location")
    return web_address(location, url) if status in _REDIRECTS and location else None


def web_address(address: str, base: httpx.URL | None = None) -> httpx.URL | None:
    """Return the address, relative to a base if there is one; None if it is not one of the web."""
    if len(address) > _MAX_ADDRESS:
        return None
    try:
        url = httpx.URL(address) if base is None else base.join(address)
        Target.of(url)
    except (httpx.InvalidURL, ValueError, RefusedAddressError):
        return None
    return url
