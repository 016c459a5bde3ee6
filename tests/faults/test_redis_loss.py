"""Redis emptied, killed, frozen, cut off and filled with foreign messages: the database has all the state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator import AvatarCreator, Generation
from avatar_creator_server.api.server import SERVICE_NAMES
from avatar_creator_server.shared.event_bus import GENERATION_CHANGED
from avatar_creator_server.shared.worker_notifier import GENERATION_TASK, JOB_TASK
from tests import pictures
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST, final_state
from tests.support.promise import assert_promise_kept
from tests.support.proxy import Proxy
from tests.support.redis import OwnRedis
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

SERVING: int = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def service(tmp_path: Path, database_url: str, own_redis: OwnRedis) -> Iterator[Deployment]:
    """A distributed service on `own_redis`. The test starts its servers and workers."""
    deployment = Deployment.distributed(tmp_path, database_url, own_redis.url())
    yield deployment
    deployment.close()


@pytest.fixture
def client(service: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of `service`, as `user`."""
    with service.client(user) as connected:
        yield connected


def create_generation(client: AvatarCreator, project_id: str) -> Generation:
    return client.generations.create(project_id, "a calm man", width=SMALLEST, height=SMALLEST).generation


def health_check(deployment: Deployment) -> Callable[[str], int]:
    """Return a function that asks the first server for the health of a service."""
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(deployment.target))
    return lambda name: int(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5.0).status)


def message_count(own_redis: OwnRedis) -> int:
    with redis.Redis.from_url(own_redis.url()) as connection:
        return sum(int(connection.xlen(stream)) for stream in (GENERATION_TASK, JOB_TASK))


