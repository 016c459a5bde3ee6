"""Promises: the latency of each operation that the replaced system promised, next to its promise.

A client of the package calls, one call after the other, a service with one worker. These limits alone are
times, because the system that this one replaced promised times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.table import Table

from avatar_creator import AvatarCreator, GenerationState
from avatar_creator_server.demo.run import PHOTOGRAPH
from bench.lab import USER, Lab

CALLS = 60
SLOW_CALLS = 8


def median_milliseconds(operation: Callable[[], object], calls: int) -> float:
    """Return the median duration of an operation, after a warm-up of a tenth as many calls.

    If an operation returns a function, that function is called after the measurement.
    """
    times = []
    for _ in range(max(calls // 10, 1) + calls):
        started = time.perf_counter()
        tidy_up = operation()
        times.append((time.perf_counter() - started) * 1000)
        if callable(tidy_up):
            tidy_up()
    return statistics.median(times[-calls:])


def _latencies(target: str, client: AvatarCreator) -> list[tuple[str, float, float]]:
    """Return each operation with its promised limit and its median in milliseconds, the null call first."""
    project = client.projects.create("Bench")
    avatars = [client.avatars.upload(project.id, PHOTOGRAPH, name=f"Face {n}") for n in range(20)]
    other = client.projects.create("Bench of generations")
    health = health_pb2_grpc.HealthStub(grpc.insecure_channel(target))

    def record_use() -> None:
        client.usage.record(avatars[0].id, app_id="bench", action="measure")

    def upload() -> None:
        assert not client.avatars.upload(other.id, PHOTOGRAPH, name="Face").thumbnail_pending

    def start_and_cancel() -> None:
        client.generations.cancel(
            client.generations.create(other.id, prompt="face", width=256, height=256).id
        )

    def wait_until_claimed() -> Callable[[], object]:
        generation = client.generations.create(other.id, prompt="face", width=256, height=256)
        with client.generations.watch(generation.id) as states:
            assert any(state.state != GenerationState.PENDING for state in states)
        # Wait for the end, so that the next generation finds a free slot.
        return lambda: list(client.generations.watch(generation.id))

    def wait_until_cancelled() -> None:
        generation = client.generations.create(other.id, prompt="face", width=256, height=256)
        with client.generations.watch(generation.id) as states:
            next(states)
            client.generations.cancel(generation.id)
            assert any(state.state == GenerationState.CANCELLED for state in states)

    return [
        (name, promised, median_milliseconds(operation, calls))
        for name, promised, operation, calls in (
            ("a call that does nothing", 0, lambda: health.Check(health_pb2.HealthCheckRequest()), CALLS),
            ("get an avatar", 200, lambda: client.avatars.get(avatars[0].id), CALLS),
            (
                "get a project with 20 avatars and thumbnails",
                500,
                lambda: client.projects.open(project.id),
                CALLS,
            ),
            ("record a use", 300, record_use, CALLS),
            ("upload a picture, with its thumbnail", 3000, upload, SLOW_CALLS),
            ("start a generation (and cancel it)", 1000, start_and_cancel, SLOW_CALLS),
            ("start one, and see that a worker claims it", 2000, wait_until_claimed, SLOW_CALLS),
            ("start and cancel one, and see that it ends", 5000, wait_until_cancelled, SLOW_CALLS),
        )
    ]


def measure(lab: Lab) -> Table:
    """Measure, and return the table."""
    with lab.deployment() as deployment:
        deployment.start_server()
        deployment.start_worker()
        with deployment.client(USER) as client:
            rows = _latencies(deployment.target, client)
    title = "Promises of the replaced system"
    table = Table("operation", "median ms", "times a null call", "promised ms", "times faster", title=title)
    null = rows[0][2]
    for name, promised, median in rows:
        faster = f"{promised / median:.0f}" if promised else ""
        table.add_row(name, f"{median:.1f}", f"{median / null:.1f}", str(promised or ""), faster)
    return table
