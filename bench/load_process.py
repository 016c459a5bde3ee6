"""The load process: calls a method, and prints what it saw as JSON.

It reads a `Load` as JSON from its standard input. A process of its own, so that the load has its own core
and the measured process does nothing else.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

from bench.http2_connection import Connection


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one method."""

    target: str
    """Address of the server, `host:port`."""
    path: str
    metadata: Mapping[str, str]
    messages: list[str]
    """Requests in hexadecimal, sent in turn."""
    calls: int
    """Number of calls."""
    at_once: int
    """Number of calls in flight, if there is no rate."""
    per_second: float = 0.0
    """Rate at which calls begin, however slow the answers are; 0 keeps `at_once` in flight."""
    connections: int = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """Result of a load."""

    seconds: float
    answers: int
    failures: int
    """Number of calls that ended with an error."""
    message_bytes: int
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    """Percentiles of the time from the moment at which a call was due, with a rate only."""


def drive(load: Load) -> Seen:
    """Run a load to its end."""
    connections = [Connection(load.target, load.path, load.metadata) for _ in range(load.connections)]
    messages = [bytes.fromhex(message) for message in load.messages]
    due: dict[tuple[Connection, int], float] = {}
    took: list[float] = []
    failures = begun = 0

    def begin(connection: Connection, moment: float) -> None:
        nonlocal begun
        due[connection, connection.call(messages[begun % len(messages)])] = moment
        begun += 1

    def ended(connection: Connection, number: int, has_answer: bool) -> None:
        nonlocal failures
        took.append(time.perf_counter() - due.pop((connection, number)))
        failures += not has_answer
        if not load.per_second and begun < load.calls:
            begin(connection, time.perf_counter())

    ends = {connection: partial(ended, connection) for connection in connections}
    started = time.perf_counter()
    if not load.per_second:
        for number in range(min(load.at_once, load.calls)):
            begin(connections[number % len(connections)], started)
    while len(took) < load.calls:
        wait = None
        if load.per_second and begun < load.calls:
            now = time.perf_counter()
            while begun < load.calls and (moment := started + begun / load.per_second) <= now:
                begin(connections[begun % len(connections)], moment)
            wait = max(0.0, started + begun / load.per_second - now)
        for connection in connections:
            connection.flush()
        for connection in select.select(connections, [], [], wait)[0]:
            connection.read(ends[connection])
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.close()
    took.sort()
    return Seen(
        seconds,
        len(took) - failures,
        failures,
        sum(connection.message_bytes for connection in connections),
        took[len(took) // 2] * 1000,
        took[len(took) * 99 // 100] * 1000,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(drive(Load(**json.load(sys.stdin))))))
