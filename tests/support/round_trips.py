"""A proxy before PostgreSQL that counts the round trips of its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

_QUERY = b"Q"
"""Type of the message that sends statements. Source: PostgreSQL's manual, "Message Formats"."""
_TYPE_BYTES, _LENGTH_BYTES = 1, 4


class RoundTrips:
    """Clients of a database, and how often they have sent statements."""

    def __init__(self, database_url: str) -> None:
        self._server = urlsplit(database_url)
        self.url = ""
        """URL of the database through the proxy."""
        self.count = 0

    @classmethod
    @asynccontextmanager
    async def counted(cls, database_url: str) -> AsyncIterator[RoundTrips]:
        """Run the proxy while the context is open."""
        proxy = cls(database_url)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        login = proxy._server.netloc.rpartition("@")[0]
        address = proxy._server._replace(netloc=f"{login}@127.0.0.1:{port}")
        proxy.url = urlunsplit(address._replace(query="sslmode=disable&gssencmode=disable"))
        try:
            yield proxy
        finally:
            server.close()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(self._server.hostname, self._server.port)
        try:
            await asyncio.gather(self._forward(client, to_server), _copy(server, to_client))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            to_server.close()
            to_client.close()

    async def _forward(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        # The first message has no type.
        to_server.write(await _message(client))
        while True:
            kind = await client.readexactly(_TYPE_BYTES)
            self.count += kind == _QUERY
            to_server.write(kind + await _message(client))


async def _message(client: asyncio.StreamReader) -> bytes:
    """Return a message from its length on. The length includes itself."""
    length = await client.readexactly(_LENGTH_BYTES)
    return length + await client.readexactly(int.from_bytes(length) - _LENGTH_BYTES)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while received := await source.read(1 << 16):
        target.write(received)
        await target.drain()
