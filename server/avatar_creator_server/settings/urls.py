"""The parts of a URL with credentials. No error contains any part of the URL, because it may be secret.

The errors complete a sentence that begins with the setting's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from avatar_creator_server.addresses import MAX_PORT, parse_host

UNESCAPED = (
    "has characters in its user name or password that have a meaning in a URL: write @ as %40, : as %3A, "
    "/ as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D and % as %25"
)

_PARTS = re.compile(
    r"(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?", re.DOTALL
)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL's parts after its scheme."""

    user: str
    password: str
    hosts: str
    """Text between the credentials and the path, as it was written."""
    path: str
    """Path with its first slash, without escapes; empty if there is none."""
    parameters: tuple[tuple[str, str], ...]
    """Names and values of the query, without escapes."""


def split_url(text: str) -> Url:
    """Split the part of a URL after `scheme://`.

    Raises:
        ValueError: The text is not the rest of a URL, or its credentials have unescaped characters.
    """
    parts = _PARTS.fullmatch(text)
    assert parts is not None
    authority, path, query = parts["authority"], parts["path"], parts["query"] or ""
    credentials, at, hosts = authority.rpartition("@")
    # The first / ? or # ends the credentials, so an @ after it shows that they contain one of these.
    rest = text[len(authority) :]
    if "@" in rest or re.search(r"[@\[\]\s]", credentials) or (at and _BROKEN_ESCAPE.search(credentials)):
        raise ValueError(UNESCAPED)
    if parts["fragment"] is not None:
        raise ValueError("has a #, which such a URL cannot have: write # as %23")
    if _BROKEN_ESCAPE.search(rest):
        raise ValueError("has a % that is not followed by two hexadecimal digits: write % as %25")
    user, _, password = credentials.partition(":")
    return Url(unquote(user), unquote(password), hosts, unquote(path), tuple(_parameters(query)))


def split_host(text: str) -> tuple[str, int | None]:
    """Split `host` or `host:port` of a URL, in which an IPv6 address has brackets.

    Raises:
        ValueError: The text is not a host; the message does not contain it.
    """
    host, port = text, ""
    if not text.endswith("]") and ":" in text:
        host, _, port = text.rpartition(":")
    if ":" in host and not host.startswith("["):
        raise ValueError("has an IPv6 address without brackets: write it as [::1]")
    if port and (not _PORT.fullmatch(port) or not 0 < int(port) <= MAX_PORT):
        raise ValueError(f"has an invalid port: it must be a number from 1 to {MAX_PORT}")
    try:
        return parse_host(host), int(port) if port else None
    except ValueError:
        raise ValueError("has an invalid host: it must be a host name or an IP address") from None


def parameter_name(name: str) -> str:
    """Return how a message names a parameter: its name, if it has the form of one."""
    return f"the parameter {name}" if _PARAMETER.fullmatch(name) else "a parameter"


def _parameters(query: str) -> list[tuple[str, str]]:
    try:
        return (
            parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=50) if query else []
        )
    except ValueError:
        raise ValueError("has parameters that are not of the form ?name=value&name=value") from None
