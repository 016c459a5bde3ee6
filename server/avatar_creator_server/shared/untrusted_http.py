"""HTTP requests to addresses that another service has named: they reach only the public internet.

Without a proxy, the transport resolves the name, checks every address, and connects to a checked one: a
second resolution could return another address. With a proxy, the proxy resolves the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from urllib.request import getproxies, proxy_bypass

import httpx

from avatar_creator_server.settings.host_lists import HostList, IpAddress
from avatar_creator_server.shared.public_addresses import (
    is_internal_name,
    is_plain_name,
    is_private,
    is_public,
    literal_address,
)

_PORTS = {"https": 443, "http": 80}
_MAX_TRIED_ADDRESSES = 4
_RESOLVERS = 4
"""Threads that resolve names. They are not the threads of other work, because a name server can be slow."""


Resolve = Callable[[str, int], list[IpAddress]]
"""Returns the addresses of a host for connections to a port. It blocks, and raises OSError."""


def resolve_with_system(host: str, port: int) -> list[IpAddress]:
    """Return the addresses of a host, in the system's order of preference.

    Raises:
        OSError: The name cannot be resolved.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(address) for address in dict.fromkeys(str(place[4][0]) for place in found)]


class RefusedAddressError(Exception):
    """The service must not send a request to this address; the message says why, without the address."""


@dataclass(frozen=True, slots=True)
class Target:
    """The place that a URL names."""

    scheme: str
    host: str
    """Name or address in lower case, without brackets."""
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> Target:
        """Return the place that the URL names.

        Raises:
            RefusedAddressError: The URL has another scheme, no host, or credentials.
        """
        if url.scheme not in _PORTS:
            raise RefusedAddressError("it is not an address of the web")
        if url.userinfo:
            raise RefusedAddressError("it has a user name or a password")
        host = url.raw_host.decode("ascii").lower().rstrip(".")
        if not host:
            raise RefusedAddressError("it has no host")
        if literal_address(host) is None and not is_plain_name(host):
            raise RefusedAddressError("its host is not a plain name and not an address")
        return cls(url.scheme, host, url.port or _PORTS[url.scheme])


@dataclass(frozen=True, slots=True)
class EgressRules:
    """The rules for addresses that another service has named."""

    hosts: HostList = field(default_factory=HostList)
    """The only public hosts; any if empty."""
    private_hosts: HostList = field(default_factory=HostList)
    """Hosts, addresses and networks that are allowed although they are not public, also without TLS."""
    own: Target | None = None
    """The address of that service itself, which the operator has set; the service may name it too."""

    def require_allowed(self, target: Target, addresses: Sequence[IpAddress]) -> None:
        """Check a place and the addresses of its host.

        Args:
            target: The place.
            addresses: All addresses of its host; none if only a proxy can resolve it.

        Raises:
            RefusedAddressError: A request must not go there.
        """
        if target == self.own or self._is_trusted(target, addresses):
            return
        if any(not is_public(address) for address in addresses):
            raise RefusedAddressError(
                "its host has an address that is not public; if the address is right, add the host to "
                "PROVIDER_RESULT_PRIVATE_HOSTS"
            )
        if not addresses and is_internal_name(target.host):
            raise RefusedAddressError(
                "its host is a name of a private network; if the name is right, add it to "
                "PROVIDER_RESULT_PRIVATE_HOSTS"
            )
        if target.scheme != "https":
            raise RefusedAddressError("it does not begin with https://")
        host, port = literal_address(target.host) or target.host, target.port
        if self.hosts and not self.hosts.has(host, port):
            raise RefusedAddressError("its host is not in PROVIDER_RESULT_HOSTS")
        if port != _PORTS["https"] and not self.hosts.names_port(host, port):
            raise RefusedAddressError(
                "its port is not 443; if the port is right, add host:port to PROVIDER_RESULT_HOSTS"
            )

    def _is_trusted(self, target: Target, addresses: Sequence[IpAddress]) -> bool:
        """Return whether the private hosts have this place.

        A name does not stand for every address: the addresses of a link, such as those of a cloud's
        credentials, must be listed themselves.
        """
        named = self.private_hosts.has(target.host, target.port)
        if not addresses:
            return named
        return all(
            self.private_hosts.has(address, target.port)
            or (named and (is_public(address) or is_private(address)))
            for address in addresses
        )


class UntrustedTransport(httpx.AsyncBaseTransport):
    """Sends requests to places that the rules allow. No connection is used twice."""

    def __init__(
        self, rules: EgressRules, tls: ssl.SSLContext, *, resolve: Resolve = resolve_with_system
    ) -> None:
        """Create a transport without a connection.

        Args:
            rules: The rules.
            tls: Certificates to trust.
            resolve: Resolves names.
        """
        self._rules = rules
        self._resolve_name = resolve
        self._tls = tls
        self._limits = httpx.Limits(max_keepalive_connections=0)
        self._direct = httpx.AsyncHTTPTransport(verify=tls, limits=self._limits, trust_env=False)
        self._through_proxy: dict[str, httpx.AsyncHTTPTransport] = {}
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolver")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            RefusedAddressError: The rules do not allow the place.
            httpx.TransportError: The request failed.
        """
        target = Target.of(request.url)
        literal = literal_address(target.host)
        proxy = _proxy_of(target)
        if proxy is not None:
            self._rules.require_allowed(target, [] if literal is None else [literal])
            return await self._proxied(proxy).handle_async_request(request)
        addresses = [literal] if literal is not None else await self._resolve(target, request)
        self._rules.require_allowed(target, addresses)
        return await self._send(request, target, addresses[:_MAX_TRIED_ADDRESSES])

    async def aclose(self) -> None:
        """Close all connections."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        for transport in (self._direct, *self._through_proxy.values()):
            await transport.aclose()

    def _proxied(self, proxy: str) -> httpx.AsyncHTTPTransport:
        if proxy not in self._through_proxy:
            self._through_proxy[proxy] = httpx.AsyncHTTPTransport(
                verify=self._tls, limits=self._limits, trust_env=False, proxy=httpx.Proxy(proxy)
            )
        return self._through_proxy[proxy]

    async def _resolve(self, target: Target, request: httpx.Request) -> list[IpAddress]:
        loop = asyncio.get_running_loop()
        resolving = loop.run_in_executor(self._resolvers, self._resolve_name, target.host, target.port)
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                return await resolving
        except TimeoutError:
            raise httpx.ConnectTimeout("the name was not resolved in time", request=request) from None
        except (OSError, UnicodeError):
            raise httpx.ConnectError("the name cannot be resolved", request=request) from None

    async def _send(
        self, request: httpx.Request, target: Target, addresses: Sequence[IpAddress]
    ) -> httpx.Response:
        """Send the request to the first address that accepts a connection.

        The header `Host`, the name in the TLS handshake and the checked certificate stay those of the host.
        """
        last = len(addresses) - 1
        for number, address in enumerate(addresses):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=str(address)),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": target.host},
            )
            try:
                return await self._direct.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if number == last:
                    raise
        raise httpx.ConnectError("the name has no address", request=request)


def _proxy_of(target: Target) -> str | None:
    """Return the proxy of the environment for this place; None if the connection is direct."""
    if target.host == "localhost" or ((own := literal_address(target.host)) and own.is_loopback):
        return None
    proxies = getproxies()
    proxy = proxies.get(target.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(target.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
