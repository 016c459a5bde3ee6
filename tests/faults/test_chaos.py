"""Two minutes in which a process is killed about every second, while 300 generations must end."""

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
CREATION_SECONDS = 100.0
PAUSE_SECONDS = (0.6, 1.4)
SETTLING_SECONDS = 120.0
RETRY_SECONDS = 90.0
"""Maximum time for which a client retries when no server answers."""


async def test_every_generation_ends_once_while_processes_are_killed_at_random(
    hosted_breakable: Deployment, own_redis: OwnRedis, router: RouterFake
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    deployment = hosted_breakable
    deployment.settings["GENERATION_LIMIT_CONCURRENT"] = "0"
    deployment.settings["SPEND_LIMIT_PER_DAY"] = "0"
    router.behave(always=Behavior(run_seconds=0.5))
    servers = [deployment.start_server(), deployment.start_server()]
    workers = [deployment.start_worker(), deployment.start_worker()]
    # Like a load balancer, a client uses the server that answers.
    target = "ipv4:" + ",".join(server.target for server in servers)
    clients = [
        AsyncAvatarCreator(target, token=deployment.token(f"user-{number}")) for number in range(USERS)
    ]

    victims: list[Callable[[], None]] = [lambda: _kill_redis(own_redis)]
    victims += [_killer_of(process) for process in (*servers, *workers)]
    deadline = time.monotonic() + CHAOS_SECONDS
    chaos = asyncio.create_task(_kill_until(deadline, victims, rng, PAUSE_SECONDS))
    watches_of_clients = await asyncio.gather(
        *(
            _create_and_watch(client, GENERATIONS // USERS, WATCHERS // USERS + 1, CREATION_SECONDS)
            for client in clients
        )
    )
    kills = await chaos
    for process in (*servers, *workers):
        await asyncio.to_thread(process.wait_until_ready)
    await asyncio.to_thread(_settle, deployment)
    last_states = [await watch for watches in watches_of_clients for watch in watches]
    for client in clients:
        await client.close()

    attempt_outcomes = Counter(row["outcome"] for row in deployment.rows("generation_attempts"))
    print(
        f"{kills} kills, {len(last_states)} watchers, attempts: {dict(attempt_outcomes)},"
        f" submissions: {router.count}"
    )
    assert kills > CHAOS_SECONDS / 3
    assert len(deployment.rows("avatar_generations")) == GENERATIONS
    assert len(last_states) >= WATCHERS
    # A lost worker interrupts at most two generations. A generation fails after three lost workers.
    states = [row["state"] for row in deployment.rows("avatar_generations")]
    assert states.count("completed") > GENERATIONS / 2
    await asyncio.to_thread(assert_promise_kept, deployment, router, outcomes_seen=last_states)


async def test_every_generation_ends_once_while_an_embedded_service_is_killed_repeatedly(
    hosted_embedded: Deployment, router: RouterFake, user: str
) -> None:
    generations = 40
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    hosted_embedded.settings |= {"GENERATION_LIMIT_CONCURRENT": "0", "SPEND_LIMIT_PER_DAY": "0"}
    server = hosted_embedded.start_server()
    client = AsyncAvatarCreator(hosted_embedded.target, token=hosted_embedded.token(user))

    # Longer pauses, because the service must start before it can be killed while it works.
    chaos = asyncio.create_task(_kill_until(time.monotonic() + 40.0, [_killer_of(server)], rng, (2.0, 3.5)))
    watches = await _create_and_watch(client, generations, generations, 35.0)
    kills = await chaos
    await asyncio.to_thread(server.wait_until_ready)
    await asyncio.to_thread(_settle, hosted_embedded)
    last_states = [await watch for watch in watches]
    await client.close()

    attempt_outcomes = Counter(row["outcome"] for row in hosted_embedded.rows("generation_attempts"))
    print(f"{kills} kills, attempts: {dict(attempt_outcomes)}, submissions: {router.count}")
    assert kills > 5
    assert len(hosted_embedded.rows("avatar_generations")) == generations == len(last_states)
    await asyncio.to_thread(assert_promise_kept, hosted_embedded, router, outcomes_seen=last_states)


async def _create_and_watch(
    client: AsyncAvatarCreator, number: int, watch_count: int, seconds: float
) -> list[asyncio.Task[Generation]]:
    """Create `number` generations during `seconds`, and watch the first `watch_count` of them."""
    project = await client.projects.create("Chaos", timeout=RETRY_SECONDS)
    watches = []
    for index in range(number):
        generation = await client.generations.create(
            project.id, "a woman", width=SMALLEST, height=SMALLEST, timeout=RETRY_SECONDS
        )
        if index < watch_count:
            watches.append(asyncio.create_task(_last_state(client, generation.id)))
        await asyncio.sleep(seconds / number)
    return watches


async def _last_state(client: AsyncAvatarCreator, generation_id: str) -> Generation:
    states: list[Generation] = []
    async for state in client.generations.watch(generation_id, reconnect_for=RETRY_SECONDS):
        assert not states or state.revision > states[-1].revision
        states.append(state)
    return states[-1]


async def _kill_until(
    deadline: float, victims: list[Callable[[], None]], rng: random.Random, pause: tuple[float, float]
) -> int:
    kills = 0
    while time.monotonic() < deadline:
        await asyncio.to_thread(rng.choice(victims))
        kills += 1
        await asyncio.sleep(rng.uniform(*pause))
    return kills


def _killer_of(process: ServiceProcess) -> Callable[[], None]:
    def kill_and_start_again() -> None:
        process.kill()
        process.start_again()

    return kill_and_start_again


def _kill_redis(own_redis: OwnRedis) -> None:
    own_redis.kill()
    own_redis.restart()


def _settle(deployment: Deployment) -> None:
    """Start all pending retries now, until every generation has ended."""

    def retry_and_check() -> bool:
        now = datetime.now(UTC)
        deployment.execute(
            "UPDATE avatar_generations SET due_time = %s WHERE state = 'pending' AND due_time > %s", now, now
        )
        return all_ended(deployment)

    wait_until(retry_and_check, SETTLING_SECONDS, "a generation never ends")
