"""The check that a process can listen on an address of its settings, and the reason if it cannot."""

from __future__ import annotations

import errno
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
        problem = _bind_problem(host, 0)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {variable} {address}: the host cannot be resolved: {system_reason(error)}"
        ) from error
    if problem is not None:
        raise SettingsError(
            f"cannot listen on {variable} {address}: {bracketed(host)} is not an address of this machine: "
            f"{system_reason(problem)}"
        )


def listen_error(variable: str, address: str) -> SettingsError | None:
    """Return the error that says why a process cannot listen on `address`; None if it can."""
    chosen = parse_address(address)
    problem = _bind_problem(chosen.host, chosen.port)
    if problem is None:
        return None
    reason = system_reason(problem)
    if problem.errno == errno.EADDRINUSE:
        reason += "; is another server running there?"
    return SettingsError(f"cannot listen on {variable} {address}: {reason}")


def _bind_problem(host: str, port: int) -> OSError | None:
    """Return why no socket can be bound to the host and the port; None if one can.

    Raises:
        OSError: The host cannot be resolved.
    """
    problem = None
    for family, kind, protocol, _, place in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            with closing(socket.socket(family, kind, protocol)) as attempt:
                # As the server does, so that connections that are closing do not count.
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                attempt.bind(place)
            return None
        except OSError as error:
            problem = error
    return problem
