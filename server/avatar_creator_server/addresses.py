"""Hosts and addresses, `host:port`. The errors complete a sentence that begins with the name of a setting."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

MAX_PORT = 65535

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBERS = re.compile(r"[0-9.]+")
_PORT = re.compile(r"[0-9]{1,5}")
_MAX_NAME_CHARACTERS = 253
_SHOWN = re.compile(r"[A-Za-z0-9_.:*\[\]-]{1,80}")
"""Values that a message repeats. A URL pasted here by mistake may contain a password."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    """A name or an IP address, without brackets."""
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


def parse_address(text: str) -> Address:
    """Parse `host:port`. The port follows the last colon, so an IPv6 address may have brackets or not.

    Raises:
        ValueError: The text is not an address.
    """
    if text.lower().startswith("unix:"):
        raise ValueError("must be host:port; Unix sockets are not supported")
    host, _, port = text.rpartition(":")
    try:
        return Address(parse_host(host), parse_port(port))
    except ValueError:
        raise ValueError(
            f"must be host:port, with a port from 0 to {MAX_PORT}, for example 127.0.0.1:50051 or "
            f"[::1]:50051{_shown(text)}"
        ) from None


def reachable(text: str) -> str:
    """Return the address at which this machine reaches a server that listens on an address.

    A host that means all addresses of the machine is no address to connect to.
    """
    address = parse_address(text)
    return str(Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host), address.port))


def parse_host(text: str) -> str:
    """Parse a host name or an IP address, and return it without brackets.

    Raises:
        ValueError: The text is neither.
    """
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in inner:
        return _ipv6(inner)
    if inner == text and len(text) <= _MAX_NAME_CHARACTERS and _NAME.fullmatch(text):
        # The system would read 0 or 127.1 as an IPv4 address too, but each program differently.
        return str(ipaddress.IPv4Address(text)) if _NUMBERS.fullmatch(text) else text
    raise ValueError(f"must be a host name or an IP address, without a port{_shown(text)}")


def parse_port(text: str, lowest: int = 0) -> int:
    """Parse the number of a port.

    Raises:
        ValueError: The text is not a number from `lowest` to `MAX_PORT`.
    """
    if not _PORT.fullmatch(text) or not lowest <= int(text) <= MAX_PORT:
        raise ValueError(f"must be a number from {lowest} to {MAX_PORT}")
    return int(text)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host. Of names, only `localhost` is certain."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def bracketed(host: str) -> str:
    """Return the host as a URL or an address contains it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError(f"must be a host name or an IP address, without a port{_shown(text)}") from None


def _shown(text: str) -> str:
    return f" (got {text})" if _SHOWN.fullmatch(text) else ""
