"""Several workers on one queue: the share of each, its parallel generations, and the turns of users."""

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


def create_generations(client: AvatarCreator, number: int, **options: Any) -> list[str]:
    project = client.projects.create("Many")

    def create(_: int) -> str:
        return client.generations.create(
            project.id, "a woman", width=SMALLEST, height=SMALLEST, timeout=60.0, **options
        ).id

    with Threads(8) as callers:
        return callers.map(create, range(number))


@pytest.fixture
def queue(hosted: Deployment, router: RouterFake) -> Deployment:
    """A service without a worker that accepts any number of generations."""
    hosted.settings |= {"GENERATION_LIMIT_CONCURRENT": "0", "SPEND_LIMIT_PER_DAY": "0"}
    router.behave(always=Behavior(run_seconds=0.5))
    hosted.start_server()
    return hosted


def test_four_workers_share_two_hundred_generations_with_two_at_once_each(
    queue: Deployment, router: RouterFake, user: str
) -> None:
    for _ in range(WORKERS):
        queue.start_worker()
    with queue.client(user) as client:
        create_generations(client, 200)
    wait_until(lambda: all_ended(queue), 120.0)

    spans = defaultdict(list)
    for attempt in queue.rows("generation_attempts"):
        spans[attempt["worker"]].append((attempt["start_time"], attempt["end_time"]))
    assert len(spans) == WORKERS, "a worker received no generation"
    for worker, own_spans in spans.items():
        parallel = [sum(start <= moment < end for start, end in own_spans) for moment, _ in own_spans]
        assert max(parallel) <= GENERATION_SLOTS, worker
    assert router.count == 200
    assert_promise_kept(queue, router)


def test_a_user_with_many_generations_does_not_delay_the_first_one_of_others(
    queue: Deployment, router: RouterFake, user: str
) -> None:
    few = 5
    users = [f"{user}-{name}" for name in ("many", "first", "second", "third")]
    many, *others = users
    bulk, urgent = f"{user}-bulk", f"{user}-urgent"
    with queue.client(many) as client:
        create_generations(client, 150)
    for other in others:
        with queue.client(other) as client:
            create_generations(client, few)
    with queue.client(bulk) as client:
        create_generations(client, few, priority=GenerationPriority.BULK)
    with queue.client(urgent) as client:
        create_generations(client, few, priority=GenerationPriority.INTERACTIVE)
    for _ in range(WORKERS):
        queue.start_worker()
    wait_until(lambda: all_ended(queue), 120.0)

    owners = {row["id"]: row["user_id"] for row in queue.rows("avatar_generations")}
    attempts = sorted(queue.rows("generation_attempts"), key=lambda row: row["start_time"])
    turns = [owners[attempt["generation_id"]] for attempt in attempts]
    places = defaultdict(list)
    for place, owner in enumerate(turns):
        places[owner].append(place)
    # Claims of all slots can run at the same time, and each takes its start time before its turn.
    slack = WORKERS * GENERATION_SLOTS
    assert max(places[urgent]) < few + slack
    for other in others:
        for nth, place in enumerate(places[other]):
            assert place < few + (nth + 1) * len(users) + slack, (nth, place)
    assert min(places[bulk]) >= len(turns) - few - slack
    assert len(turns) == 150 + 5 * few
    assert_promise_kept(queue, router)


def test_workers_that_freeze_while_claiming_do_not_delay_urgent_generations(
    queue: Deployment, router: RouterFake, user: str
) -> None:
    with queue.client(f"{user}-bulk") as client:
        create_generations(client, 5, priority=GenerationPriority.BULK)
    with queue.client(user) as client:
        create_generations(client, 12, priority=GenerationPriority.INTERACTIVE)
    frozen = []
    for _ in range(2):
        # The worker freezes in its transaction. The first one has also locked its user's turn, the second one
        # only a generation.
        fault = "suspend after avatar_creator_server.generations.leases:GenerationLeases._claim found"
        frozen.append(queue.start_worker(fault=fault))
        wait_until(frozen[-1].is_suspended, 20.0)

    free = queue.execute(
        "SELECT id FROM avatar_generations WHERE priority = 0 AND state = 'pending' FOR UPDATE SKIP LOCKED"
    )
    # Each frozen worker may run two claims, and has locked only the generations of these claims.
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
    # Its other slot may claim the first bulk generation during the claim of the last urgent one.
    assert [row["priority"] for row in claimed[: len(free) + 1]].count(0) >= len(free)
    for worker in frozen:
        worker.resume()
    # The database releases the locks of a frozen worker at the latest when it ends the session.
    wait_until(lambda: all_ended(queue), 60.0)
    assert_promise_kept(queue, router)
