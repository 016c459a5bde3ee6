"""The check that a process can listen on an address of its settings, before it starts to."""

from __future__ import annotations

import socket
from contextlib import closing

from avatar_creator_server.addresses import bracketed, parse_address
from avatar_creator_server.settings import SettingsError, system_reason


def require_own_address(variable: str, address: str) -> None:
    """Check that the host of `address` is an address of this machine. The port may be in use.

    Raises:
        SettingsError: The host is unknown, or an address of another machine.
    """
    host = parse_address(address).host
    try:
        candidates = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {variable} {address}: the host cannot be resolved: {system_reason(error)}"
        ) from error
    reason = ""
    for family, kind, protocol, _, place in candidates:
        try:
            with closing(socket.socket(family, kind, protocol)) as attempt:
                attempt.bind(place)
            return
        except OSError as error:
            reason = system_reason(error)
    raise SettingsError(
        f"cannot listen on {variable} {address}: {bracketed(host)} is not an address of this machine: "
        f"{reason}"
    )
