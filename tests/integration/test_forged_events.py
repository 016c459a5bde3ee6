"""Anything with access to Redis can publish. A forged event shows no state, and ends no watch."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from avatar_creator import AvatarCreator, Generation, GenerationState
from avatar_creator.v1.generation_pb2 import GenerationState as GenerationMessageState
from avatar_creator_server.generations.events import ChangeHint
from avatar_creator_server.shared.event_bus import (
    GENERATION_CANCELLED,
    GENERATION_CHANGED,
    PROJECT_DELETED,
    THUMBNAIL_READY,
)
from avatar_creator_server.shared.worker_notifier import GENERATION_TASK, JOB_TASK
from tests.support.background import InBackground
from tests.support.generations import CANCELLED, COMPLETED, PENDING
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

TOPICS = (GENERATION_CHANGED, GENERATION_CANCELLED, PROJECT_DELETED, THUMBNAIL_READY)
LATEST = 2**60
FORGED_PER_ROUND = 100


@pytest.fixture
def client(without_worker: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of the server."""
    with without_worker.client(user) as opened:
        yield opened


@pytest.fixture
def generation(client: AvatarCreator) -> Generation:
    """A pending generation."""
    return client.generations.create(client.projects.create("Forged").id, "a calm man").generation


@pytest.fixture
def connection(without_worker: Deployment) -> Iterator[redis.Redis]:
    """A connection of someone who knows the address of Redis."""
    with redis.Redis.from_url(without_worker.settings["REDIS_URL"]) as opened:
        yield opened


def completed(generation: Generation) -> bytes:
    """Return the state of the generation as if it were complete."""
    forged = generation.message
    forged.revision, forged.state = LATEST, GenerationMessageState.GENERATION_STATE_COMPLETED
    return forged.SerializeToString()


FORGERIES: dict[str, Callable[[redis.Redis, Generation], object]] = {
    "a later revision": lambda connection, generation: connection.publish(
        GENERATION_CHANGED, ChangeHint(generation.id, generation.project_id, "", LATEST).encode()
    ),
    "a completed state": lambda connection, generation: connection.publish(
        GENERATION_CHANGED, completed(generation)
    ),
    "an unknown generation of the project": lambda connection, generation: connection.publish(
        GENERATION_CHANGED, ChangeHint("unknown", generation.project_id, generation.user_id, 1).encode()
    ),
    "a number that is none": lambda connection, generation: connection.publish(
        GENERATION_CHANGED, f"{generation.id}\n{generation.project_id}\n{generation.user_id}\nlast".encode()
    ),
    "the project deleted": lambda connection, generation: connection.publish(
        PROJECT_DELETED, f"{generation.project_id}\n{generation.id}"
    ),
    "cancelled": lambda connection, generation: connection.publish(GENERATION_CANCELLED, generation.id),
    "bytes": lambda connection, generation: [
        connection.publish(topic, secrets.token_bytes(64)) for topic in TOPICS
    ],
    "nothing": lambda connection, generation: [connection.publish(topic, b"") for topic in TOPICS],
    "much": lambda connection, generation: [
        connection.publish(topic, b"x\n" * 1_000_000) for topic in TOPICS
    ],
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_event_changes_nothing_for_a_watcher(
    client: AvatarCreator,
    generation: Generation,
    connection: redis.Redis,
    forgery: Callable[[redis.Redis, Generation], object],
) -> None:
    watcher = Watcher(client, generation.id)
    of_project: list[GenerationState] = []
    watching = InBackground(lambda: follow_until_cancelled(client, generation.project_id, of_project))
    watcher.wait_for(lambda state: state.state == PENDING)
    wait_until(lambda: of_project)

    forgery(connection, generation)
    client.generations.cancel(generation.id)

    assert [state.state for state in watcher.states()] == [PENDING, CANCELLED]
    watching.outcome()
    assert of_project[-1] == CANCELLED


def follow_until_cancelled(client: AvatarCreator, project_id: str, states: list[GenerationState]) -> None:
    """Watch the project until one of its generations is cancelled, and add each received state."""
    for state in client.generations.watch_many(project=project_id):
        states.append(state.state)
        if state.state == CANCELLED:
            return


def test_a_flood_of_forged_events_causes_few_queries(
    without_worker: Deployment, client: AvatarCreator, generation: Generation, connection: redis.Redis
) -> None:
    watcher = Watcher(client, generation.id)
    watcher.wait_for(lambda state: state.state == PENDING)
    transactions = "SELECT xact_commit AS number FROM pg_stat_database WHERE datname = current_database()"

    with flood(connection, generation) as published:
        ((before,), first) = ([row["number"] for row in without_worker.execute(transactions)], len(published))
        wait_until(lambda: len(published) - first >= 100 * FORGED_PER_ROUND, 60.0)
        client.generations.cancel(generation.id)
        last = watcher.states()[-1]
    (after,) = (row["number"] for row in without_worker.execute(transactions))

    assert last.state == CANCELLED
    assert after - before < (len(published) - first) / 20


@contextmanager
def flood(connection: redis.Redis, generation: Generation) -> Iterator[list[int]]:
    """Publish forged events of all kinds on a thread, and yield a list that grows with each."""
    published: list[int] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            with connection.pipeline(transaction=False) as pipeline:
                for number in range(FORGED_PER_ROUND // 4):
                    forged = ChangeHint(f"forged-{number}", generation.project_id, generation.user_id, LATEST)
                    pipeline.publish(GENERATION_CHANGED, forged.encode())
                    hint = ChangeHint(generation.id, generation.project_id, "", LATEST + number)
                    pipeline.publish(GENERATION_CHANGED, hint.encode())
                    pipeline.publish(PROJECT_DELETED, f"{generation.project_id}\n{generation.id}")
                    pipeline.publish(GENERATION_CANCELLED, generation.id)
                pipeline.execute()
            published.extend(range(FORGED_PER_ROUND))

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    try:
        yield published
    finally:
        stop.set()
        thread.join()


def test_a_worker_completes_a_generation_under_forged_cancellations_and_wake_ups(
    without_worker: Deployment, client: AvatarCreator, generation: Generation, connection: redis.Redis
) -> None:
    def wake_up_with_nonsense() -> None:
        for stream in (GENERATION_TASK, JOB_TASK):
            for _ in range(50):
                connection.xadd(stream, {"data": secrets.token_bytes(32), "nonsense": "x"})

    wake_up_with_nonsense()
    worker = without_worker.start_worker()
    try:
        with flood(connection, generation):
            assert Watcher(client, generation.id).states()[-1].state == COMPLETED

        assert client.generations.get(generation.id).attempt_number == 1
        assert worker.exit_code() is None
    finally:
        worker.close()
