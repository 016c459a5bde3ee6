"""Twenty minutes of all attacks in turn, while six users make 300 portraits and watch them."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import pytest

from avatar_creator import AsyncAvatarCreator, AvatarCreator, Generation, NotFoundError
from tests import pictures
from tests.abuse.attack_process import run_attack
from tests.abuse.attacks import ATTACKS, FOUND_WORDS, Target
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.witness import Reads
from tests.support.generations import SMALLEST
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.large_project import fill_project
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]

GENERATIONS = 300
USERS = 6
SOAK_SECONDS = 1200.0
ATTACK_SECONDS = 25.0
ATTACKS_AT_ONCE = 2
RETRY_SECONDS = 120.0
"""Maximum time for which an honest client retries."""
SETTLING_SECONDS = 300.0
LARGE = 20_000
PROMPT = "a woman"
"""Prompt that no attack sends."""
MAX_KEPT_BYTES = 300 * MIB
"""Maximum memory that the server keeps when the attacks are over."""


@pytest.fixture
def service(distributed: Deployment, router: RouterFake) -> Deployment:
    """A server and two workers that draw through the fake router, with the default limits."""
    router.behave(always=Behavior(run_seconds=0.3))
    distributed.settings |= {"HUGGINGFACE_API_KEY": "hf_soak", "HUGGINGFACE_BASE_URL": router.url}
    del distributed.settings["GENERATION_LIMIT_PER_MINUTE"]
    distributed.start_server()
    distributed.start_worker()
    distributed.start_worker()
    return distributed


async def test_300_portraits_are_ready_while_all_attacks_run_in_turn(
    service: Deployment, router: RouterFake, redis_url: str
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    clients = [
        AsyncAvatarCreator(service.target, token=service.token(f"user-{number}")) for number in range(USERS)
    ]
    gauge = Gauge(service)
    before = gauge.server_bytes()
    outcomes: dict[str, Counter[str]] = {}
    ends_at = time.monotonic() + SOAK_SECONDS

    attacks = asyncio.create_task(
        asyncio.to_thread(_attack_until, ends_at, service, redis_url, random.Random(seed), outcomes)
    )
    with gauge.sampling():
        results = await asyncio.gather(
            *(_create_and_watch(client, GENERATIONS // USERS, SOAK_SECONDS * 0.95) for client in clients)
        )
        await attacks
    honest = [row["id"] for row in service.rows("avatar_generations") if row["user_id"].startswith("user-")]
    await asyncio.to_thread(_settle, service)
    last_states = [await watch for watches, _ in results for watch in watches]
    reads = Reads()
    reads.seconds = [latency for _, latencies in results for latency in latencies]
    for client in clients:
        await client.close()

    for name, counted in sorted(outcomes.items()):
        print(f"{name}: {dict(counted)}")
    states = Counter(row["state"] for row in service.rows("avatar_generations") if row["id"] in set(honest))
    print(
        f"portraits: {dict(states)}; submissions: {router.count};"
        f" honest reads: p50 {reads.median:.3f} s, p99 {reads.percentile99:.3f} s;"
        f" server: {before / MIB:.0f} MiB before,"
        f" {gauge.peak_server_bytes / MIB:.0f} MiB at most, {gauge.server_bytes() / MIB:.0f} MiB after"
    )
    assert len(honest) == len(last_states) == GENERATIONS
    assert states["completed"] == GENERATIONS
    assert set(outcomes) == set(ATTACKS)
    assert not [name for name, counted in outcomes.items() if not counted.total()], "an attacker did nothing"
    assert gauge.server_bytes() - before < MAX_KEPT_BYTES
    await asyncio.to_thread(
        assert_promise_kept, service, router, outcomes_seen=last_states, users="user-", prompt=PROMPT
    )


async def _create_and_watch(
    client: AsyncAvatarCreator, number: int, seconds: float
) -> tuple[list[asyncio.Task[Generation]], list[float]]:
    """Create and watch `number` generations during `seconds`, and read the project after each."""
    project = await client.projects.create("Soak", timeout=RETRY_SECONDS)
    watches, latencies = [], []
    for _ in range(number):
        generation = await client.generations.create(
            project.id, PROMPT, width=SMALLEST, height=SMALLEST, timeout=RETRY_SECONDS
        )
        watches.append(asyncio.create_task(_last_state(client, generation.id)))
        started = time.perf_counter()
        await client.projects.get(project.id, timeout=RETRY_SECONDS)
        latencies.append(time.perf_counter() - started)
        await asyncio.sleep(max(0.0, seconds / number - (time.perf_counter() - started)))
    return watches, latencies


async def _last_state(client: AsyncAvatarCreator, generation_id: str) -> Generation:
    states: list[Generation] = []
    async for state in client.generations.watch(generation_id, reconnect_for=RETRY_SECONDS):
        assert not states or state.revision > states[-1].revision
        states.append(state)
    return states[-1]


def _attack_until(
    ends_at: float,
    service: Deployment,
    redis_url: str,
    rng: random.Random,
    outcomes: dict[str, Counter[str]],
) -> None:
    """Run all attacks in a random order, again and again, a few at a time."""
    numbers = count()
    names: list[str] = []

    async def attack_in_turn() -> None:
        while time.monotonic() < ends_at - ATTACK_SECONDS:
            if not names:
                names.extend(rng.sample(sorted(ATTACKS), len(ATTACKS)))
            name = names.pop()
            counted = await asyncio.to_thread(_attack, service, redis_url, name, f"attacker-{next(numbers)}")
            outcomes.setdefault(name, Counter()).update(counted)

    async def attack() -> None:
        await asyncio.gather(*(attack_in_turn() for _ in range(ATTACKS_AT_ONCE)))

    asyncio.run(attack())


def _attack(service: Deployment, redis_url: str, name: str, user: str) -> dict[str, int]:
    with AvatarCreator(service.target, token=service.token(user)) as client:
        project = client.projects.create("Attack", timeout=RETRY_SECONDS)
        avatar_id = ""
        if "50,000 avatars" in name:
            fill_project(service, project.id, LARGE)
            words = " ".join(FOUND_WORDS)
            service.execute("UPDATE avatars SET search_text = %s WHERE user_id = %s", words, user)
        else:
            avatar = client.avatars.upload(project.id, pictures.png(), name="Face", timeout=RETRY_SECONDS)
            avatar_id = avatar.id
        target = Target(
            address=service.target,
            secret=service.settings["JWT_SECRET"],
            user=user,
            project_id=project.id,
            avatar_id=avatar_id,
            redis_url=redis_url,
        )
        outcomes = run_attack(name, target, ATTACK_SECONDS)
        with suppress(NotFoundError):  # one attack deletes its project itself
            client.projects.delete(project.id, timeout=RETRY_SECONDS)
    return outcomes


def _settle(service: Deployment) -> None:
    """Start all pending retries now, until every generation has ended and every deletion is complete."""

    def is_quiet() -> bool:
        now = datetime.now(UTC)
        service.execute(
            "UPDATE avatar_generations SET due_time = %s WHERE state = 'pending' AND due_time > %s", now, now
        )
        return not service.execute(
            "SELECT 1 FROM avatar_generations WHERE due_time IS NOT NULL"
            " UNION ALL SELECT 1 FROM avatar_projects WHERE delete_time IS NOT NULL"
        )

    wait_until(is_quiet, SETTLING_SECONDS, "a generation or a deletion never ends")
