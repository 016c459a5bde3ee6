"""How long each promised operation takes, beside a call that does nothing, on the same server in one run.

`make bench` runs it on PostgreSQL, Redis and one worker. Read the ratios: milliseconds are of one machine
at one moment. The floors are what the replaced system promised.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table

from avatar_creator import AvatarCreator, GenerationState
from avatar_creator_server.demo.run import PHOTOGRAPH
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment

CALLS = 200
SLOW_CALLS = 20


def median_milliseconds(operation: Callable[[], object], calls: int) -> float:
    """The median time of an operation after a tenth as many that do not count.

    What an operation returns, if it can be called, is called after its time was taken.
    """
    times = []
    for _ in range(max(calls // 10, 1) + calls):
        started = time.perf_counter()
        tidy_up = operation()
        times.append((time.perf_counter() - started) * 1000)
        if callable(tidy_up):
            tidy_up()
    return statistics.median(times[-calls:])


def measure(target: str, client: AvatarCreator) -> list[tuple[str, float, float]]:
    """Each operation with its promised floor and its median, both in milliseconds; the null call first."""
    project = client.projects.create("Bench")
    avatars = [client.avatars.upload(project.id, PHOTOGRAPH, name=f"Face {n}") for n in range(20)]
    elsewhere = client.projects.create("Bench of generations")
    health = health_pb2_grpc.HealthStub(grpc.insecure_channel(target))

    def record_use() -> None:
        client.usage.record(avatars[0].id, app_id="bench", action="measure")

    def upload() -> None:
        assert not client.avatars.upload(elsewhere.id, PHOTOGRAPH, name="Face").thumbnail_pending

    def start_and_drop() -> None:
        client.generations.cancel(
            client.generations.create(elsewhere.id, prompt="face", width=256, height=256).id
        )

    def see_it_picked_up() -> Callable[[], object]:
        generation = client.generations.create(elsewhere.id, prompt="face", width=256, height=256)
        with closing(client.generations.watch(generation.id)) as states:
            assert any(state.state != GenerationState.GENERATION_STATE_PENDING for state in states)
        # The next one is to find a free slot.
        return lambda: list(client.generations.watch(generation.id))

    def see_it_cancelled() -> None:
        generation = client.generations.create(elsewhere.id, prompt="face", width=256, height=256)
        with closing(client.generations.watch(generation.id)) as states:
            next(states)
            client.generations.cancel(generation.id)
            assert any(state.state == GenerationState.GENERATION_STATE_CANCELLED for state in states)

    return [
        (name, promised, median_milliseconds(operation, calls))
        for name, promised, operation, calls in (
            ("a call that does nothing", 0, lambda: health.Check(health_pb2.HealthCheckRequest()), CALLS),
            ("one avatar", 200, lambda: client.avatars.get(avatars[0].id), CALLS),
            (
                "a project with 20 avatars, thumbnails in it",
                500,
                lambda: client.projects.open(project.id),
                CALLS,
            ),
            ("a use recorded", 300, record_use, CALLS),
            ("an upload, its thumbnail made", 3000, upload, SLOW_CALLS),
            ("a generation started (and cancelled)", 1000, start_and_drop, SLOW_CALLS),
            ("started and seen to be picked up", 2000, see_it_picked_up, SLOW_CALLS),
            ("started, cancelled, and the watcher told", 5000, see_it_cancelled, SLOW_CALLS),
        )
    ]


def main() -> None:
    """Start everything, measure, and print the table."""
    console = Console(width=110)
    postgres, redis = Postgres.start(), Redis.start()
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment.distributed(Path(folder), postgres.create_database(), redis.url(1))
        try:
            deployment.run_command("migrate")
            deployment.start_server()
            deployment.start_worker()
            with deployment.client("bench") as client:
                rows = measure(deployment.target, client)
        finally:
            deployment.close()
            redis.close()
            postgres.close()
    table = Table("operation", "median ms", "times a null call", "promised ms", "times faster")
    null = rows[0][2]
    for name, promised, median in rows:
        faster = f"{promised / median:.0f}" if promised else ""
        table.add_row(name, f"{median:.1f}", f"{median / null:.1f}", str(promised or ""), faster)
    console.print(table)


if __name__ == "__main__":
    main()
