"""The check that a process can listen on an address of its settings, and the reason if it cannot."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import structlog

from avatar_creator_server.addresses import bracketed, parse_address
from avatar_creator_server.settings import SettingsError, system_reason

log = structlog.get_logger()

_MAX_TEMPORARY_FOLDER_BYTES = 107 - len("/avatar-creator-12345678/probe")
"""Bytes that are left of a socket's address, which has at most 107 (unix(7)), in the folder of a backlog."""
WAITING_CONNECTIONS = 1_024
"""Connections that wait to be accepted. After a restart, all watchers connect again at once."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports on which a server accepts calls."""

    grpc: int
    web: int | None
    """None if there is no web port."""


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
    return None if problem is None else _error(variable, address, problem)


def warn_web_default_taken(address: str) -> None:
    """Log that there is no web port, because another program has the address that is its default."""
    log.warning(
        "web_port_not_opened",
        address=address,
        reason="another program has this address, which is the default",
        advice="set WEB_ADDRESS to a free address, for example 127.0.0.1:8081, or to none",
    )


def require_shared_ports() -> None:
    """Check that this system shares a port between several processes of one server.

    Raises:
        SettingsError: It does not.
    """
    if sys.platform != "linux":
        raise SettingsError(
            "SERVER_PROCESSES (serve --processes) needs Linux, which shares a port between processes: run "
            "one process"
        )


def require_probe_socket() -> None:
    """Check that a server can create the socket over which it measures its own backlog.

    Raises:
        SettingsError: The path of the temporary folder is too long for the address of a socket.
        OSError: There is no temporary folder that this process can write to.
    """
    folder = tempfile.gettempdir()
    if len(os.fsencode(folder)) > _MAX_TEMPORARY_FOLDER_BYTES:
        raise probe_socket_error()


def probe_socket_error() -> SettingsError:
    """Return the error of a server that cannot create the socket for its backlog."""
    return SettingsError(
        f"cannot create a socket in {tempfile.gettempdir()}: set TMPDIR to a folder with a short path"
    )


@contextmanager
def claimed(variable: str, address: str) -> Iterator[int]:
    """Claim an address for several processes of one server while the context is open, and yield its port.

    The processes listen there with `SO_REUSEPORT`. Every other server gets the error that the address is in
    use, also while none of the processes listens.

    Raises:
        SettingsError: The address is in use, or this system does not share ports between processes.
    """
    require_shared_ports()
    require_own_address(variable, address)
    chosen = parse_address(address)
    port, problem = chosen.port, OSError()
    with ExitStack() as claims:
        is_claimed = False
        for family, host in _places(chosen.host):
            try:
                port = _claim(family, host, port, claims)
                is_claimed = True
            except OSError as error:
                problem = error
        if not is_claimed:
            raise _error(variable, address, problem)
        yield port


def _claim(family: socket.AddressFamily, host: str, port: int, claims: ExitStack) -> int:
    """Bind a socket that does not listen, and next to which only our processes can bind theirs.

    Raises:
        OSError: The place is in use.
    """
    claim = claims.enter_context(closing(socket.socket(family, socket.SOCK_STREAM)))
    if family == socket.AF_INET6:
        claim.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    # Connections that the last server has closed do not count. Another socket that listens does.
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    claim.bind((host, port))
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    port = int(claim.getsockname()[1])
    # Another supervisor may have bound its socket too, before that last option. Of a name, there is only one.
    name = claims.enter_context(closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
    name.bind(f"\0avatar-creator-server-{host}-{port}")
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return port


def listening_sockets(variable: str, address: str, *, shared: bool) -> list[socket.socket]:
    """Return sockets that listen on an address: several if its host has several addresses.

    Args:
        variable: Name of the setting with the address.
        address: The address.
        shared: True if other processes of the same server listen there too.

    Raises:
        SettingsError: No socket can listen there. Its cause is the error of the system.
    """
    chosen = parse_address(address)
    port, problem = chosen.port, OSError()
    sockets: list[socket.socket] = []
    for family, host in _places(chosen.host):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            listener.listen(WAITING_CONNECTIONS)
        except OSError as error:
            listener.close()
            problem = error
        else:
            sockets.append(listener)
            port = int(listener.getsockname()[1])
    if not sockets:
        raise _error(variable, address, problem) from problem
    return sockets


def _places(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return the families and addresses at which gRPC listens for a host.

    For gRPC, both `0.0.0.0` and `::` are all addresses of both families, if the system has IPv6.
    Source: `ListenerContainerAddWildcardAddresses` in gRPC's `posix_engine_listener_utils.cc`.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places: list[tuple[socket.AddressFamily, str]] = list(
        dict.fromkeys((family, str(place[0])) for family, _, _, _, place in found)
    )
    if {place for _, place in places} & {"0.0.0.0", "::"}:
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "0.0.0.0")]
    return places


def _error(variable: str, address: str, problem: OSError) -> SettingsError:
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
