"""The HTTP proxy of a connection, from the caller's choice or the usual environment variables.

gRPC reads some of these variables too, but it sends even connections to this machine through the proxy. It
does not know `all_proxy`, upper case and `no_proxy=*`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

Proxy: TypeAlias = str | Literal[False] | None
"""URL of an HTTP proxy, `http://host:port`; False for none; None for the one that the environment names."""

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy")
"""The first one that names an HTTP proxy counts, in lower or upper case."""
_NO_PROXY_VARIABLES = ("no_grpc_proxy", "no_proxy")
_SCHEMES_WITH_HOST = ("dns", "ipv4", "ipv6")
"""gRPC names with one of these schemes have a host. `unix:` and similar names reach this machine only."""


def proxy_options(target: str, proxy: Proxy, environment: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Return the channel options that make gRPC use the right proxy, or none.

    Args:
        target: Host and port of the service, or any other gRPC name.
        proxy: URL of the proxy, `http://host:port`; False for none; None to use the environment.
        environment: Environment variables.

    Raises:
        ValueError: `proxy` is not the URL of an HTTP proxy.
    """
    # True is no URL, and only False means none.
    if proxy is not None and proxy is not False and not (isinstance(proxy, str) and _is_http_proxy(proxy)):
        raise ValueError("proxy must be http://host:port, or False to connect directly")
    chosen = _proxy_of(environment) if proxy is None else proxy
    host, port = _host_and_port(target)
    if not chosen or _is_direct(host, port, environment):
        return [("grpc.enable_http_proxy", 0)]
    return [("grpc.http_proxy", chosen)]


def _proxy_of(environment: Mapping[str, str]) -> str:
    for name in _VARIABLES:
        for value in _values(environment, name):
            # curl accepts a proxy without a scheme. gRPC cannot use SOCKS proxies and those with TLS.
            proxy = value if "://" in value else f"http://{value}"
            if _is_http_proxy(proxy):
                return proxy
    return ""


def _values(environment: Mapping[str, str], name: str) -> Iterator[str]:
    """Yield the values of a variable that are set, the lower case first."""
    for spelled in (name, name.upper()):
        # A web server that runs CGI programs sets HTTP_PROXY to a header of the request.
        if spelled == "HTTP_PROXY" and "REQUEST_METHOD" in environment:
            continue
        if value := environment.get(spelled, "").strip():
            yield value


def _is_http_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _host_and_port(target: str) -> tuple[str, str]:
    """Return the host of a gRPC name in lower case, and the port; both empty if the name has no host."""
    scheme, separator, rest = target.partition(":")
    if separator and scheme.lower() in _SCHEMES_WITH_HOST:
        target = rest.rpartition("/")[2].partition(",")[0]
    elif ":/" in target or scheme.lower().startswith(("unix", "vsock")):
        return "", ""
    host, port = target, ""
    if target.count(":") == 1 or "]:" in target:
        host, _, port = target.rpartition(":")
    return host.strip("[]").rstrip(".").lower(), port


def _is_direct(host: str, port: str, environment: Mapping[str, str]) -> bool:
    address = _address(host)
    if not host or host == "localhost" or host.endswith(".localhost"):
        return True
    if address is not None and (address.is_loopback or address.is_unspecified):
        return True
    no_proxy = next((value for name in _NO_PROXY_VARIABLES for value in _values(environment, name)), "")
    entries = [entry.strip().lower() for entry in no_proxy.split(",")]
    if address is not None:
        return any(entry == "*" or _includes(entry, address, port) for entry in entries)
    return any(entry == "*" or _covers(entry, host, port) for entry in entries)


def _covers(entry: str, host: str, port: str) -> bool:
    """Return whether an entry of `no_proxy` is this host or its domain, with or without the port."""
    domain = entry.removesuffix(f":{port}").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _includes(entry: str, address: _Address, port: str) -> bool:
    """Return whether an entry of `no_proxy` is this address, with or without the port, or its network."""
    shown = f"[{address}]" if address.version == 6 else str(address)
    if entry in (f"{shown}:{port}", shown):
        return True
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
