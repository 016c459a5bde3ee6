"""The door to the load processes: h2load where it is installed, else our own, for service and baseline."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil

from bench.load_process import Load, Seen
from tests.support.child_process import run
from tests.support.waiting import let_pass

_SECONDS = 300.0
_H2LOAD_RATE = re.compile(r"finished in ([0-9.]+)(ms|us|s), ([0-9.]+) req/s")
_H2LOAD_FAILED = re.compile(r"(\d+) failed, (\d+) errored, (\d+) timeout")
_H2LOAD_DATA = re.compile(r"\((\d+)\) data")
_PREFIX_BYTES = 5
_TRIES = 4
_PAUSE_SECONDS = 2.5
"""Time in which a server that has refused calls recovers; after each try, one more."""
_MOST_REFUSED = 0.05
"""Largest part of the calls that a server may refuse: one that falls behind for a moment does."""


class LoadError(Exception):
    """The server refused calls of the load, so the figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A method of a server that a load drives."""

    address: str
    path: str
    messages: Sequence[bytes]
    """Requests, sent in turn."""
    metadata: Mapping[str, str]
    processes: tuple[int, ...]
    """Processes of the server, whose CPU time is counted."""
    connections: int = 1
    at_once: int = 32
    """Calls in flight, on all connections together."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Result of a load."""

    per_second: float
    cpu_ms: float
    """CPU time of the server for a call, in milliseconds."""
    p99_ms: float = 0.0


def generator() -> str:
    """Return the name of the program that drives servers at full speed."""
    return "h2load" if shutil.which("h2load") else "bench.load_process"


def answer_of(target: Target, message: bytes) -> bytes:
    """Call once, and return the answer as bytes.

    Raises:
        grpc.RpcError: The server refuses the call.
    """
    with grpc.insecure_channel(target.address) as channel:
        call: Any = channel.unary_unary(target.path)
        answer: bytes = call(message, metadata=tuple(target.metadata.items()), timeout=30)
    return answer


def full_speed(target: Target, calls: int) -> Speed:
    """Keep the target's number of calls in flight, and return the speed.

    Raises:
        LoadError: The server refused many calls.
    """
    return _repeated(lambda: _full_speed(target, calls), target)


def at_rate(target: Target, calls: int, per_second: float) -> Speed:
    """Begin calls at a rate, and return the latency.

    Raises:
        LoadError: The server refused many calls.
    """
    return _repeated(lambda: _own(target, calls, per_second=per_second), target)


def enough_calls(target: Target, seconds: float, *, probe: int = 100) -> int:
    """Warm the server up, and return how many calls it answers in so many seconds."""
    for _ in range(2):
        seen = _full_speed(target, probe)
    return max(probe, round(probe / seen.seconds * seconds))


def cpu_seconds(processes: Sequence[int]) -> float:
    """Return the CPU time that these processes, with their threads, have used."""
    times = [psutil.Process(process).cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def _repeated(load: Callable[[], Seen], target: Target) -> Speed:
    """Run a load, and again if the server refused many calls, as it does while others keep it busy."""
    for number in range(_TRIES):
        let_pass(number * _PAUSE_SECONDS)
        before = cpu_seconds(target.processes)
        seen = load()
        calls = seen.answers + seen.failures
        if seen.failures <= calls * _MOST_REFUSED:
            cpu = cpu_seconds(target.processes) - before
            return Speed(seen.answers / seen.seconds, cpu / calls * 1000, seen.p99_ms)
    raise LoadError(f"{target.path} refused {seen.failures:,} of {calls:,} calls")


def _full_speed(target: Target, calls: int) -> Seen:
    # h2load sends the same request every time.
    program = shutil.which("h2load") if len(target.messages) == 1 else None
    return _h2load(program, target, calls) if program else _own(target, calls)


def _own(target: Target, calls: int, *, per_second: float = 0.0) -> Seen:
    load = Load(
        target.address,
        target.path,
        dict(target.metadata),
        [message.hex() for message in target.messages],
        calls,
        target.at_once,
        per_second,
        target.connections,
    )
    finished = run(
        [sys.executable, "-m", "bench.load_process"],
        timeout=_SECONDS,
        input=json.dumps(asdict(load)),
        directory=Path(__file__).parents[1],
    )
    if finished.returncode:
        raise LoadError(f"{target.path}: {finished.stderr}")
    return Seen(**json.loads(finished.stdout))


def _h2load(program: str, target: Target, calls: int) -> Seen:
    [message] = target.messages
    headers = {"content-type": "application/grpc", "te": "trailers", **target.metadata}
    with tempfile.NamedTemporaryFile() as request:
        request.write(b"\x00" + len(message).to_bytes(4) + message)
        request.flush()
        output = run(
            [
                program,
                f"--requests={calls}",
                f"--clients={target.connections}",
                f"--max-concurrent-streams={target.at_once // target.connections}",
                f"--data={request.name}",
                *(f"--header={name}: {value}" for name, value in headers.items()),
                f"http://{target.address}{target.path}",
            ],
            timeout=_SECONDS,
            environment=dict(os.environ),
        ).stdout
    rate, failed, data = (pattern.search(output) for pattern in (_H2LOAD_RATE, _H2LOAD_FAILED, _H2LOAD_DATA))
    if rate is None or failed is None or data is None:
        raise LoadError(f"h2load said:\n{output}")
    failures, received = sum(map(int, failed.groups())), int(data[1])
    # h2load does not read gRPC's status. A refused call has no message.
    if received < calls * _PREFIX_BYTES:
        raise LoadError(f"{target.path} answered {calls:,} calls with {received:,} bytes")
    return Seen(calls / float(rate[3]), calls - failures, failures, received)


def median_speed(speeds: Sequence[Speed]) -> Speed:
    """Return the median of each figure."""
    return Speed(
        *(
            statistics.median(getattr(speed, name) for speed in speeds)
            for name in ("per_second", "cpu_ms", "p99_ms")
        )
    )
