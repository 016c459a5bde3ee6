"""The baselines: what the service's calls cost without the service, on the same transport.

It is what gRPC's own examples show: a server of `grpc.aio` on asyncio's loop, without interceptors.

It reads the handlers as JSON from its standard input and prints its port. Each handler is a method
`/bench.Baseline/NAME`, and does one of these things:

- `answer`: it returns an answer that was made beforehand.
- `statements`: it runs recorded statements on a thread, and returns such an answer.
- `sink`: it receives a picture, computes its SHA-256 and decodes it, as little as an upload can do.
- `stream`: it keeps a stream open, and writes a message to all streams for each call of `Event`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import grpc
import psycopg2
from PIL import Image

_THREADS = 8
"""Threads with one connection each, as many as the service has."""

Unary = Callable[[bytes, Any], Awaitable[bytes]]


def answering(answer: bytes) -> Unary:
    """Return the handler that only answers."""

    async def handle(_request: bytes, _context: Any) -> bytes:
        return answer

    return handle


def running(database_url: str, first: list[str], transaction: list[list[str]], answer: bytes) -> Unary:
    """Return the handler that runs a recorded transaction.

    Args:
        database_url: The database.
        first: Statements at the beginning of each connection.
        transaction: The statements, each in parts. Every second part is the name of an id: each call has a
            new id for each name.
        answer: The answer.
    """
    threads = ThreadPoolExecutor(_THREADS)
    of_thread = threading.local()

    def run() -> None:
        if not hasattr(of_thread, "cursor"):
            connection = psycopg2.connect(database_url)
            connection.autocommit = True  # the recorded statements have their own BEGIN and COMMIT
            of_thread.cursor = connection.cursor()
            for statement in first:
                of_thread.cursor.execute(statement)
        ids: dict[str, str] = {}
        for parts in transaction:
            text = [
                part if number % 2 == 0 else ids.setdefault(part, str(uuid.uuid4()))
                for number, part in enumerate(parts)
            ]
            of_thread.cursor.execute("".join(text))

    async def handle(_request: bytes, _context: Any) -> bytes:
        await asyncio.get_running_loop().run_in_executor(threads, run)
        return answer

    return handle


async def sink(requests: AsyncIterator[bytes], _context: Any) -> bytes:
    """Receive a picture, hash it and decode it."""
    received = bytearray()
    async for request in requests:
        received += request

    def examine() -> bytes:
        # The messages have a few bytes of metadata around the picture.
        picture = received[received.index(b"\xff\xd8") :]
        with Image.open(BytesIO(picture)) as image:
            image.load()
        return hashlib.sha256(picture).digest()

    return await asyncio.to_thread(examine)


class Streams:
    """Streams that all receive the same messages."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._waiting: set[asyncio.Queue[bytes]] = set()

    async def watch(self, _request: bytes, _context: Any) -> AsyncIterator[bytes]:
        """Send a message at once, and one for each event."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting.add(queue)
        try:
            yield self._message
            while True:
                yield await queue.get()
        finally:
            self._waiting.discard(queue)

    async def event(self, _request: bytes, _context: Any) -> bytes:
        """Send the message to all streams."""
        for queue in self._waiting:
            queue.put_nowait(self._message)
        return b""


def handlers(specifications: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return gRPC's handlers by name."""
    made: dict[str, Any] = {}
    for name, given in specifications.items():
        match given["kind"]:
            case "answer":
                made[name] = grpc.unary_unary_rpc_method_handler(answering(bytes.fromhex(given["answer"])))
            case "statements":
                unary = running(
                    given["database_url"],
                    given["first"],
                    given["transaction"],
                    bytes.fromhex(given["answer"]),
                )
                made[name] = grpc.unary_unary_rpc_method_handler(unary)
            case "sink":
                made[name] = grpc.stream_unary_rpc_method_handler(sink)
            case "stream":
                streams = Streams(bytes.fromhex(given["answer"]))
                made[name] = grpc.unary_stream_rpc_method_handler(streams.watch)
                made["Event"] = grpc.unary_unary_rpc_method_handler(streams.event)
    return made


async def main() -> None:
    """Serve until the standard input ends."""
    specifications = json.loads(sys.stdin.readline())
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 10_000)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Baseline", handlers(specifications)),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # at once, without a word about each stream


if __name__ == "__main__":
    asyncio.run(main())
