"""The web port next to the gRPC port of the same server: a read, and the memory of an open watch."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import psutil

from avatar_creator.v1 import avatar_service_pb2 as avatar_pb
from avatar_creator.v1 import generation_service_pb2 as generation_pb
from bench.filling import fill
from bench.goals import BY_NAME
from bench.http1_connection import Answers, OpenStreams, answer_all, head_and_body
from bench.lab import USER, Lab, Scale, rpc
from bench.load import LoadError, Target, enough_calls, full_speed
from bench.results import Result, interleaved, of_pairs
from bench.watchers import memory_of_service, waiting_generation
from tests.support.service import Deployment
from tests.support.waiting import let_pass

ROWS = ("web-get-avatar", "web-get-avatar-p50", "web-watcher-memory")

_SECONDS = {Scale.TINY: 0.05, Scale.SHORT: 0.5, Scale.FULL: 2.0}
_AT_ONCE = {Scale.TINY: 1, Scale.SHORT: 8, Scale.FULL: 8}
_LONE_CALLS = {Scale.TINY: 5, Scale.SHORT: 200, Scale.FULL: 1_000}
_WATCHES = {Scale.TINY: 20, Scale.SHORT: 1_000, Scale.FULL: 1_000}
_WARM_UP = 10
_MEMORY_PAIRS = 3
_TRIES = 4
_PAUSE_SECONDS = 2.5
_MOST_REFUSED = 0.05
_GET_AVATAR = "AvatarService/GetAvatar"


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`."""
    if "web-get-avatar" in rows or "web-get-avatar-p50" in rows:
        for result in _reads(lab):
            if result.goal.name in rows:
                yield result
    if "web-watcher-memory" in rows:
        count = _WATCHES[lab.scale]
        pairs = interleaved(
            lambda: _memory_of_web(lab, count),
            lambda: memory_of_service(lab, count),
            min(lab.pairs, _MEMORY_PAIRS),
        )
        yield of_pairs(BY_NAME["web-watcher-memory"], pairs, unit="KiB")


def _reads(lab: Lab) -> Iterator[Result]:
    url = lab.database()
    fill(url, avatars=100, users=10, largest_user=50, uses=10)
    with lab.deployment(url) as deployment:
        deployment.start_server()
        with deployment.client(USER) as client:
            avatar_id = next(iter(client.avatars.list())).id
        over_grpc = rpc(deployment, _GET_AVATAR, avatar_pb.GetAvatarRequest(avatar_id=avatar_id))
        over_web = _call_of(over_grpc)
        address, at_once = deployment.web_target, _AT_ONCE[lab.scale]
        calls = enough_calls(over_grpc, _SECONDS[lab.scale])
        asyncio.run(answer_all(address, [over_web] * _WARM_UP, connections=1))

        def web_per_second() -> float:
            answers = _answers(address, [over_web] * calls, at_once)
            return len(answers.took) / answers.seconds

        def web_p50_ms() -> float:
            answers = _answers(address, [over_web] * _LONE_CALLS[lab.scale], 1)
            return statistics.median(answers.took) * 1000

        pairs = interleaved(
            web_per_second,
            lambda: full_speed(replace(over_grpc, at_once=at_once), calls).per_second,
            lab.pairs,
        )
        yield of_pairs(BY_NAME["web-get-avatar"], pairs, unit="/s")
        lone = interleaved(web_p50_ms, lambda: _grpc_p50_ms(over_grpc, _LONE_CALLS[lab.scale]), lab.pairs)
        yield of_pairs(BY_NAME["web-get-avatar-p50"], lone, unit="ms")


def _answers(address: str, calls: Sequence[bytes], at_once: int) -> Answers:
    """Send calls, and again if the server refused many, as it does while others keep it busy.

    Raises:
        LoadError: The server refused many calls each time.
    """
    for number in range(_TRIES):
        let_pass(number * _PAUSE_SECONDS)
        answers = asyncio.run(answer_all(address, calls, connections=at_once))
        if answers.refused <= _MOST_REFUSED * len(calls):
            return answers
    raise LoadError(f"the web port refused {answers.refused} of {len(calls)} calls")


def _call_of(target: Target, *, is_stream: bool = False) -> bytes:
    return head_and_body(target.path, target.metadata, target.messages[0], is_stream=is_stream)


def _grpc_p50_ms(target: Target, count: int) -> float:
    took = []
    with grpc.insecure_channel(target.address) as channel:
        call: Any = channel.unary_unary(target.path)
        for _ in range(count):
            start = time.perf_counter()
            call(target.messages[0], metadata=tuple(target.metadata.items()))
            took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def _memory_of_web(lab: Lab, count: int) -> float:
    with waiting_generation(lab) as (deployment, project_id):
        return asyncio.run(_memory_kib(deployment, project_id, count))


async def _memory_kib(deployment: Deployment, project_id: str, count: int) -> float:
    """Return the memory that each watch adds to a server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    request = generation_pb.WatchGenerationsRequest(project_id=project_id)
    call = _call_of(rpc(deployment, "GenerationService/WatchGenerations", request), is_stream=True)
    streams = OpenStreams(deployment.web_target, call)
    process = psutil.Process(deployment.servers[0].pid)
    try:
        await streams.open(_WARM_UP)
        before = process.memory_full_info().uss
        await streams.open(count)
        return float(process.memory_full_info().uss - before) / 1024 / count
    finally:
        streams.close()
