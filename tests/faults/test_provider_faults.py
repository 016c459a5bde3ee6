"""A provider that fails, refuses, asks for patience and dies, and a service that is restarted meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator, ErrorReason, Generation
from tests.support.generations import COMPLETED, FAILED, PENDING, SMALLEST, make_due, outcomes, row_of
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

pytestmark = pytest.mark.slow

RETRYABLE = AttemptOutcome.ATTEMPT_OUTCOME_RETRYABLE
FATAL = AttemptOutcome.ATTEMPT_OUTCOME_FATAL
SUCCEEDED = AttemptOutcome.ATTEMPT_OUTCOME_SUCCEEDED

BUSY = Fault(stage="submit", status=503)


@pytest.fixture(params=["hosted", "hosted_embedded"])
def service(request: pytest.FixtureRequest) -> Deployment:
    """A running service that draws through the fake."""
    deployment: Deployment = request.getfixturevalue(request.param)
    deployment.start()
    return deployment


def order(client: AvatarCreator) -> Generation:
    project = client.projects.create("Failing")
    return client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)


def waiting_after(deployment: Deployment, generation_id: str, attempt: int) -> timedelta:
    """Until it waits for the next attempt after this one: how long it waits, to the microsecond."""

    def waiting() -> dict[str, Any] | None:
        row = row_of(deployment, generation_id)
        return row if (row["state"], row["attempt_number"]) == ("pending", attempt) else None

    row = wait_until(waiting, 20.0)
    [ended] = deployment.execute(
        "SELECT end_time FROM generation_attempts WHERE generation_id = %s AND attempt_number = %s",
        generation_id,
        attempt,
    )
    wait: timedelta = row["due_time"] - ended["end_time"]
    return wait


def test_it_fails_twice_and_then_succeeds(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(BUSY, BUSY)
    with service.client(user) as client:
        generation = order(client)
        watcher = Watcher(client, generation.id)
        for attempt, seconds in ((1, 10), (2, 100)):
            assert waiting_after(service, generation.id, attempt) == timedelta(seconds=seconds)
            assert make_due(service, generation.id, attempt=attempt)
        last = watcher.states()[-1]

        assert (last.state, last.retry_count) == (COMPLETED, 2)
        assert outcomes(client, generation.id) == [RETRYABLE, RETRYABLE, SUCCEEDED]
        assert router.count == 3
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_everything_is_killed_while_it_waits_a_thousand_seconds(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(BUSY, BUSY, BUSY)
    with service.client(user) as client:
        generation = order(client)
        watcher = Watcher(client, generation.id)
        for attempt in (1, 2):
            waiting_after(service, generation.id, attempt)
            assert make_due(service, generation.id, attempt=attempt)
        assert waiting_after(service, generation.id, 3) == timedelta(seconds=1000)
        before = row_of(service, generation.id)
        for process in (*service.servers, *service.workers):
            process.kill()

        service.start()

        other = client.generations.create_and_wait(
            client.projects.create("Meanwhile").id, "a man", width=SMALLEST, height=SMALLEST, timeout=20.0
        )
        assert other.state == COMPLETED
        assert row_of(service, generation.id) == before, "its time has not come"
        assert client.generations.get(generation.id).state == PENDING
        assert make_due(service, generation.id, attempt=3)
        last = watcher.states(30.0)[-1]

        assert (last.state, last.retry_count) == (COMPLETED, 3)
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_the_retries_are_spent(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(always=BUSY)
    with service.client(user) as client:
        generation = order(client)
        watcher = Watcher(client, generation.id)
        for attempt in (1, 2, 3):
            waiting_after(service, generation.id, attempt)
            assert make_due(service, generation.id, attempt=attempt)
        last = watcher.states()[-1]

        assert (last.state, last.retry_count) == (FAILED, 3)
        assert last.error.reason == ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE
        assert outcomes(client, generation.id) == [RETRYABLE] * 4
        assert router.count == 4
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_a_refusal_is_never_tried_again(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(always=Fault(stage="result", status=422, error_type="content_policy_violation"))
    with service.client(user) as client:
        generation = order(client)
        last = Watcher(client, generation.id).states()[-1]

        assert (last.state, last.retry_count) == (FAILED, 0)
        assert last.error.reason == ErrorReason.ERROR_REASON_PROVIDER_CONTENT_REFUSED
        assert outcomes(client, generation.id) == [FATAL]
        assert router.count == 1
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_the_provider_asks_for_patience(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(Fault(stage="submit", status=429, retry_after=50))
    with service.client(user) as client:
        generation = order(client)
        watcher = Watcher(client, generation.id)
        assert waiting_after(service, generation.id, 1) == timedelta(seconds=50)
        assert make_due(service, generation.id, attempt=1)
        last = watcher.states()[-1]

        assert last.state == COMPLETED
        assert router.count == 2
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_the_provider_dies_and_comes_back_without_the_request(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    with service.client(user) as client:
        generation = order(client)
        watcher = Watcher(client, generation.id)
        router.wait_until_polled()
        router.kill()
        router.restart()
        waiting_after(service, generation.id, 1)
        assert make_due(service, generation.id, attempt=1)
        states = watcher.states()

        assert states[-1].state == COMPLETED
        first, second = client.generations.attempts(generation.id)
        assert first.outcome == RETRYABLE
        assert first.possibly_charged, "nobody knows what became of it"
        assert second.outcome == SUCCEEDED
        assert first.provider_request_id != second.provider_request_id
        assert router.count == 1, "one since it came back"
