"""Cancellation at every stage of a generation, and fifty calls that create the same generation."""

from __future__ import annotations

from uuid import uuid4

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator, FailedPreconditionError, Generation
from tests.support.generations import CANCELLED, COMPLETED, SMALLEST
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

ATTEMPT_CANCELLED = AttemptOutcome.CANCELLED
WORKER_STOPS_WITHIN_SECONDS = 2.0
"""Maximum time until a worker stops a cancelled generation."""


def create_generation(client: AvatarCreator, project_id: str, request_id: str | None = None) -> Generation:
    return client.generations.create(
        project_id, "a woman", width=SMALLEST, height=SMALLEST, request_id=request_id, timeout=30.0
    ).generation


def create_held_generation(deployment: Deployment, router: RouterFake, client: AvatarCreator) -> Generation:
    """Create a generation that the provider draws until the test calls `router.finish`."""
    router.behave(always=Behavior(hold=True))
    generation = create_generation(client, client.projects.create("Cancelled").id)
    router.wait_until_polled()
    return generation


@pytest.mark.slow
def test_cancel_while_pending(hosted: Deployment, router: RouterFake, user: str) -> None:
    hosted.start_server()
    with hosted.client(user) as client:
        generation = create_generation(client, client.projects.create("Cancelled").id)
        watcher = Watcher(client, generation.id)
        assert client.generations.cancel(generation.id).state == CANCELLED
        hosted.start_worker()
        last = watcher.states()[-1]

        assert last.state == CANCELLED
        assert router.count == 0
        assert_promise_kept(hosted, router, outcomes_seen=[last])


@pytest.mark.parametrize(
    ("mode", "notified_by"),
    [
        ("hosted", "event_bus"),
        pytest.param("hosted_embedded", "event_bus", marks=pytest.mark.slow),
        pytest.param("hosted_breakable", "heartbeat", marks=pytest.mark.slow),
    ],
)
def test_cancel_while_processing_reaches_the_worker_and_the_provider(
    request: pytest.FixtureRequest, router: RouterFake, user: str, mode: str, notified_by: str
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    without_heartbeat = (
        "set avatar_creator_tasks.generation_runner:HEARTBEAT_SECONDS 3600"
        if notified_by == "event_bus"
        else ""
    )
    worker = deployment.start_server(fault=without_heartbeat)
    if not deployment.is_embedded:
        worker = deployment.start_worker(fault=without_heartbeat)
    with deployment.client(user) as client:
        generation = create_held_generation(deployment, router, client)
        watcher = Watcher(client, generation.id)
        if notified_by == "heartbeat":
            request.getfixturevalue("own_redis").kill()

        assert client.generations.cancel(generation.id).state == CANCELLED

        wait_until(lambda: worker.events("lease_ended"), WORKER_STOPS_WITHIN_SECONDS)
        wait_until(lambda: router.submissions()[0]["cancel_requests"])
        last = watcher.states()[-1]
        assert last.state == CANCELLED
        [attempt] = client.generations.attempts(generation.id)
        assert (attempt.outcome, attempt.possibly_charged) == (ATTEMPT_CANCELLED, True)
        assert_promise_kept(deployment, router, outcomes_seen=[last])


@pytest.mark.slow
def test_a_cancel_request_that_the_provider_refuses_is_sent_again(
    hosted_embedded: Deployment, router: RouterFake, user: str
) -> None:
    hosted_embedded.start()
    router.behave(always=Behavior(hold=True, faults=(Fault(stage="cancel", status=503, times=2),)))
    with hosted_embedded.client(user) as client:
        generation = create_generation(client, client.projects.create("Cancelled").id)
        router.wait_until_polled()
        client.generations.cancel(generation.id)
        wait_until(lambda: router.counters()["cancelled"] == 1, 20.0)
        assert_promise_kept(hosted_embedded, router)


@pytest.mark.slow
def test_the_provider_receives_the_cancel_request_after_all_processes_are_killed(
    hosted: Deployment, router: RouterFake, user: str
) -> None:
    hosted.start_server()
    worker = hosted.start_worker()
    with hosted.client(user) as client:
        generation = create_held_generation(hosted, router, client)
        worker.suspend()
        client.generations.cancel(generation.id)
        worker.kill()
        hosted.servers[0].kill()
        assert not router.submissions()[0]["cancel_requests"]

        hosted.start()

        wait_until(lambda: router.submissions()[0]["cancel_requests"])
        last = Watcher(client, generation.id).states()[-1]
        assert last.state == CANCELLED
        assert_promise_kept(hosted, router, outcomes_seen=[last])


@pytest.mark.parametrize("winner", ["cancel", pytest.param("completion", marks=pytest.mark.slow)])
def test_cancel_while_completing_has_one_winner_and_all_watchers_see_it(
    hosted: Deployment, router: RouterFake, user: str, winner: str
) -> None:
    hosted.start_server()
    if winner == "cancel":
        moment = "before avatar_creator_server.generations.leases:GenerationLeases.complete"
    else:
        moment = "before avatar_creator_server.generations.events:GenerationEvents.publish_changed ended"
    worker = hosted.start_worker(fault=f"suspend {moment}")
    with hosted.client(user) as client:
        generation = create_generation(client, client.projects.create("Raced").id)
        watchers = [Watcher(client, generation.id) for _ in range(3)]
        wait_until(worker.is_suspended, 20.0)
        if winner == "cancel":
            assert client.generations.cancel(generation.id).state == CANCELLED
        else:
            with pytest.raises(FailedPreconditionError) as refused:
                client.generations.cancel(generation.id)
            assert refused.value.reason == "GENERATION_FINISHED"
        worker.resume()
        last_states = [watcher.states()[-1] for watcher in watchers]

        assert {last.state for last in last_states} == {CANCELLED if winner == "cancel" else COMPLETED}
        assert client.generations.get(generation.id) == last_states[0]
        # This also checks that the picture which came too late is deleted.
        assert_promise_kept(hosted, router, outcomes_seen=last_states)


@pytest.mark.slow
def test_fifty_calls_with_one_request_id_create_one_generation(
    hosted: Deployment, router: RouterFake, user: str
) -> None:
    first = hosted.start_server()
    second = hosted.start_server()
    token = hosted.token(user)
    with (
        AvatarCreator(first.target, token=token) as client,
        AvatarCreator(second.target, token=token) as other,
    ):
        clients = (client, other)
        project = client.projects.create("Fifty")
        request_id = str(uuid4())
        with Threads(50) as callers:
            generations = callers.map(
                lambda number: create_generation(clients[number % 2], project.id, request_id), range(50)
            )
        hosted.start_worker()
        last = Watcher(client, generations[0].id).states()[-1]

        assert len({generation.id for generation in generations}) == 1
        assert len(hosted.rows("avatar_generations")) == 1
        assert last.state == COMPLETED
        assert router.count == 1
        assert_promise_kept(hosted, router, outcomes_seen=[last])
