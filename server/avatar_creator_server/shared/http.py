"""HTTP clients of the service, with the proxies that the environment names."""

from __future__ import annotations

from typing import Any

import httpx

from avatar_creator_server.settings import SettingsError

_DIRECT: dict[str, None] = dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]"))
"""Addresses of this machine, which no proxy can reach."""


def open_http_client(**options: Any) -> httpx.AsyncClient:
    """Create a client without a connection. It uses the proxies of the environment, except on this machine.

    Args:
        options: Options of `httpx.AsyncClient`.

    Raises:
        SettingsError: A variable of the environment names a proxy that httpx cannot use.
    """
    try:
        return httpx.AsyncClient(mounts=_DIRECT, **options)
    # httpx raises ImportError for SOCKS, and one of the others for what is not a URL of a proxy.
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise SettingsError(
            "http_proxy, https_proxy or all_proxy is not the URL of an HTTP proxy: "
            "set it to http://host:port, or unset it"
        ) from error


def http_problem(error: Exception) -> str:
    """Return why a request has no answer, as the end of a sentence for people."""
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "no answer in time"
        case httpx.ProxyError():
            return "the proxy refuses the connection"
        case httpx.ConnectError():
            return "no connection to its address"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return "it is not a URL that can be called"
    return "the connection broke"
