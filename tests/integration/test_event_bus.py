"""Messages that this service does not publish, which the bus refuses or bounds, and publishers that stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis
import uvloop

from avatar_creator_server.database.models import new_id
from avatar_creator_server.generations.project_deletion import BATCH_ROWS
from avatar_creator_server.metrics import EVENTS_NOT_READ
from avatar_creator_server.shared.event_bus import (
    PROJECT_DELETED,
    EventWaiter,
    InProcessBus,
    RedisBus,
    decode_ids,
    encode_ids,
)
from avatar_creator_server.shared.worker_notifier import RedisNotifier

EXPENSIVE_SECONDS = 0.015
MESSAGES = 40
STEPS = 40
"""More steps of the event loop than a publication takes, except for those that wait for Redis."""
MAX_SHARE = 0.6
"""Half of the loop, and some for a busy machine."""


def refused() -> float:
    """Return the number of messages about deleted projects that the bus has refused."""
    return float(EVENTS_NOT_READ.labels(PROJECT_DELETED)._value.get())


@pytest.mark.parametrize(
    ("run", "seconds"), [(uvloop.run, EXPENSIVE_SECONDS), (uvloop.run, 0.002), (asyncio.run, 0.002)]
)
def test_a_flood_of_messages_takes_half_of_the_loop(
    redis_url: str, seconds: float, run: Callable[[Coroutine[Any, Any, float]], float]
) -> None:
    assert run(share_of_a_flood(redis_url, seconds)) < MAX_SHARE


async def share_of_a_flood(redis_url: str, seconds: float) -> float:
    """Return the share of the time that messages take if each of them takes so many seconds."""
    bus = RedisBus(redis_url)
    begins: list[float] = []
    arrived, finished = asyncio.Event(), asyncio.Event()
    messages = round(MESSAGES * EXPENSIVE_SECONDS / seconds)

    def handle(_payload: bytes) -> None:
        begins.append(time.perf_counter())
        while time.perf_counter() < begins[-1] + seconds:
            pass
        arrived.set()
        if len(begins) > messages:
            finished.set()

    bus.subscribe(PROJECT_DELETED, handle)
    await bus.start()
    try:
        with redis.Redis.from_url(redis_url) as connection:
            while not arrived.is_set():
                begins.clear()
                connection.publish(PROJECT_DELETED, "the bus has subscribed")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(arrived.wait(), 0.1)
            with connection.pipeline(transaction=False) as pipeline:
                for _ in range(messages):
                    pipeline.publish(PROJECT_DELETED, "x")
                pipeline.execute()
        async with asyncio.timeout(30):
            await finished.wait()
    finally:
        await bus.close()

    return (messages - 1) * seconds / (begins[messages] - begins[1])


async def test_a_message_with_more_ids_than_the_service_publishes_is_refused() -> None:
    bus = InProcessBus()
    waiter = EventWaiter(bus, PROJECT_DELETED)
    before = refused()
    async with waiter.expect("a") as arrives:
        await bus.publish(PROJECT_DELETED, b"a\n" * 130_000)
        await bus.publish(PROJECT_DELETED, b"a\n" * 1_000)
        assert not await arrives(0)
        assert refused() == before + 2

        await bus.publish(PROJECT_DELETED, encode_ids("b", "a"))
        assert await arrives(0)


async def test_the_deletion_of_a_batch_fits_a_message() -> None:
    bus = InProcessBus()
    ids = [new_id() for _ in range(1 + BATCH_ROWS)]
    before = refused()
    async with EventWaiter(bus, PROJECT_DELETED).expect(ids[-1]) as arrives:
        await bus.publish(PROJECT_DELETED, encode_ids(*ids))
        assert await arrives(0)
    assert refused() == before
    assert decode_ids(encode_ids(*ids)) == ids


def test_the_service_publishes_no_message_that_it_refuses() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode_ids(*(new_id() for _ in range(2 + BATCH_ROWS)))


@pytest.mark.parametrize("publish_to", ["bus", "workers"])
async def test_a_cancelled_publisher_stops_at_any_step(redis_url: str, publish_to: str) -> None:
    bus, notifier = RedisBus(redis_url), RedisNotifier(redis_url)

    async def publish() -> None:
        await (bus.publish(PROJECT_DELETED, b"x") if publish_to == "bus" else notifier.notify_job())

    async def publish_and_go_on() -> None:
        await publish()
        await asyncio.Event().wait()

    try:
        for steps in range(STEPS):
            await publish()  # on a connection that may be new
            publisher = asyncio.create_task(publish_and_go_on())
            for _ in range(steps):
                await asyncio.sleep(0)
            publisher.cancel()
            ended, _ = await asyncio.wait({publisher}, timeout=5)
            publisher.cancel()
            assert ended, f"a cancellation after {steps} steps was lost"
    finally:
        await bus.close()
        await notifier.close()
