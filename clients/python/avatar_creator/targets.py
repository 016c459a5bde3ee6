"""The target of a client: the service that it connects to, and whether it uses TLS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from avatar_creator.arguments import described

DEFAULT_TARGET = "127.0.0.1:50051"
"""Target without an argument and without the environment variable."""

TARGET_VARIABLE = "AVATAR_CREATOR_TARGET"
"""Environment variable with the target of a client that is created without one."""

_TLS_BY_SCHEME = {"http": False, "grpc": False, "https": True, "grpcs": True}
_TLS_PORT = 443
_GRPC_NAME = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):\S+", re.IGNORECASE)
"""Names that gRPC resolves: https://github.com/grpc/grpc/blob/master/doc/naming.md."""
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_IN_BRACKETS = re.compile(r"\[([^\[\]]+)\](?::([0-9]+))?")
_SHOWN = re.compile(r"[A-Za-z0-9_.:/*%\[\]-]{1,80}")
"""Targets that a message repeats. A URL may contain a password."""


@dataclass(frozen=True, slots=True)
class Target:
    """A service, as gRPC names it."""

    name: str
    """Name for gRPC: `host:port`, with an IPv6 address in brackets, or any other name that gRPC resolves."""
    tls: bool
    """True if the connection uses TLS."""


def choose_target(
    target: str | None, tls: bool | None, environment: Mapping[str, str], *, argument: str = "target"
) -> Target:
    """Return the target from the argument, else from the environment, else the default one.

    Args:
        target: `host:port`, `http://host:port`, `https://host:port`, the same with `grpc://` and `grpcs://`,
            or a name that gRPC resolves, for example `unix:/run/avatars.sock`. Without a port, TLS uses 443.
            None means the variable `AVATAR_CREATOR_TARGET`, or `127.0.0.1:50051`.
        tls: True requires TLS and False refuses TLS; None leaves the choice to the scheme of the target, and
            means no TLS without a scheme.
        environment: Environment variables.
        argument: Name of the argument, for the message.

    Raises:
        ValueError: The target has another form, or its scheme does not fit `tls`.
    """
    if target is None:
        argument = TARGET_VARIABLE
        target = environment.get(TARGET_VARIABLE, "").strip() or DEFAULT_TARGET
    if not isinstance(target, str):
        raise ValueError(f"{argument} must be a text (got {described(target)})")
    try:
        return _parse(target.strip(), tls)
    except ValueError as error:
        shown = f" (got {target})" if _SHOWN.fullmatch(target) else ""
        raise ValueError(f"{argument} {error}{shown}") from None


def _parse(text: str, tls: bool | None) -> Target:
    if _GRPC_NAME.fullmatch(text):
        return Target(text, bool(tls))
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Target(_address(text, with_tls=bool(tls)), bool(tls))
    with_tls = _TLS_BY_SCHEME.get(scheme.lower())
    if with_tls is None:
        raise _form_error()
    if tls is not None and tls is not with_tls:
        right = "https" if tls else "http"
        raise ValueError(f"must begin with {right}:// for a connection {'with' if tls else 'without'} TLS")
    return Target(_address(rest.removesuffix("/"), with_tls=with_tls), with_tls)


def _address(text: str, *, with_tls: bool) -> str:
    """Return `host:port` as gRPC reads it."""
    if (in_brackets := _IN_BRACKETS.fullmatch(text)) and ":" in in_brackets[1]:
        host, port = in_brackets.groups()
    elif ":" in text:
        # The port follows the last colon, so an IPv6 address may come without brackets.
        host, _, port = text.rpartition(":")
    else:
        host, port = text, None
    if port is None and with_tls:
        port = str(_TLS_PORT)
    try:
        return f"{_host(host)}:{_port(port)}"
    except ValueError:
        raise _form_error() from None


def _host(text: str) -> str:
    if ":" in text:
        return f"[{ipaddress.IPv6Address(text)}]"
    # The system would read 0 or 127.1 as an IPv4 address too, but each program differently.
    if re.fullmatch(r"[0-9.]+", text):
        return str(ipaddress.IPv4Address(text))
    if _HOST_NAME.fullmatch(text):
        return text
    raise ValueError("not a host")


def _port(text: str | None) -> int:
    if text is None or not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 2**16:
        raise ValueError("not a port")
    return int(text)


def _form_error() -> ValueError:
    return ValueError(
        "must be host:port, http://host:port or https://host:port, with a port from 1 to 65535, for example "
        f"{DEFAULT_TARGET} or [::1]:50051"
    )
