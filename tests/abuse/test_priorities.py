"""Users keep the queue full of interactive generations: another user's first less urgent one starts soon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from avatar_creator import AvatarCreator, GenerationPriority
from avatar_creator_tasks.worker import GENERATION_SLOTS
from tests.abuse.witness import Witness
from tests.support.generations import CANCELLED, COMPLETED, FAILED, SMALLEST, final_state
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

ATTACKERS = 3
WAITING = 20
"""Number of interactive generations that each attacker keeps in the queue."""
CLAIMS_PER_TURN = 4
"""One of so many claims of a worker is for a user who waits."""

ENDED = (COMPLETED, FAILED, CANCELLED)


class Attacker:
    """A user who keeps the queue full of interactive generations."""

    def __init__(self, client: AvatarCreator) -> None:
        self._client = client
        self._project_id = client.projects.create("Flood").id
        self.created = 0

    def flood(self, stop: threading.Event) -> None:
        """Create a generation for each one that has ended, until `stop` is set."""
        while not stop.is_set():
            counts = self._client.usage.stats().generations
            ended = sum(
                count.generation_count for count in counts if count.state in (COMPLETED, FAILED, CANCELLED)
            )
            if self.created - ended >= WAITING:
                stop.wait(0.02)
                continue
            self._client.generations.create(
                self._project_id,
                "a portrait",
                width=SMALLEST,
                height=SMALLEST,
                priority=GenerationPriority.INTERACTIVE,
            )
            self.created += 1


@pytest.fixture(params=["embedded", "distributed"])
def service(request: pytest.FixtureRequest) -> Deployment:
    """A running service of this test only, without a limit on a day's generations."""
    service: Deployment = request.getfixturevalue(request.param)
    service.settings |= {"GENERATION_LIMIT_PER_DAY": "0", "BULK_WAIT_SECONDS": "2"}
    service.start()
    return service


@pytest.fixture
def flooded(service: Deployment) -> Iterator[Deployment]:
    """The service, with a worker whose queue never is empty."""
    with flooding(service):
        yield service


@contextmanager
def flooding(deployment: Deployment) -> Iterator[None]:
    """Keep the queue full while the context is open."""
    stop = threading.Event()
    clients = [deployment.client(f"attacker-{number}") for number in range(ATTACKERS)]
    attackers = [Attacker(client) for client in clients]
    threads = [threading.Thread(target=attacker.flood, args=(stop,), daemon=True) for attacker in attackers]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(attacker.created > WAITING for attacker in attackers), 60.0)
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


def claims_before(deployment: Deployment, generation_id: str, *, since: str) -> int:
    """Return the number of claims between a time of a generation and its first claim."""
    [row] = deployment.execute(
        "SELECT COUNT(*) AS number FROM generation_attempts, avatar_generations AS waiting"
        f" WHERE waiting.id = %s AND generation_attempts.start_time > {since}"
        " AND generation_attempts.start_time < waiting.start_time",
        generation_id,
    )
    return int(row["number"])


def test_a_first_normal_generation_starts_after_a_few_claims(flooded: Deployment) -> None:
    with flooded.client("witness") as client:
        project = client.projects.create("Quiet")
        for _ in range(3):
            generation = final_state(
                client.generations.create(project.id, "a portrait", width=SMALLEST, height=SMALLEST)
            )

            claims = claims_before(flooded, generation.id, since="waiting.create_time")
            assert claims <= CLAIMS_PER_TURN + GENERATION_SLOTS


def test_a_first_bulk_generation_starts_after_its_wait(flooded: Deployment) -> None:
    with flooded.client("witness") as client:
        project = client.projects.create("Quiet")
        started = client.generations.create(
            project.id,
            "a portrait",
            width=SMALLEST,
            height=SMALLEST,
            priority=GenerationPriority.BULK,
        )
        *_, generation = client.generations.watch(started.id, timeout=60)

        waited = present(generation.start_time) - generation.create_time
        assert waited.total_seconds() >= 2
        # Claims begin during the two seconds and end soon after them.
        all_claims = claims_before(flooded, generation.id, since="waiting.create_time")
        in_two_seconds = all_claims * 2 / waited.total_seconds()
        assert all_claims - in_two_seconds <= CLAIMS_PER_TURN + GENERATION_SLOTS


def test_another_user_reads_as_fast_as_before(service: Deployment) -> None:
    with Witness(service) as witness:
        quiet = witness.quiet_median()

        with flooding(service), witness.reading() as reads:
            wait_until(lambda: len(reads.seconds) > 200, 60.0)

    reads.assert_hardly_slower(quiet)
