"""Two minutes in which a process is killed every second or so, and 300 generations that all have to end."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from avatar_creator import AsyncAvatarCreator, Generation
from tests.support.generations import SMALLEST, all_ended
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.redis import OwnRedis
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

GENERATIONS = 300
USERS = 6
WATCHERS = 100
CHAOS_SECONDS = 120.0
ORDERING_SECONDS = 100.0
PAUSE_SECONDS = (0.6, 1.4)
SETTLING_SECONDS = 120.0
PATIENCE_SECONDS = 90.0
"""How long a client tries again when no server answers."""


async def test_whatever_is_killed_every_generation_ends_once(
    hosted_breakable: Deployment, own_redis: OwnRedis, router: RouterFake
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    deployment = hosted_breakable
    deployment.settings["GENERATION_LIMIT_CONCURRENT"] = "0"
    deployment.settings["SPEND_LIMIT_PER_DAY"] = "0"
    router.behave(always=Behavior(run_seconds=0.5))
    servers = [deployment.start_server(), deployment.start_server()]
    workers = [deployment.start_worker(), deployment.start_worker()]
    # As a load balancer would, a client goes to the server that answers.
    target = "ipv4:" + ",".join(server.target for server in servers)
    clients = [
        AsyncAvatarCreator(target, token=deployment.token(f"user-{number}")) for number in range(USERS)
    ]

    victims: list[Callable[[], None]] = [lambda: _kill_redis(own_redis)]
    victims += [_killing(process) for process in (*servers, *workers)]
    until = time.monotonic() + CHAOS_SECONDS
    chaos = asyncio.create_task(_kill_until(until, victims, chance, PAUSE_SECONDS))
    outcomes = await asyncio.gather(
        *(_use(client, GENERATIONS // USERS, WATCHERS // USERS + 1, ORDERING_SECONDS) for client in clients)
    )
    kills = await chaos
    for process in (*servers, *workers):
        await asyncio.to_thread(process.wait_until_ready)
    await asyncio.to_thread(_settle, deployment)
    watched = [await watch for watches in outcomes for watch in watches]
    for client in clients:
        await client.close()

    ends = Counter(row["outcome"] for row in deployment.rows("generation_attempts"))
    print(f"{kills} kills, {len(watched)} watchers, attempts: {dict(ends)}, submissions: {router.count}")
    assert kills > CHAOS_SECONDS / 3
    assert len(deployment.rows("avatar_generations")) == GENERATIONS
    assert len(watched) >= WATCHERS
    # A worker that is lost is lost to two generations at most, and three losses end one.
    states = [row["state"] for row in deployment.rows("avatar_generations")]
    assert states.count("completed") > GENERATIONS / 2
    await asyncio.to_thread(assert_promise_kept, deployment, router, outcomes_seen=watched)


async def test_an_embedded_service_that_is_killed_again_and_again_ends_every_generation_once(
    hosted_embedded: Deployment, router: RouterFake, user: str
) -> None:
    generations = 40
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    hosted_embedded.settings |= {"GENERATION_LIMIT_CONCURRENT": "0", "SPEND_LIMIT_PER_DAY": "0"}
    server = hosted_embedded.start_server()
    client = AsyncAvatarCreator(hosted_embedded.target, token=hosted_embedded.token(user))

    # Longer pauses: it has to start before it can be killed at its work.
    killing = _kill_until(time.monotonic() + 40.0, [_killing(server)], chance, (2.0, 3.5))
    chaos = asyncio.create_task(killing)
    watches = await _use(client, generations, generations, 35.0)
    kills = await chaos
    await asyncio.to_thread(server.wait_until_ready)
    await asyncio.to_thread(_settle, hosted_embedded)
    watched = [await watch for watch in watches]
    await client.close()

    ends = Counter(row["outcome"] for row in hosted_embedded.rows("generation_attempts"))
    print(f"{kills} kills, attempts: {dict(ends)}, submissions: {router.count}")
    assert kills > 5
    assert len(hosted_embedded.rows("avatar_generations")) == generations == len(watched)
    await asyncio.to_thread(assert_promise_kept, hosted_embedded, router, outcomes_seen=watched)


async def _use(
    client: AsyncAvatarCreator, number: int, watched: int, seconds: float
) -> list[asyncio.Task[Generation]]:
    """Order generations over a while and watch some of them."""
    project = await client.projects.create("Chaos", timeout=PATIENCE_SECONDS)
    watches = []
    for order in range(number):
        generation = await client.generations.create(
            project.id, "a woman", width=SMALLEST, height=SMALLEST, timeout=PATIENCE_SECONDS
        )
        if order < watched:
            watches.append(asyncio.create_task(_last_state(client, generation.id)))
        await asyncio.sleep(seconds / number)
    return watches


async def _last_state(client: AsyncAvatarCreator, generation_id: str) -> Generation:
    told: list[Generation] = []
    async for state in client.generations.watch(generation_id, reconnect_for=PATIENCE_SECONDS):
        assert not told or state.revision > told[-1].revision
        told.append(state)
    return told[-1]


async def _kill_until(
    until: float, victims: list[Callable[[], None]], chance: random.Random, pause: tuple[float, float]
) -> int:
    kills = 0
    while time.monotonic() < until:
        await asyncio.to_thread(chance.choice(victims))
        kills += 1
        await asyncio.sleep(chance.uniform(*pause))
    return kills


def _killing(process: ServiceProcess) -> Callable[[], None]:
    def kill_and_start_again() -> None:
        process.kill()
        process.start_again()

    return kill_and_start_again


def _kill_redis(own_redis: OwnRedis) -> None:
    own_redis.kill()
    own_redis.restart()


def _settle(deployment: Deployment) -> None:
    """Let whatever waits for a retry be tried now, until all has ended."""

    def ended_or_hurried() -> bool:
        now = datetime.now(UTC)
        deployment.execute(
            "UPDATE avatar_generations SET due_time = %s WHERE state = 'pending' AND due_time > %s", now, now
        )
        return all_ended(deployment)

    wait_until(ended_or_hurried, SETTLING_SECONDS, "something never ends")
