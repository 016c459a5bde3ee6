"""Lists of hosts and networks. The errors complete a sentence that begins with the setting's name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

from avatar_creator_server.addresses import bracketed, parse_host
from avatar_creator_server.settings.urls import split_host

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_ANY_SUBDOMAIN = "*."
_NETWORK = re.compile(r"[0-9A-Fa-f.:]{2,45}/[0-9]{1,3}")
_MAX_ENTRIES = 100
_EXAMPLES = "fal.media,*.fal.media:8443"
_EXAMPLES_WITH_NETWORKS = "files.internal:9000,10.1.0.0/16"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry: a name, a name with all its subdomains, an address or a network."""

    name: str
    """Name in lower case; empty for an address or a network."""
    any_subdomain: bool
    network: IpNetwork | None
    port: int | None
    """The only port; None if the entry does not limit it."""

    def __str__(self) -> str:
        network = self.network
        if network is None:
            place = f"{_ANY_SUBDOMAIN if self.any_subdomain else ''}{self.name}"
        elif network.num_addresses > 1:
            return str(network)
        else:
            place = bracketed(str(network.network_address))
        return place if self.port is None else f"{place}:{self.port}"

    def has(self, host: str | IpAddress) -> bool:
        """Return whether the entry names this host, or has this address."""
        if not isinstance(host, str):
            return self.network is not None and host in self.network
        return host.endswith(f".{self.name}") if self.any_subdomain else bool(self.name) and host == self.name


@dataclass(frozen=True, slots=True)
class HostList:
    """Names, addresses and networks. A name and an address may have a port."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def parse(cls, text: str, *, networks: bool = False) -> Self:
        """Parse entries that are separated by commas; an empty text is an empty list.

        Args:
            text: Names such as `fal.media`, names with all their subdomains such as `*.fal.media`, and IP
                addresses. Each may have a port.
            networks: Whether an entry may also be a network such as `10.1.0.0/16`.

        Raises:
            ValueError: An entry is invalid; the message does not contain it.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if len(parts) > _MAX_ENTRIES:
            raise ValueError(f"must have at most {_MAX_ENTRIES} entries")
        try:
            return cls(tuple(_parse_entry(part, networks) for part in parts))
        except ValueError:
            if not networks:
                raise ValueError(
                    f"must be names and addresses separated by commas, for example {_EXAMPLES}"
                ) from None
            raise ValueError(
                "must be names, addresses and networks separated by commas, for example "
                f"{_EXAMPLES_WITH_NETWORKS}; a network begins with its first address"
            ) from None

    def __str__(self) -> str:
        return ",".join(map(str, self.entries))

    def __bool__(self) -> bool:
        return bool(self.entries)

    def has(self, host: str | IpAddress, port: int) -> bool:
        """Return whether an entry has this name or address, and does not limit the port to another one."""
        return any(entry.has(host) and entry.port in (None, port) for entry in self.entries)

    def names_port(self, host: str | IpAddress, port: int) -> bool:
        """Return whether an entry has this name or address together with this port."""
        return any(entry.has(host) and entry.port == port for entry in self.entries)


def _parse_entry(text: str, networks: bool) -> _Entry:
    if networks and _NETWORK.fullmatch(text):
        # Strict: 10.1.2.3/8 may be a mistake for 10.1.2.3 and must not open all of 10.0.0.0/8.
        return _Entry("", False, ipaddress.ip_network(text), None)
    any_subdomain = text.startswith(_ANY_SUBDOMAIN)
    host, port = _host_and_port(text.removeprefix(_ANY_SUBDOMAIN))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _Entry(host.lower().rstrip("."), any_subdomain, None, port)
    if any_subdomain:
        raise ValueError("an address has no subdomains")
    return _Entry("", False, ipaddress.ip_network(address), port)


def _host_and_port(text: str) -> tuple[str, int | None]:
    try:
        return str(ipaddress.IPv6Address(text)), None
    except ValueError:
        host, port = split_host(text)
        return parse_host(host), port
