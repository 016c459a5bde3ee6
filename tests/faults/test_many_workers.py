"""Several workers at one queue: who gets work, how much at once, and whose turn it is."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from avatar_creator import AvatarCreator, GenerationPriority
from avatar_creator_tasks.worker import GENERATION_SLOTS
from tests.support.generations import SMALLEST, all_ended
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

WORKERS = 4


def order(client: AvatarCreator, number: int, **wishes: Any) -> list[str]:
    project = client.projects.create("Many")

    def one(_: int) -> str:
        return client.generations.create(
            project.id, "a woman", width=SMALLEST, height=SMALLEST, timeout=60.0, **wishes
        ).id

    with Threads(8) as callers:
        return callers.map(one, range(number))


@pytest.fixture
def queue(hosted: Deployment, router: RouterFake) -> Deployment:
    """A service without a worker that accepts any number of generations."""
    hosted.settings |= {"GENERATION_LIMIT_CONCURRENT": "0", "SPEND_LIMIT_PER_DAY": "0"}
    router.behave(always=Behavior(run_seconds=0.5))
    hosted.start_server()
    return hosted


def test_four_workers_share_two_hundred_generations_two_at_a_time(
    queue: Deployment, router: RouterFake, user: str
) -> None:
    for _ in range(WORKERS):
        queue.start_worker()
    with queue.client(user) as client:
        order(client, 200)
    wait_until(lambda: all_ended(queue), 120.0)

    spans = defaultdict(list)
    for attempt in queue.rows("generation_attempts"):
        spans[attempt["worker"]].append((attempt["start_time"], attempt["end_time"]))
    assert len(spans) == WORKERS, "a worker got nothing"
    for worker, own in spans.items():
        at_once = [sum(start <= moment < end for start, end in own) for moment, _ in own]
        assert max(at_once) <= GENERATION_SLOTS, worker
    assert router.count == 200
    assert_promise_kept(queue, router)


def test_a_user_with_many_delays_nobodys_first(queue: Deployment, router: RouterFake, user: str) -> None:
    few = 5
    users = [f"{user}-{name}" for name in ("many", "one", "two", "three")]
    many, *others = users
    bulk, urgent = f"{user}-bulk", f"{user}-urgent"
    with queue.client(many) as client:
        order(client, 150)
    for other in others:
        with queue.client(other) as client:
            order(client, few)
    with queue.client(bulk) as client:
        order(client, few, priority=GenerationPriority.GENERATION_PRIORITY_BULK)
    with queue.client(urgent) as client:
        order(client, few, priority=GenerationPriority.GENERATION_PRIORITY_INTERACTIVE)
    for _ in range(WORKERS):
        queue.start_worker()
    wait_until(lambda: all_ended(queue), 120.0)

    owners = {row["id"]: row["user_id"] for row in queue.rows("avatar_generations")}
    attempts = sorted(queue.rows("generation_attempts"), key=lambda row: row["start_time"])
    turns = [owners[attempt["generation_id"]] for attempt in attempts]
    places = defaultdict(list)
    for place, owner in enumerate(turns):
        places[owner].append(place)
    # As many claims may go on side by side as there are slots, and their times are taken before their turns.
    slack = WORKERS * GENERATION_SLOTS
    assert max(places[urgent]) < few + slack
    for other in others:
        for nth, place in enumerate(places[other]):
            assert place < few + (nth + 1) * len(users) + slack, (nth, place)
    assert min(places[bulk]) >= len(turns) - few - slack
    assert len(turns) == 150 + 5 * few
    assert_promise_kept(queue, router)


def test_workers_that_freeze_in_their_claims_keep_nobody_from_what_is_urgent(
    queue: Deployment, router: RouterFake, user: str
) -> None:
    with queue.client(f"{user}-bulk") as client:
        order(client, 5, priority=GenerationPriority.GENERATION_PRIORITY_BULK)
    with queue.client(user) as client:
        order(client, 12, priority=GenerationPriority.GENERATION_PRIORITY_INTERACTIVE)
    frozen = []
    for _ in range(2):
        # In its transaction: the first has locked its user's turn too, the second only a generation.
        fault = "suspend before avatar_creator_server.database.models.generation:GenerationAttempt.create"
        frozen.append(queue.start_worker(fault=fault))
        wait_until(frozen[-1].is_suspended, 20.0)

    free = queue.execute(
        "SELECT id FROM avatar_generations WHERE priority = 0 AND state = 'pending' FOR UPDATE SKIP LOCKED"
    )
    # Each may have been at two claims, and has locked no more than it was about to take.
    assert 12 - 2 * GENERATION_SLOTS <= len(free) < 12
    queue.start_worker()
    wait_until(
        lambda: queue.execute("SELECT 1 FROM avatar_generations WHERE state = 'completed' AND priority = 2"),
        30.0,
    )
    claimed = queue.execute(
        "SELECT priority FROM avatar_generations g JOIN generation_attempts a ON a.generation_id = g.id"
        " ORDER BY a.start_time"
    )
    # Its other slot may take the first of the rest while the last urgent one is being taken.
    assert [row["priority"] for row in claimed[: len(free) + 1]].count(0) >= len(free)
    for worker in frozen:
        worker.resume()
    # What a frozen one held is free again at the latest when the database has given it up.
    wait_until(lambda: all_ended(queue), 60.0)
    assert_promise_kept(queue, router)