def test_pending_generations_complete_after_redis_lost_all_data(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start_server()
    project = client.projects.create("Flushed")
    generations = [create_generation(client, project.id) for _ in range(10)]
    assert message_count(own_redis) == 10
    own_redis.flush()

    service.start_worker()

    last_states = [Watcher(client, generation.id).states()[-1] for generation in generations]
    assert {last.state for last in last_states} == {COMPLETED}
    assert client.projects.get(project.id).avatar_count == 10


@pytest.mark.slow
def test_a_worker_keeps_running_when_redis_is_emptied(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start()
    (worker,) = service.workers
    own_redis.flush()

    project = client.projects.create("Flushed")
    assert final_state(client.generations.create(project.id, "a calm man"), timeout=20.0).state == COMPLETED
    assert worker.exit_code() is None


@pytest.mark.parametrize(
    "own_redis", ["forgetful", pytest.param("durable", marks=pytest.mark.slow)], indirect=True
)
def test_the_service_works_while_redis_is_down_and_live_updates_return_with_it(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start()
    (server,), (worker,) = service.servers, service.workers
    health = health_check(service)
    assert health("queue") == SERVING
    project = client.projects.create("Without Redis")

    own_redis.kill()

    wait_until(lambda: health("queue") == NOT_SERVING)
    assert {health(name) for name in ("", *SERVICE_NAMES)} == {SERVING}
    # The sweeper finds the generation, and the open watch reads the database.
    watcher = Watcher(client, create_generation(client, project.id).id)
    start = time.monotonic()
    avatar = client.avatars.upload(project.id, pictures.png(pictures.scene()), name="Sarah")
    assert time.monotonic() - start < 5.0
    assert watcher.states()[-1].state == COMPLETED
    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    client.avatars.delete(avatar.id)
    wait_until(lambda: len(service.files()) == 2, message="the removed avatar's files remain")

    own_redis.restart()

    wait_until(lambda: health("queue") == SERVING)
    with redis.Redis.from_url(own_redis.url()) as connection:
        # The server and the worker have reconnected.
        wait_until(lambda: connection.pubsub_numsub(GENERATION_CHANGED)[0][1] >= 1)
        wait_until(lambda: connection.exists(GENERATION_TASK, JOB_TASK) == 2)
    live = Watcher(client, client.generations.create(project.id, "a calm man").id).states()
    assert live[-1].state == COMPLETED
    percents = {state.progress_percent for state in live}
    assert len([percent for percent in percents if 20 <= percent <= 90]) >= 3, (
        "the watch received no live updates"
    )
    assert not client.avatars.upload(project.id, pictures.png(pictures.scene()), name="S").thumbnail_pending
    assert server.exit_code() is None
    assert worker.exit_code() is None


@pytest.fixture
def proxy(own_redis: OwnRedis) -> Iterator[Proxy]:
    """A proxy between the service and `own_redis`."""
    proxy = Proxy(own_redis.url())
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(tmp_path: Path, database_url: str, proxy: Proxy) -> Iterator[Deployment]:
    """A service that reaches its Redis through `proxy`."""
    deployment = Deployment.distributed(tmp_path, database_url, proxy.url)
    yield deployment
    deployment.close()


def subscriber_count(own_redis: OwnRedis) -> int:
    """Return the number of connections that are subscribed to changes of generations."""
    with redis.Redis.from_url(own_redis.url()) as connection:
        return int(connection.pubsub_numsub(GENERATION_CHANGED)[0][1])


def blocked_reader_count(own_redis: OwnRedis) -> int:
    """Return the number of connections that wait for a job message."""
    with redis.Redis.from_url(own_redis.url()) as connection:
        return [client["cmd"] for client in connection.client_list()].count("xreadgroup")


@pytest.mark.slow
def test_the_service_works_while_redis_swallows_all_data_and_recovers_by_itself(
    proxied: Deployment, own_redis: OwnRedis, proxy: Proxy, user: str
) -> None:
    proxied.start()
    with proxied.client(user) as client:
        project = client.projects.create("Black hole")
        health = health_check(proxied)
        proxy.blackhole()

        # Each call returns within a second, the same as when Redis is down.
        generations = [
            client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST, timeout=1.0)
            for _ in range(3)
        ]

        wait_until(lambda: health("queue") == NOT_SERVING)
        assert {health(name) for name in ("", *SERVICE_NAMES)} == {SERVING}
        last_states = [Watcher(client, generation.id).states(30.0)[-1] for generation in generations]
        assert {last.state for last in last_states} == {COMPLETED}

        proxy.recover()

        wait_until(lambda: health("queue") == SERVING, 20.0)
        assert_promise_kept(proxied, outcomes_seen=last_states)
        assert [process.exit_code() for process in (*proxied.servers, *proxied.workers)] == [None, None]


@pytest.mark.slow
def test_silent_connections_to_redis_are_replaced(
    proxied: Deployment, own_redis: OwnRedis, proxy: Proxy, user: str
) -> None:
    proxied.start()
    (server,), (worker,) = proxied.servers, proxied.workers
    with proxied.client(user) as client:
        project = client.projects.create("Forgotten by a firewall")
        wait_until(lambda: subscriber_count(own_redis) == 1)
        wait_until(lambda: blocked_reader_count(own_redis) == 2)

        proxy.forget_connections()

        wait_until(lambda: server.events("event_bus_disconnected"), 20.0)
        wait_until(lambda: len(worker.events("wake_up_stream_disconnected")) == 2, 20.0)
        # Redis has not noticed the loss, so it still counts the old connection.
        wait_until(lambda: subscriber_count(own_redis) == 2)
        live = Watcher(client, client.generations.create(project.id, "a calm man").id).states()
        percents = {state.progress_percent for state in live}
        assert live[-1].state == COMPLETED
        assert len([percent for percent in percents if 20 <= percent <= 90]) >= 3, (
            "the watch received no live updates"
        )


@pytest.mark.slow
def test_a_generation_is_accepted_within_a_second_while_redis_is_down(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start_server()
    project = client.projects.create("Without Redis")
    own_redis.kill()

    for _ in range(5):
        generation = client.generations.create(
            project.id, "a calm man", width=SMALLEST, height=SMALLEST, timeout=1.0
        )
        assert client.generations.cancel(generation.id, timeout=1.0).state == CANCELLED


@pytest.mark.slow
def test_processes_start_while_redis_is_down(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    own_redis.kill()
    service.start()

    project = client.projects.create("Started without Redis")

    assert final_state(client.generations.create(project.id, "a calm man"), timeout=20.0).state == COMPLETED


def test_a_call_does_not_wait_for_a_frozen_redis(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start_server()
    project = client.projects.create("Frozen Redis")
    own_redis.suspend()
    start = time.monotonic()

    generation = create_generation(client, project.id)

    assert generation.state == PENDING
    assert time.monotonic() - start < 3.0
    own_redis.resume()


@pytest.mark.parametrize("stream", [GENERATION_TASK, pytest.param(JOB_TASK, marks=pytest.mark.slow)])
def test_unknown_messages_do_no_harm_and_workers_remove_them(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis, stream: str
) -> None:
    unknown_task = (
        b'{"task_id": "1", "task_name": "avatar-creator:of-a-later-version",'
        b' "labels": {}, "labels_types": {}, "args": [], "kwargs": {}}'
    )
    service.start()
    (worker,) = service.workers
    project = client.projects.create("Strange messages")
    with redis.Redis.from_url(own_redis.url()) as connection:
        for fields in (
            {b"data": unknown_task},
            {b"data": b"\xff not JSON at all"},
            {b"data": b""},
            {b"something": b"else"},
        ):
            connection.xadd(stream, dict(fields))
        wait_until(lambda: message_count(own_redis) == 0, message="the messages were not read")

        assert (
            final_state(client.generations.create(project.id, "a calm man"), timeout=20.0).state == COMPLETED
        )
        assert not client.avatars.upload(
            project.id, pictures.png(pictures.scene()), name="Sarah"
        ).thumbnail_pending
        assert worker.exit_code() is None
        # Even a worker that no longer listens would sweep, but only one that listens empties the streams.
        wait_until(lambda: message_count(own_redis) == 0, message="messages stay in the stream")
