"""Connections of HTTP/1.1 to a web port, each with one call of Connect at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_END = b"\r\n0\r\n\r\n"
"""End of an answer in chunks."""
_SECONDS = 60.0


def head_and_body(path: str, metadata: Mapping[str, str], message: bytes, *, is_stream: bool) -> bytes:
    """Return the bytes of a call of Connect, in the binary form."""
    body = bytes([0]) + len(message).to_bytes(4, "big") + message if is_stream else message
    headers = {
        "host": "localhost",
        "content-type": "application/connect+proto" if is_stream else "application/proto",
        "content-length": str(len(body)),
        **metadata,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a server to a load."""

    seconds: float
    """Time for all calls."""
    took: list[float]
    """Time of each call that succeeded, in seconds."""
    refused: int


async def answer_all(address: str, calls: Sequence[bytes], *, connections: int) -> Answers:
    """Send calls one after the other on each of several connections, and receive their answers."""
    left = iter(calls)
    took: list[float] = []
    refused = 0

    async def send_in_turn() -> None:
        nonlocal refused
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for call in left:
            start = time.perf_counter()
            writer.write(call)
            answer = await reader.readuntil(_END)
            if answer.startswith(b"HTTP/1.1 200"):
                took.append(time.perf_counter() - start)
            else:
                refused += 1
        writer.close()

    start = time.perf_counter()
    async with asyncio.timeout(_SECONDS), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(send_in_turn())
    return Answers(time.perf_counter() - start, took, refused)


class OpenStreams:
    """Streams that stay open, each on a connection of its own."""

    def __init__(self, address: str, call: bytes) -> None:
        self._address = address
        self._call = call
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, count: int) -> None:
        """Open streams, and wait until each has its first message.

        Raises:
            RuntimeError: The server refuses one.
        """
        host, _, port = self._address.rpartition(":")
        for _ in range(count):
            reader, writer = await asyncio.open_connection(host, int(port))
            self._writers.append(writer)
            writer.write(self._call)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server refuses a stream: {head[:200]!r}")
            await reader.readuntil(b"\r\n")

    def close(self) -> None:
        """Close all of them."""
        for writer in self._writers:
            writer.close()
