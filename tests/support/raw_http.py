"""HTTP requests that no client would send: paths, hosts and methods go out exactly as they are given."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

_SECONDS = 30.0
_READ_BYTES = 65_536
_CONNECT = {"connect-protocol-version": "1", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    """The headers by their names in lower case."""
    body: bytes = b""

    @property
    def code(self) -> str:
        """The code of the error of a Connect call, such as `not_found`; empty if it has succeeded."""
        return str(json.loads(self.body).get("code", "")) if self.status != http.HTTPStatus.OK else ""


def request(
    address: str,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> HttpAnswer:
    """Send one request on a connection of its own.

    Args:
        address: The address of the server, `host:port`.
        path: The path, as it is sent.
        method: The method.
        headers: Headers, which replace those that every request has.
        body: The body, or None.
    """
    connection = http.client.HTTPConnection(address, timeout=_SECONDS)
    try:
        connection.putrequest(method, path, skip_host=bool(headers and "host" in headers))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        sent = {name.lower(): value for name, value in answer.getheaders()}
        return HttpAnswer(answer.status, sent, answer.read())
    finally:
        connection.close()


def call(address: str, rpc: str, body: object, token: str = "") -> HttpAnswer:
    """Call an RPC with one answer, `Service.Method`, in Connect's JSON form."""
    service, _, method = rpc.partition(".")
    headers = _CONNECT | ({"authorization": f"Bearer {token}"} if token else {})
    path = f"/avatar_creator.v1.{service}/{method}"
    return request(address, path, method="POST", headers=headers, body=json.dumps(body).encode())


def exchange(address: str, sent: bytes) -> bytes:
    """Send bytes that need not be HTTP, and return all that the server answers before it closes."""
    host, _, port = address.rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(_READ_BYTES):
            received += piece
    return received
