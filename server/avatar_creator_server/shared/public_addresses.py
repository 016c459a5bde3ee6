"""The distinction between addresses of the public internet and all others.

Sources: IANA's registries of special-purpose addresses, iana.org/assignments/iana-ipv4-special-registry and
iana-ipv6-special-registry. Python's own `is_global` follows them. But it differs between versions, and it
accepts groups (multicast) and IPv6 addresses that contain a private IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from avatar_creator_server.settings.host_lists import IpAddress, IpNetwork

_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII | re.IGNORECASE)
"""A name without escapes: programs decode them in different ways."""
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7", "::1"),
    )
)
"""Networks of an organization, of a provider behind NAT, and of the machine itself."""
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
"""Addresses at which clouds serve credentials to their machines."""
_NOT_PUBLIC: tuple[IpNetwork, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            # IPv4 that `is_global` of some Python version accepts.
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            # IPv6: Teredo and others, documentation, and 6to4, which contains an IPv4 address.
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
        ),
    )
)
_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""The only part of IPv6 that is assigned to the public internet. Mapped and translated IPv4 is outside it."""
_ISATAP = (bytes.fromhex("00005efe"), bytes.fromhex("02005efe"))
"""Bytes in front of the IPv4 address that the end of an ISATAP address contains (RFC 5214, section 6.1)."""
_INTERNAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "localdomain")


def is_public(address: IpAddress) -> bool:
    """Return whether the address belongs to the public internet."""
    if address in _METADATA or not address.is_global or any(address in network for network in _NOT_PUBLIC):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    return address in _PUBLIC_IPV6 and address.scope_id is None and address.packed[8:12] not in _ISATAP


def is_private(address: IpAddress) -> bool:
    """Return whether the address belongs to a private network or to this machine.

    An address of a link or a group, and one that serves a cloud's credentials, is not public and not private.
    """
    return address not in _METADATA and any(address in network for network in _PRIVATE)


def is_internal_name(name: str) -> bool:
    """Return whether the name of a host can only be one of a private network."""
    return "." not in name or name.endswith(tuple(f".{each}" for each in _INTERNAL_NAMES))


def is_plain_name(name: str) -> bool:
    """Return whether every program reads the text as the same name, and none reads it as an address."""
    last = name.rpartition(".")[2]
    is_number = last.isdecimal() or last.lower().startswith("0x")
    return _NAME.fullmatch(name) is not None and not is_number


def literal_address(host: str) -> IpAddress | None:
    """Return the address that the host of a URL is, in any form that the system reads; None for a name."""
    text = host.removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    try:
        # Old forms: 127.1, 2130706433 and 0x7f.0.0.1 are 127.0.0.1.
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None
