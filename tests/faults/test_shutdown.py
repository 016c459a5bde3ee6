"""SIGTERM of an idle worker, and of workers whose generation ends within the grace period or later."""

from __future__ import annotations

import signal

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator, Generation
from tests.support.generations import COMPLETED, PENDING, PROCESSING, SMALLEST, outcomes
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.locked_table import is_waited_for, locked_table
from tests.support.promise import assert_promise_kept
from tests.support.redis import OwnRedis
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

RELEASED = AttemptOutcome.RELEASED
SUCCEEDED = AttemptOutcome.SUCCEEDED


def create_generation(client: AvatarCreator) -> Generation:
    project = client.projects.create("Orderly")
    return client.generations.create(project.id, "a busy woman", width=SMALLEST, height=SMALLEST).generation


def start_working(deployment: Deployment, **settings: str) -> ServiceProcess:
    """Start the service and return the process that runs generations."""
    server = deployment.start_server(**settings)
    return server if deployment.is_embedded else deployment.start_worker(**settings)


def test_an_idle_worker_exits_with_0_without_waiting_for_redis(
    distributed: Deployment, own_redis: OwnRedis
) -> None:
    worker = distributed.start_worker(REDIS_URL=own_redis.url())
    # The worker's blocked read of Redis is never answered.
    own_redis.suspend()

    assert worker.terminate() == 0

    own_redis.resume()
    assert "Traceback" not in worker.output()


def test_a_claim_that_outlasts_the_grace_period_returns_its_generation_to_the_queue(
    distributed: Deployment, user: str
) -> None:
    distributed.start_server()
    worker = distributed.start_worker(SHUTDOWN_GRACE_SECONDS="0.1")
    with distributed.client(user) as client:
        with locked_table(distributed, "generation_attempts"):
            generation = create_generation(client)
            wait_until(lambda: is_waited_for(distributed, "generation_attempts"))
            worker.send(signal.SIGTERM)
            worker.wait_for_output("slots_cancelled")
        assert worker.wait(20.0) == 0

        assert "Traceback" not in worker.output()
        assert client.generations.get(generation.id).state == PENDING
        assert outcomes(client, generation.id) == [RELEASED]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hosted", "hosted_embedded"])
def test_a_generation_that_ends_within_the_grace_period_is_finished(
    request: pytest.FixtureRequest, router: RouterFake, user: str, mode: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    router.behave(always=Behavior(hold=True))
    worker = start_working(deployment)
    with deployment.client(user) as client:
        generation = create_generation(client)
        waiting = [create_generation(client) for _ in range(2)]
        router.wait_until_polled(2)
        assert router.count == 2
        worker.send(signal.SIGTERM)
        worker.wait_for_output("worker_stopping")
        router.finish()
        assert worker.wait(20.0) == 0
        assert "Traceback" not in worker.output()
        rows = {row["id"]: row["state"] for row in deployment.rows("avatar_generations")}
        assert rows[generation.id] == "completed"
        assert rows[waiting[-1].id] == "pending", "the stopping worker started another generation"

        start_working(deployment)
        wait_until(lambda: router.count == 3)
        router.finish()
        last_states = [Watcher(client, each.id).states()[-1] for each in (generation, *waiting)]
        assert {last.state for last in last_states} == {COMPLETED}
        assert_promise_kept(deployment, router, outcomes_seen=last_states)


@pytest.mark.parametrize("mode", ["hosted", pytest.param("hosted_embedded", marks=pytest.mark.slow)])
def test_an_unfinished_generation_returns_to_the_queue_with_its_request(
    request: pytest.FixtureRequest, router: RouterFake, user: str, mode: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    router.behave(always=Behavior(hold=True))
    worker = start_working(deployment, SHUTDOWN_GRACE_SECONDS="0.5")
    with deployment.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        watcher.wait_for(lambda state: state.state == PROCESSING)
        router.wait_until_polled()

        assert worker.terminate() == 0
        assert "Traceback" not in worker.output()
        (row,) = deployment.rows("avatar_generations")
        assert (row["state"], row["retry_count"], row["release_count"]) == ("pending", 0, 1)

        start_working(deployment)
        router.finish()
        states = watcher.states()
        assert outcomes(client, generation.id) == [RELEASED, SUCCEEDED]

    assert states[-1].state == COMPLETED
    if not deployment.is_embedded:
        assert any(state.state == PENDING and state.attempt_number == 1 for state in states)
    assert router.count == 1, "the second worker submitted the request again"
    assert_promise_kept(deployment, router, outcomes_seen=states[-1:])
