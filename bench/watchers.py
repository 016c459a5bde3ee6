"""Watchers: the time until an event has reached all of them, and the memory of an idle one."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import grpc
import psutil

from avatar_creator.v1 import avatar_project_service_pb2 as project_pb
from avatar_creator.v1 import generation_service_pb2 as pb
from bench.goals import BY_NAME
from bench.lab import USER, Baseline, Lab, Scale, baseline, rpc
from bench.load import Target, answer_of, cpu_seconds, full_speed
from bench.results import Result, interleaved, of_pairs
from bench.watch_process import Watch
from tests.support.child_process import ChildProcess
from tests.support.service import Deployment

ROWS = ("watchers", "watchers-later", "watcher-memory")

_WATCHERS = {Scale.TINY: 20, Scale.SHORT: 1_000, Scale.FULL: 1_000}
_IDLE_WATCHERS = {Scale.TINY: 40, Scale.SHORT: 2_000, Scale.FULL: 4_000}
_EVENTS = 9
"""Events of one measurement."""
_CALLS = {Scale.TINY: 100, Scale.SHORT: 10_000, Scale.FULL: 50_000}
"""Calls that a server has answered when it is long in use."""
_WATCH = "GenerationService/WatchGenerations"
_MESSAGE_BYTES = 700
"""Size of an idle null stream's only message, about that of a new generation."""
_MEMORY_PAIRS = 3
"""Pairs of measurements of memory: each needs servers that have just started."""


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`."""
    if "watchers" in rows or "watchers-later" in rows:
        with (
            waiting_generation(lab) as (deployment, project_id),
            _null(_first_message(deployment, project_id)) as null,
            _both(deployment, project_id, null, _WATCHERS[lab.scale]) as fans,
        ):
            if "watchers" in rows:
                yield fans.measure(lab, "watchers")
            if "watchers-later" in rows:
                list_projects = project_pb.ListProjectsRequest()
                used = rpc(deployment, "AvatarProjectService/ListProjects", list_projects)
                full_speed(replace(used, at_once=8), _CALLS[lab.scale])
                yield fans.measure(lab, "watchers-later")
    if "watcher-memory" in rows:
        count = _IDLE_WATCHERS[lab.scale]
        pairs = interleaved(
            lambda: memory_of_service(lab, count),
            lambda: _memory_of_null(count),
            min(lab.pairs, _MEMORY_PAIRS),
        )
        yield of_pairs(BY_NAME["watcher-memory"], pairs, unit="KiB")


@contextlib.contextmanager
def waiting_generation(lab: Lab) -> Iterator[tuple[Deployment, str]]:
    """Yield a service without a worker, and a project with one generation that waits."""
    with lab.deployment() as deployment:
        deployment.start_server()
        with deployment.client(USER) as client:
            project_id = client.projects.create("Bench").id
        answer_of(*_creation(deployment, project_id))
        yield deployment, project_id


def _creation(deployment: Deployment, project_id: str) -> tuple[Target, bytes]:
    request = pb.CreateGenerationRequest(project_id=project_id, prompt="a face")
    target = rpc(deployment, "GenerationService/CreateGeneration", request)
    return target, target.messages[0]


@contextlib.contextmanager
def _null(message: bytes) -> Iterator[Baseline]:
    with baseline({"Watch": {"kind": "stream", "answer": message.hex()}}) as null:
        yield null


def _first_message(deployment: Deployment, project_id: str) -> bytes:
    """Return the first message of a watch: the null streams send as much."""
    target = rpc(deployment, _WATCH, pb.WatchGenerationsRequest(project_id=project_id))
    with grpc.insecure_channel(target.address) as channel:
        call: Any = channel.unary_stream(target.path)
        message: bytes = next(call(target.messages[0], metadata=tuple(target.metadata.items())))
    return message


class _Fans:
    """Watchers of the service and of null streams, and what an event costs both."""

    def __init__(self, ours: Callable[[], float], theirs: Callable[[], float], pids: tuple[int, int]) -> None:
        """Take the functions that cause an event and return the time until all watchers have it."""
        self._sides = tuple(zip((ours, theirs), pids, strict=True))

    def measure(self, lab: Lab, row: str) -> Result:
        """Measure interleaved pairs."""
        cpu: tuple[list[float], list[float]] = ([], [])

        def fan_out_ms(side: int) -> float:
            event, pid = self._sides[side]
            before = cpu_seconds([pid])
            took = statistics.median(event() for _ in range(_EVENTS))
            cpu[side].append((cpu_seconds([pid]) - before) / _EVENTS * 1000)
            return took * 1000

        pairs = interleaved(lambda: fan_out_ms(0), lambda: fan_out_ms(1), lab.pairs)
        ours, theirs = map(statistics.median, cpu)
        return of_pairs(BY_NAME[row], pairs, unit="ms", note=f"CPU {ours:.0f} ms, baseline {theirs:.0f}")


@contextlib.contextmanager
def _both(deployment: Deployment, project_id: str, null: Baseline, count: int) -> Iterator[_Fans]:
    """Open watches of the service and null streams."""
    request = pb.WatchGenerationsRequest(project_id=project_id)
    with (
        _watching(rpc(deployment, _WATCH, request), count) as ours,
        _watching(null.target("Watch"), count) as theirs,
        _sending(*_creation(deployment, project_id)) as create,
        _sending(null.target("Event"), b"") as send,
    ):
        yield _Fans(
            lambda: _seconds(create, ours),
            lambda: _seconds(send, theirs),
            (deployment.servers[0].pid, null.pid),
        )


@contextlib.contextmanager
def _sending(target: Target, message: bytes) -> Iterator[Callable[[], Any]]:
    """Yield the function that begins a call, on a connection that stays open."""
    with grpc.insecure_channel(target.address) as channel:
        call: Any = channel.unary_unary(target.path)
        yield lambda: call.future(message, metadata=tuple(target.metadata.items()))


def _seconds(send: Callable[[], Any], received: Callable[[], float]) -> float:
    started = time.perf_counter()
    call = send()
    seconds = received() - started
    call.result()
    return seconds


@contextlib.contextmanager
def _watching(target: Target, count: int) -> Iterator[Callable[[], float]]:
    """Open watches, and yield the function that waits until all have one more message."""
    watch = Watch(target.address, target.path, target.metadata, target.messages[0].hex(), count)
    with ChildProcess(
        [sys.executable, "-m", "bench.watch_process"],
        directory=Path(__file__).parents[1],
        stdin=-1,
        stdout=-1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        output = process.stdout
        process.stdin.write(json.dumps(asdict(watch)) + "\n")
        process.stdin.flush()

        def line() -> str:
            text = output.readline().strip()
            if not text:
                raise RuntimeError(f"the watchers of {target.path} have ended")
            return text

        line()
        try:
            yield lambda: float(line())
        finally:
            process.kill()


def memory_of_service(lab: Lab, count: int) -> float:
    """Return the memory that each of so many idle watches adds to a server, in KiB."""
    with waiting_generation(lab) as (deployment, project_id):
        return _memory_kib(
            deployment.servers[0].pid,
            rpc(deployment, _WATCH, pb.WatchGenerationsRequest(project_id=project_id)),
            count,
        )


def _memory_of_null(count: int) -> float:
    with _null(bytes(_MESSAGE_BYTES)) as null:
        return _memory_kib(null.pid, null.target("Watch"), count)


def _memory_kib(pid: int, target: Target, count: int) -> float:
    """Return the memory that each watcher adds to a process."""
    process = psutil.Process(pid)
    with _watching(target, 10):
        before = process.memory_full_info().uss
        with _watching(target, count):
            return float(process.memory_full_info().uss - before) / 1024 / count
