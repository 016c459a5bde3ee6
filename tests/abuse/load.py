"""A steady load of one RPC, from a process of its own so that it does not compete with the test.

`python -m tests.abuse.load` reads a `Load` as JSON from standard input, and prints its `Outcome` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc.aio

from tests.contract.calls import refusal_of
from tests.support.service import run_module

_CONNECTIONS = 8
_STEP_SECONDS = 0.002


@dataclass(frozen=True)
class Load:
    """Calls of one user."""

    target: str
    token: str
    path: str
    request: str
    """The request in hexadecimal digits."""
    seconds: float
    callers: int = 0
    """Callers who each wait for an answer before they call again; 0 for a fixed rate."""
    per_second: float = 0.0
    """Calls per second, however long the answers take."""
    timeout: float = 1.0
    """Deadline of a call, in seconds."""


@dataclass
class Outcome:
    """The calls that have ended."""

    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Number of refusals by reason, and of other errors by status."""
    refusal_seconds: list[float] = field(default_factory=list)
    """Times until the refusals."""


def run(load: Load) -> Outcome:
    """Run a load in a process of its own."""
    finished = run_module("tests.abuse.load", timeout=load.seconds + 60, input=json.dumps(asdict(load)))
    finished.check_returncode()
    return Outcome(**json.loads(finished.stdout))


async def _run(load: Load) -> Outcome:
    outcome, refused = Outcome(), Counter[str]()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    channels = [grpc.aio.insecure_channel(load.target, options) for _ in range(_CONNECTIONS)]
    calls: list[Any] = [channel.unary_unary(load.path) for channel in channels]
    metadata = (("authorization", f"Bearer {load.token}"),)
    request = bytes.fromhex(load.request)
    started = time.perf_counter()

    async def call(number: int) -> None:
        begun = time.perf_counter()
        try:
            await calls[number % _CONNECTIONS](request, metadata=metadata, timeout=load.timeout)
            outcome.answered += 1
        except grpc.aio.AioRpcError as error:
            reason = refusal_of(error).reason
            refused[reason or error.code().name] += 1
            if reason:
                outcome.refusal_seconds.append(time.perf_counter() - begun)

    async def caller(number: int) -> None:
        while time.perf_counter() - started < load.seconds:
            await call(number)

    if load.callers:
        await asyncio.gather(*map(caller, range(load.callers)))
    else:
        sent, running = 0, set()
        while (elapsed := time.perf_counter() - started) < load.seconds:
            while sent < elapsed * load.per_second:
                running.add(asyncio.create_task(call(sent)))
                sent += 1
            await asyncio.sleep(_STEP_SECONDS)
        await asyncio.gather(*running)
    for channel in channels:
        await channel.close()
    outcome.refused = dict(refused)
    return outcome


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_run(Load(**json.load(sys.stdin)))))))
