"""A proxy that ends TLS in front of PostgreSQL, with records as large as TLS allows, as some hosts do."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.support.certificate import Certificate

_REQUEST_FOR_TLS_BYTES = 8
_CHUNK_BYTES = 1 << 20


@asynccontextmanager
async def tls_proxy(database_url: str, certificate: Certificate | None = None) -> AsyncIterator[str]:
    """Run the proxy while the context is open; the value is the URL of the database through it.

    Args:
        database_url: URL of the database without TLS.
        certificate: The proxy's certificate; a new one for 127.0.0.1 if None.
    """
    parts = urlsplit(database_url)
    context = _context(certificate or Certificate.make())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(_REQUEST_FOR_TLS_BYTES)
            writer.write(b"S")
            await writer.start_tls(context)
            server_reader, server_writer = await asyncio.open_connection(parts.hostname, parts.port)
            await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
    port = server.sockets[0].getsockname()[1]
    login = parts.netloc.rpartition("@")[0]
    address = parts._replace(netloc=f"{login}@127.0.0.1:{port}", query="sslmode=require&gssencmode=disable")
    try:
        yield urlunsplit(address)
    finally:
        server.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while received := await source.read(_CHUNK_BYTES):
        target.write(received)
        await target.drain()
    target.close()


def _context(made: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        file.write_bytes(made.certificate + made.key)
        context.load_cert_chain(file)
    return context
