"""A provider that fails, refuses, asks for a delay or dies, and a service that restarts during a retry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator, ErrorReason, Generation
from tests.support.generations import (
    COMPLETED,
    FAILED,
    PENDING,
    SMALLEST,
    final_state,
    make_due,
    outcomes,
    row_of,
)
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.presence import present
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

pytestmark = pytest.mark.slow

RETRYABLE = AttemptOutcome.RETRYABLE
FATAL = AttemptOutcome.FATAL
SUCCEEDED = AttemptOutcome.SUCCEEDED

BUSY = Fault(stage="submit", status=503)


@pytest.fixture(params=["hosted", "hosted_embedded"])
def service(request: pytest.FixtureRequest) -> Deployment:
    """A running service that draws through the fake router."""
    deployment: Deployment = request.getfixturevalue(request.param)
    deployment.start()
    return deployment


def create_generation(client: AvatarCreator) -> Generation:
    project = client.projects.create("Failing")
    return client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST).generation


def wait_for_backoff(deployment: Deployment, generation_id: str, attempt: int) -> timedelta:
    """Wait until this attempt has failed; return the time from its end to the next attempt."""

    def backing_off() -> dict[str, Any] | None:
        row = row_of(deployment, generation_id)
        return row if (row["state"], row["attempt_number"]) == ("pending", attempt) else None

    row = wait_until(backing_off, 20.0)
    [finished] = deployment.execute(
        "SELECT end_time FROM generation_attempts WHERE generation_id = %s AND attempt_number = %s",
        generation_id,
        attempt,
    )
    backoff: timedelta = row["due_time"] - finished["end_time"]
    return backoff


def test_a_generation_succeeds_after_two_provider_failures(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(BUSY, BUSY)
    with service.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        for attempt, seconds in ((1, 10), (2, 100)):
            assert wait_for_backoff(service, generation.id, attempt) == timedelta(seconds=seconds)
            assert make_due(service, generation.id, attempt=attempt)
        last = watcher.states()[-1]

        assert (last.state, last.retry_count) == (COMPLETED, 2)
        assert outcomes(client, generation.id) == [RETRYABLE, RETRYABLE, SUCCEEDED]
        assert router.count == 3
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_a_retry_in_a_thousand_seconds_survives_the_death_of_all_processes(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(BUSY, BUSY, BUSY)
    with service.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        for attempt in (1, 2):
            wait_for_backoff(service, generation.id, attempt)
            assert make_due(service, generation.id, attempt=attempt)
        assert wait_for_backoff(service, generation.id, 3) == timedelta(seconds=1000)
        before = row_of(service, generation.id)
        for process in (*service.servers, *service.workers):
            process.kill()

        service.start()

        other = final_state(
            client.generations.create(
                client.projects.create("Other").id, "a man", width=SMALLEST, height=SMALLEST
            )
        )
        assert other.state == COMPLETED
        assert row_of(service, generation.id) == before, "the generation changed before its retry was due"
        assert client.generations.get(generation.id).state == PENDING
        assert make_due(service, generation.id, attempt=3)
        last = watcher.states(30.0)[-1]

        assert (last.state, last.retry_count) == (COMPLETED, 3)
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_a_generation_fails_after_its_last_retry(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(always=BUSY)
    with service.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        for attempt in (1, 2, 3):
            wait_for_backoff(service, generation.id, attempt)
            assert make_due(service, generation.id, attempt=attempt)
        last = watcher.states()[-1]

        assert (last.state, last.retry_count) == (FAILED, 3)
        assert present(last.error).reason == ErrorReason.PROVIDER_UNAVAILABLE
        assert outcomes(client, generation.id) == [RETRYABLE] * 4
        assert router.count == 4
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_a_refusal_is_never_retried(service: Deployment, router: RouterFake, user: str) -> None:
    router.behave(always=Fault(stage="result", status=422, error_type="content_policy_violation"))
    with service.client(user) as client:
        generation = create_generation(client)
        last = Watcher(client, generation.id).states()[-1]

        assert (last.state, last.retry_count) == (FAILED, 0)
        assert present(last.error).reason == ErrorReason.PROVIDER_CONTENT_REFUSED
        assert outcomes(client, generation.id) == [FATAL]
        assert router.count == 1
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_a_retry_waits_as_long_as_the_provider_requests(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(Fault(stage="submit", status=429, retry_after=50))
    with service.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        assert wait_for_backoff(service, generation.id, 1) == timedelta(seconds=50)
        assert make_due(service, generation.id, attempt=1)
        last = watcher.states()[-1]

        assert last.state == COMPLETED
        assert router.count == 2
        assert_promise_kept(service, router, outcomes_seen=[last])


def test_a_request_that_the_provider_lost_is_submitted_again(
    service: Deployment, router: RouterFake, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    with service.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        router.wait_until_polled()
        router.kill()
        router.restart()
        wait_for_backoff(service, generation.id, 1)
        assert make_due(service, generation.id, attempt=1)
        states = watcher.states()

        assert states[-1].state == COMPLETED
        first, second = client.generations.attempts(generation.id)
        assert first.outcome == RETRYABLE
        assert first.possibly_charged, "a lost request must count as possibly charged"
        assert second.outcome == SUCCEEDED
        assert first.provider_request_id != second.provider_request_id
        assert router.count == 1, "the restarted provider must receive one submission"
