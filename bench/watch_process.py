"""Many watchers on one connection, in a process of their own.

It reads a `Watch` as JSON from its standard input. It prints `ready` when every stream has its first message,
and then, each time that every stream has one more, the moment of the last one by the clock that all processes
of the machine share.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.http2_connection import Connection

_OPENED_AT_ONCE = 10
"""Streams that wait for their first message: a server refuses many at the same time."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Streams of one method."""

    target: str
    path: str
    metadata: Mapping[str, str]
    message: str
    """Request in hexadecimal."""
    streams: int


def main() -> None:
    """Open the streams, and report each event until the process is ended."""
    watch = Watch(**json.loads(sys.stdin.readline()))
    connection = Connection(watch.target, watch.path, watch.metadata)
    waiting: set[int] = set()
    streams: set[int] = set()
    refusals = 0
    connection.on_message(waiting.discard)

    def ended(number: int, _has_answer: bool) -> None:
        nonlocal refusals
        refusals += 1
        if number not in waiting or refusals > watch.streams:
            raise RuntimeError(f"the server ended stream {number}")
        # A server refuses a watch while other programs of the machine slow it down. Open another.
        waiting.remove(number)
        streams.remove(number)

    while waiting or len(streams) < watch.streams:
        while len(waiting) < _OPENED_AT_ONCE and len(streams) < watch.streams:
            number = connection.call(bytes.fromhex(watch.message))
            waiting.add(number)
            streams.add(number)
        connection.flush()
        connection.read(ended)
    refusals = watch.streams  # from now on, an end is an error
    print("ready", flush=True)
    while True:
        waiting.update(streams)
        while waiting:
            connection.read(ended)
        print(repr(time.perf_counter()), flush=True)


if __name__ == "__main__":
    main()
