"""Redis emptied, killed, restarted and written to by strangers: it only wakes people up."""

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
from avatar_creator_server.shared.job_notifier import GENERATION_TASK, JOB_TASK
from tests import pictures
from tests.support.generations import CANCELLED, COMPLETED, PENDING, SMALLEST
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
    """A distributed service on `own_redis`, of which the test starts the servers and workers it wants."""
    deployment = Deployment.distributed(tmp_path, database_url, own_redis.url())
    yield deployment
    deployment.close()


@pytest.fixture
def client(service: Deployment, user: str) -> Iterator[AvatarCreator]:
    """A client of `service`, as `user`."""
    with service.client(user) as connected:
        yield connected


def order(client: AvatarCreator, project_id: str) -> Generation:
    return client.generations.create(project_id, "a calm man", width=SMALLEST, height=SMALLEST)


def health_of(deployment: Deployment) -> Callable[[str], int]:
    """Asks the first server how a name is."""
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(deployment.target))
    return lambda name: int(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5.0).status)


def waiting_messages(own_redis: OwnRedis) -> int:
    with redis.Redis.from_url(own_redis.url()) as connection:
        return sum(int(connection.xlen(stream)) for stream in (GENERATION_TASK, JOB_TASK))


def test_everything_pending_is_done_although_redis_lost_every_byte(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start_server()
    project = client.projects.create("Flushed")
    generations = [order(client, project.id) for _ in range(10)]
    assert waiting_messages(own_redis) == 10
    own_redis.flush()

    service.start_worker()

    lasts = [Watcher(client, generation.id).states()[-1] for generation in generations]
    assert {last.state for last in lasts} == {COMPLETED}
    assert client.projects.get(project.id).avatar_count == 10


@pytest.mark.slow
def test_redis_emptied_under_a_worker_does_not_end_it(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start()
    (worker,) = service.workers
    own_redis.flush()

    project = client.projects.create("Flushed")
    assert client.generations.create_and_wait(project.id, "a calm man", timeout=20.0).state == COMPLETED
    assert worker.exit_code() is None


@pytest.mark.parametrize(
    "own_redis", ["forgetful", pytest.param("durable", marks=pytest.mark.slow)], indirect=True
)
def test_the_service_works_while_redis_is_down_and_better_when_it_is_back(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start()
    (server,), (worker,) = service.servers, service.workers
    health = health_of(service)
    assert health("queue") == SERVING
    project = client.projects.create("Without Redis")

    own_redis.kill()

    wait_until(lambda: health("queue") == NOT_SERVING)
    assert {health(name) for name in ("", *SERVICE_NAMES)} == {SERVING}
    # The sweeper finds the work; the watcher, open meanwhile, is told by the database.
    watcher = Watcher(client, order(client, project.id).id)
    begun = time.monotonic()
    avatar = client.avatars.upload(project.id, pictures.png(pictures.scene()), name="Sarah")
    assert time.monotonic() - begun < 5.0
    assert watcher.states()[-1].state == COMPLETED
    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    client.avatars.delete(avatar.id)
    wait_until(lambda: len(service.files()) == 2, message="the removed avatar's files remain")

    own_redis.restart()

    wait_until(lambda: health("queue") == SERVING)
    with redis.Redis.from_url(own_redis.url()) as connection:
        # Server and worker have found their way back to it.
        wait_until(lambda: connection.pubsub_numsub(GENERATION_CHANGED)[0][1] >= 1)
        wait_until(lambda: connection.exists(GENERATION_TASK, JOB_TASK) == 2)
    live = Watcher(client, client.generations.create(project.id, "a calm man").id).states()
    assert live[-1].state == COMPLETED
    percents = {state.progress_percent for state in live}
    assert len([percent for percent in percents if 20 <= percent <= 90]) >= 3, "seen live, not only re-read"
    assert not client.avatars.upload(project.id, pictures.png(pictures.scene()), name="S").thumbnail_pending
    assert server.exit_code() is None
    assert worker.exit_code() is None


@pytest.fixture
def proxy(own_redis: OwnRedis) -> Iterator[Proxy]:
    """What stands between the service and its Redis."""
    proxy = Proxy(own_redis.url())
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(tmp_path: Path, database_url: str, proxy: Proxy) -> Iterator[Deployment]:
    """A service that reaches its Redis through `proxy`."""
    deployment = Deployment.distributed(tmp_path, database_url, proxy.url)
    yield deployment
    deployment.close()


def subscribers(own_redis: OwnRedis) -> int:
    """How many servers hear of changes."""
    with redis.Redis.from_url(own_redis.url()) as connection:
        return int(connection.pubsub_numsub(GENERATION_CHANGED)[0][1])


def readers(own_redis: OwnRedis) -> int:
    """How many connections wait for a wake-up."""
    with redis.Redis.from_url(own_redis.url()) as connection:
        return [client["cmd"] for client in connection.client_list()].count("xreadgroup")


@pytest.mark.slow
def test_the_service_works_while_redis_swallows_everything_and_recovers_by_itself(
    proxied: Deployment, own_redis: OwnRedis, proxy: Proxy, user: str
) -> None:
    proxied.start()
    with proxied.client(user) as client:
        project = client.projects.create("Black hole")
        health = health_of(proxied)
        proxy.blackhole()

        # Within a second, as with a Redis that is down.
        ordered = [
            client.generations.create(project.id, "a calm man", width=SMALLEST, height=SMALLEST, timeout=1.0)
            for _ in range(3)
        ]

        wait_until(lambda: health("queue") == NOT_SERVING)
        assert {health(name) for name in ("", *SERVICE_NAMES)} == {SERVING}
        lasts = [Watcher(client, generation.id).states(30.0)[-1] for generation in ordered]
        assert {last.state for last in lasts} == {COMPLETED}

        proxy.recover()

        wait_until(lambda: health("queue") == SERVING, 20.0)
        assert_promise_kept(proxied, outcomes_seen=lasts)
        assert [process.exit_code() for process in (*proxied.servers, *proxied.workers)] == [None, None]


@pytest.mark.slow
def test_connections_to_redis_on_which_nothing_comes_any_more_are_made_anew(
    proxied: Deployment, own_redis: OwnRedis, proxy: Proxy, user: str
) -> None:
    proxied.start()
    (server,), (worker,) = proxied.servers, proxied.workers
    with proxied.client(user) as client:
        project = client.projects.create("Forgotten by a firewall")
        wait_until(lambda: subscribers(own_redis) == 1)
        wait_until(lambda: readers(own_redis) == 2)

        proxy.forget_connections()

        wait_until(lambda: server.events("event_bus_disconnected"), 20.0)
        wait_until(lambda: len(worker.events("wake_up_stream_disconnected")) == 2, 20.0)
        # The old connection is still open at Redis, which knows nothing of it.
        wait_until(lambda: subscribers(own_redis) == 2)
        live = Watcher(client, client.generations.create(project.id, "a calm man").id).states()
        percents = {state.progress_percent for state in live}
        assert live[-1].state == COMPLETED
        assert len([percent for percent in percents if 20 <= percent <= 90]) >= 3, "seen live, not re-read"


@pytest.mark.slow
def test_an_order_while_redis_is_down_is_accepted_within_a_second(
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

    project = client.projects.create("Begun without Redis")

    assert client.generations.create_and_wait(project.id, "a calm man", timeout=20.0).state == COMPLETED


def test_a_call_is_not_held_up_by_a_redis_that_does_not_answer(
    service: Deployment, client: AvatarCreator, own_redis: OwnRedis
) -> None:
    service.start_server()
    project = client.projects.create("Frozen Redis")
    own_redis.suspend()
    begun = time.monotonic()

    generation = order(client, project.id)

    assert generation.state == PENDING
    assert time.monotonic() - begun < 3.0
    own_redis.resume()


@pytest.mark.parametrize("stream", [GENERATION_TASK, pytest.param(JOB_TASK, marks=pytest.mark.slow)])
def test_messages_nobody_understands_do_no_harm_and_the_streams_stay_empty(
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
        wait_until(lambda: waiting_messages(own_redis) == 0, message="the messages were not read")

        assert client.generations.create_and_wait(project.id, "a calm man", timeout=20.0).state == COMPLETED
        assert not client.avatars.upload(
            project.id, pictures.png(pictures.scene()), name="Sarah"
        ).thumbnail_pending
        assert worker.exit_code() is None
        # A worker that had stopped listening would still sweep; one that listens empties the streams.
        wait_until(lambda: waiting_messages(own_redis) == 0, message="wake-ups stay in the stream")
