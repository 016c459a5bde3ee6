"""Stopped and killed servers, and the watches that were open."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator import AvatarCreator, Generation
from avatar_creator.v1.avatar_service_pb2 import UploadAvatarRequest
from avatar_creator.v1.generation_service_pb2 import WatchGenerationRequest
from tests import pictures
from tests.contract.calls import TIMEOUT_SECONDS, Calls, refusal_of, upload_messages
from tests.support.background import InBackground
from tests.support.generations import COMPLETED, LARGEST, PENDING, final_state, row_of
from tests.support.guarded_process import GuardedProcess
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

GENERATIONS_AHEAD = 5
"""Number of generations that keep an embedded worker busy, so that the next one stays in the queue."""


def terminate(server: GuardedProcess) -> None:
    assert server.terminate() == 0


def kill(server: GuardedProcess) -> None:
    server.kill()
    assert server.exit_code() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("mode", "stop_server"),
    [
        pytest.param("embedded", terminate, marks=pytest.mark.slow),
        pytest.param("embedded", kill, marks=pytest.mark.slow),
        pytest.param("distributed", terminate, marks=pytest.mark.slow),
        ("distributed", kill),
    ],
)
def test_a_watch_survives_a_server_restart(
    request: pytest.FixtureRequest, user: str, mode: str, stop_server: Callable[[GuardedProcess], None]
) -> None:
    deployment: Deployment = request.getfixturevalue(mode)
    server = deployment.start_server()
    with deployment.client(user) as client:
        project = client.projects.create("Durable")
        if deployment.is_embedded:
            for _ in range(GENERATIONS_AHEAD):
                client.generations.create(
                    project.id, "a woman ahead in the queue", width=LARGEST, height=LARGEST
                )
        generation = client.generations.create(project.id, "a patient woman")
        watcher = Watcher(client, generation.id)
        before = watcher.wait_for(lambda state: state.state == PENDING)
        stop_server(server)
        assert row_of(deployment, generation.id)["state"] == "pending", (
            "the generation ended before the restart"
        )

        if deployment.is_embedded:
            # The worker would first draw the large pictures again, which takes longer than the watcher waits.
            deployment.execute(
                "UPDATE avatar_generations SET due_time = ? WHERE state = 'pending' AND id != ?",
                datetime.now(UTC) + timedelta(hours=1),
                generation.id,
            )
        deployment.start_server()
        if not deployment.is_embedded:
            deployment.start_worker()
        states = watcher.states()

        assert states[0] == before
        assert states[-1].state == COMPLETED
        revisions = [state.revision for state in states]
        assert revisions == sorted(set(revisions)), "a state was received twice"
        assert client.avatars.get(present(states[-1].avatar_id)).generation_id == generation.id


@pytest.fixture
def calls(distributed: Deployment, user: str) -> Iterator[Calls]:
    """Calls of a server without a worker, as `user`."""
    distributed.start_server()
    with Calls(distributed.target, distributed.token(user)) as opened:
        yield opened


def test_sigterm_ends_watches_and_finishes_other_calls_before_the_server_exits_with_0(
    distributed: Deployment, calls: Calls
) -> None:
    (server,) = distributed.servers
    project = calls.create_project()
    generation = calls.create_generation(project.id)
    stub = health_pb2_grpc.HealthStub(calls.channel)
    health = stub.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    assert next(health).status == health_pb2.HealthCheckResponse.SERVING
    watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
    assert next(watch).generation.state == PENDING.number

    rest_may_follow = threading.Event()

    def slow_upload() -> Iterator[UploadAvatarRequest]:
        messages = upload_messages(
            {"project_id": project.id, "name": "Sarah"}, pictures.png(pictures.scene())
        )
        yield next(messages)
        assert rest_may_follow.wait(20)
        yield from messages

    upload = InBackground(lambda: calls.avatars.UploadAvatar(slow_upload()))
    # Both calls use one connection, so the server has received the first message of the upload by now.
    calls.create_project("Later")

    server.send(signal.SIGTERM)

    assert [answer.status for answer in health] == [health_pb2.HealthCheckResponse.NOT_SERVING]
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    draining = refusal_of(ended.value)
    assert (draining.code, draining.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    assert draining.retry_after is not None
    assert server.exit_code() is None, "the upload still runs"
    rest_may_follow.set()
    answer = upload.outcome()
    assert not isinstance(answer, Exception), answer
    assert server.wait(20) == 0
    (avatar,) = distributed.rows("avatars")
    assert avatar["id"] == answer.avatar.id
    assert "Traceback" not in server.output()


@pytest.mark.slow
@pytest.mark.parametrize("stop_server", [terminate, kill])
@pytest.mark.parametrize("selector", ["project", "user"])
def test_a_watch_of_everything_receives_the_changes_made_while_its_server_was_down(
    distributed: Deployment, user: str, selector: str, stop_server: Callable[[GuardedProcess], None]
) -> None:
    server = distributed.start_server()
    other = distributed.start_server()
    with (
        distributed.client(user) as client,
        AvatarCreator(other.target, token=distributed.token(user)) as other_client,
    ):
        project = client.projects.create("Durable")
        unfinished = client.generations.create(project.id, "a patient woman")
        seen: list[Generation] = []

        def watch() -> None:
            watched = project.id if selector == "project" else ""
            for state in client.generations.watch_many(project=watched, timeout=60.0):
                seen.append(state)
                if len(_completed(seen)) == 3:
                    return

        watching = InBackground(watch)
        wait_until(lambda: seen)
        stop_server(server)
        distributed.start_worker()
        while_away = [
            final_state(other_client.generations.create(project.id, "a quick man", width=256, height=256)).id
            for _ in range(2)
        ]
        list(other_client.generations.watch(unfinished.id))
        assert len(seen) == 1, "the watch received changes while its server was down"
        distributed.start_server()
        watching.outcome()

    assert _completed(seen) == {unfinished.id, *while_away}
    for generation_id in _completed(seen):
        revisions = [state.revision for state in seen if state.id == generation_id]
        assert revisions == sorted(set(revisions)), "a state was received twice"


def _completed(states: list[Generation]) -> set[str]:
    return {state.id for state in states if state.state == COMPLETED}


def test_a_second_server_watches_the_same_generation_after_the_first_one_stops(
    distributed: Deployment, user: str
) -> None:
    first = distributed.start_server()
    second = distributed.start_server()
    with distributed.client(user) as client, Calls(second.target, distributed.token(user)) as calls:
        generation = client.generations.create(client.projects.create("Shared").id, "a calm man")
        watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        assert next(watch).generation == generation.generation.message
        terminate(first)
        distributed.start_worker()
        states = [message.generation for message in watch]

    assert states[-1].state == COMPLETED.number
    assert any(0 < state.progress_percent < 100 for state in states), "the watch received no live updates"
    wait_until(lambda: not distributed.rows("quick_work"))
