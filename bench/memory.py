"""Memory of a server and a worker after many calls: it must not grow with them.

`python -m bench.memory [CALLS ...]` starts a server and a worker on PostgreSQL and Redis, sends mixed calls,
and prints the memory of both processes after each of these numbers of calls; by default after 10,000 and
100,000. The exit status is 1 if a process has grown by more than 5 % since the first of them.

The calls are reads, writes, uploads and deletions of avatars, and generations that are watched to their end.
The provider has every picture at once, so a worker's memory is that of the service alone.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import psutil
from PIL import Image

from avatar_creator import AsyncAvatarCreator
from bench.lab import Lab, Scale
from tests.support.presence import present
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import let_pass, wait_until

CALLS = (10_000, 100_000)
"""Numbers of calls after which the memory is read, unless the command line has others."""
MOST_GROWTH = 0.05
"""Largest growth since the first reading, as a part of it."""

_USERS = 8
"""Users who call at the same time."""
_SIDE = 256
_READS_OF_AN_AVATAR = 30
"""Reads for each upload: most calls of apps are reads."""
_SETTLING_SECONDS = 5.0
_DRAINING_SECONDS = 120.0
_MEBIBYTE = 1024 * 1024

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Reading:
    """The memory of both processes after some calls."""

    calls: int
    server_mib: float
    worker_mib: float


class Calls:
    """Sends mixed calls, and counts them."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._picture = _picture()
        self.count = 0

    async def send(self, until: int) -> None:
        """Send calls of several users until so many have been answered in all."""
        async with asyncio.TaskGroup() as users:
            for number in range(_USERS):
                users.create_task(self._send_as(f"user-{number}", until))

    async def _send_as(self, user: str, until: int) -> None:
        async with AsyncAvatarCreator(
            self._deployment.target, token=self._deployment.token(user), timeout=60.0
        ) as client:
            while self.count < until:
                await self._lap(client)

    async def _lap(self, client: AsyncAvatarCreator) -> None:
        """Make a project with two avatars, use it, and delete it."""
        project = await self._counted(client.projects.create("Memory"))
        avatar = await self._counted(
            client.avatars.upload(project.id, self._picture, name="Sarah", defer_thumbnail=True)
        )
        handle = await self._counted(
            client.generations.create(project.id, prompt="a face", width=_SIDE, height=_SIDE)
        )
        async for _ in handle.watch():
            pass
        generation = handle.generation
        self.count += 1
        assert generation.avatar_id, generation.error
        reads: Sequence[Callable[[], Awaitable[object]]] = (
            lambda: client.avatars.get(avatar.id),
            lambda: client.avatars.batch_get(
                [avatar.id, present(generation.avatar_id)], include_thumbnails=True
            ),
            lambda: client.avatars.find(project=project.id, query="sar").page(),
            lambda: client.generations.get(generation.id),
            lambda: client.projects.open(project.id),
            lambda: client.usage.record(avatar.id, app_id="bench", action="measure"),
            lambda: client.usage.stats(),
        )
        for read in itertools.islice(itertools.cycle(reads), _READS_OF_AN_AVATAR):
            await self._counted(read())
        await self._counted(client.avatars.download(avatar.id))
        await self._counted(client.avatars.delete(avatar.id))
        await self._counted(client.projects.delete(project.id))

    async def _counted(self, call: Awaitable[_Result]) -> _Result:
        result = await call
        self.count += 1
        return result


def measure(calls: Sequence[int]) -> list[Reading]:
    """Return the memory after each of these numbers of calls, in ascending order."""
    readings = []
    with Lab(pairs=1, scale=Scale.TINY) as lab, lab.deployment() as deployment:
        server = deployment.start_server()
        worker = deployment.start_worker(module="bench.instant_worker")
        sender = Calls(deployment)
        for until in sorted(calls):
            asyncio.run(sender.send(until))
            wait_until(lambda: not deployment.rows("quick_work"), _DRAINING_SECONDS)
            let_pass(_SETTLING_SECONDS)
            readings.append(Reading(sender.count, _mib(server), _mib(worker)))
            print(readings[-1], flush=True)
    return readings


def has_grown(readings: Sequence[Reading]) -> bool:
    """Return whether a process has grown by more than `MOST_GROWTH` since the first reading."""
    first = readings[0]
    return any(
        each.server_mib > first.server_mib * (1 + MOST_GROWTH)
        or each.worker_mib > first.worker_mib * (1 + MOST_GROWTH)
        for each in readings
    )


def _mib(process: ServiceProcess) -> float:
    return psutil.Process(process.pid).memory_info().rss / _MEBIBYTE


def _picture() -> bytes:
    written = BytesIO()
    Image.effect_noise((640, 480), 60).convert("RGB").save(written, "JPEG", quality=85)
    return written.getvalue()


def main(calls: Sequence[int] = CALLS) -> None:
    """Measure, print the table, and exit with status 1 if a process has grown."""
    found = measure(calls)
    print("| calls | server MiB | worker MiB |\n|---|---|---|")
    for reading in found:
        print(f"| {reading.calls:,} | {reading.server_mib:.1f} | {reading.worker_mib:.1f} |")
    sys.exit(has_grown(found))


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or CALLS)
