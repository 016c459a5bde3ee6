"""Workers killed or frozen during a generation, a generation longer than its lease, and repeated messages."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import pytest
import redis

from avatar_creator import AttemptOutcome, AvatarCreator, ErrorReason, Generation
from avatar_creator_server.generations.leases import LEASE
from avatar_creator_server.shared.worker_notifier import GENERATION_TASK, JOB_TASK
from tests.support.generations import COMPLETED, FAILED, PROCESSING, SMALLEST, make_due, outcomes, row_of
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.presence import present
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

WORKER_LOST = AttemptOutcome.WORKER_LOST
SUCCEEDED = AttemptOutcome.SUCCEEDED
BEFORE_COMMIT = "before avatar_creator_server.generations.leases:GenerationLeases.complete"
WHILE_DRAWING = "before avatar_creator_tasks.providers.huggingface.fal_queue:FalQueue._status"


def create_generation(client: AvatarCreator, project_name: str) -> Generation:
    project = client.projects.create(project_name)
    return client.generations.create(project.id, "a busy woman", width=SMALLEST, height=SMALLEST).generation


@pytest.mark.parametrize("moment", [BEFORE_COMMIT, pytest.param(WHILE_DRAWING, marks=pytest.mark.slow)])
def test_a_worker_that_wakes_up_after_its_lease_expired_changes_nothing(
    hosted: Deployment, router: RouterFake, user: str, moment: str
) -> None:
    hosted.start_server()
    frozen = hosted.start_worker(fault=f"suspend {moment}")
    with hosted.client(user) as client:
        generation = create_generation(client, "Frozen")
        wait_until(frozen.is_suspended, 20.0)
        hosted.start_worker()
        # The database ends the session of the frozen worker after a while, which unlocks its rows.
        wait_until(lambda: make_due(hosted, generation.id, attempt=1))
        completed = Watcher(client, generation.id).states()[-1]
        assert completed.state == COMPLETED

        frozen.resume()
        wait_until(lambda: generation.id in {lost["generation"] for lost in frozen.events("lease_ended")})

        assert client.generations.get(generation.id) == completed
        assert outcomes(client, generation.id) == [WORKER_LOST, SUCCEEDED]
        assert router.count == 1
        assert_promise_kept(hosted, router, outcomes_seen=[completed])
        assert frozen.exit_code() is None, "the worker has stopped"


@pytest.mark.slow
def test_an_embedded_service_that_wakes_up_after_its_lease_expired_submits_once(
    hosted_embedded: Deployment, router: RouterFake, user: str
) -> None:
    frozen = hosted_embedded.start_server(fault=f"suspend {BEFORE_COMMIT}")
    with hosted_embedded.client(user) as client:
        generation = create_generation(client, "Laptop lid")
        watcher = Watcher(client, generation.id)
        wait_until(frozen.is_suspended, 20.0)
        assert make_due(hosted_embedded, generation.id, attempt=1)
        frozen.resume()

        # The other slot of the same process may have claimed the generation.
        last = watcher.states()[-1]
        assert last.state == COMPLETED
        assert router.count == 1
        assert_promise_kept(hosted_embedded, router, outcomes_seen=[last])


@pytest.mark.slow
def test_a_generation_that_kills_its_workers_fails(hosted: Deployment, router: RouterFake, user: str) -> None:
    hosted.start_server()
    with hosted.client(user) as client:
        generation = create_generation(client, "Deadly")
        watcher = Watcher(client, generation.id)
        for attempt in range(1, 4):
            worker = hosted.start_worker(fault=f"kill {BEFORE_COMMIT}")
            assert worker.wait(20.0) == -signal.SIGKILL
            assert make_due(hosted, generation.id, attempt=attempt)
        hosted.start_worker()
        failed = watcher.states()[-1]

        assert failed.state == FAILED
        assert present(failed.error).reason == ErrorReason.WORKER_LOST
        assert outcomes(client, generation.id) == [WORKER_LOST] * 3
        assert router.count == 1
        assert_promise_kept(hosted, router, outcomes_seen=[failed])


@pytest.mark.parametrize("mode", ["hosted", "hosted_embedded"])
@pytest.mark.slow
def test_a_generation_longer_than_its_lease_stays_with_its_worker(
    request: pytest.FixtureRequest, router: RouterFake, user: str, mode: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    router.behave(always=Behavior(hold=True))
    deployment.start()
    if not deployment.is_embedded:
        deployment.start_worker()
    with deployment.client(user) as client:
        generation = create_generation(client, "Long")
        watcher = Watcher(client, generation.id)
        watcher.wait_for(lambda state: state.state == PROCESSING)
        claimed = datetime.now(UTC)

        def lease_renewed() -> bool:
            return bool(
                row_of(deployment, generation.id)["due_time"] > claimed + LEASE + timedelta(seconds=5)
            )

        wait_until(lease_renewed, LEASE.total_seconds() * 2)
        wait_until(lambda: datetime.now(UTC) > claimed + LEASE + timedelta(seconds=1), 20.0)
        router.finish()
        last = watcher.states()[-1]

        assert last.state == COMPLETED
        assert outcomes(client, generation.id) == [SUCCEEDED]
        assert router.count == 1
        assert_promise_kept(deployment, router, outcomes_seen=[last])


def test_a_job_message_sent_two_hundred_times_runs_the_generation_once(
    hosted: Deployment, router: RouterFake, redis_url: str, user: str
) -> None:
    hosted.start_server()
    with hosted.client(user) as client, redis.Redis.from_url(redis_url) as connection:
        generation = create_generation(client, "Woken")
        [(_, message)] = connection.xrange(GENERATION_TASK)
        for stream in (GENERATION_TASK, JOB_TASK):
            for _ in range(100):
                connection.xadd(stream, message)
        hosted.start_worker()
        hosted.start_worker()
        last = Watcher(client, generation.id).states()[-1]
        wait_until(lambda: connection.xlen(GENERATION_TASK) == connection.xlen(JOB_TASK) == 0)

        assert last.state == COMPLETED
        assert outcomes(client, generation.id) == [SUCCEEDED]
        assert router.count == 1
        assert_promise_kept(hosted, router, outcomes_seen=[last])
