"""PostgreSQL killed and restarted: calls fail at once, and the service recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator import AvatarCreator, Generation
from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from avatar_creator.v1.generation_service_pb2 import GetGenerationRequest, WatchGenerationRequest
from avatar_creator_server.api.server import SERVICE_NAMES
from avatar_creator_server.database.connection import CONNECTIONS
from tests import pictures
from tests.contract.calls import Calls, Refusal, refusal
from tests.support.generations import COMPLETED, PENDING, SMALLEST
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.postgres import OwnPostgres
from tests.support.promise import assert_promise_kept
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

SERVING: int = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING

INTERNAL_TEXTS = ("postgres", "psycopg", "SELECT", "INSERT", "127.0.0.1", "server closed", "avatar_creator")


@pytest.fixture
def calls(breakable: Deployment, user: str) -> Iterator[Calls]:
    """Calls of the first server, as `user`, without retries."""
    breakable.start_server()
    with Calls(breakable.target, breakable.token(user)) as opened:
        yield opened


def health(calls: Calls, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(calls.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10.0).status)


def call_on_all_connections(calls: Calls) -> bool:
    """Make enough calls at once to use every connection to the database; return whether all succeed."""

    def call(_: int) -> int:
        return len(calls.projects.ListProjects(ListProjectsRequest()).projects)

    with Threads(CONNECTIONS) as callers:
        return set(callers.map(call, range(8 * CONNECTIONS))) == {1}


def test_calls_fail_while_the_database_is_down_and_succeed_after_it_restarts(
    breakable: Deployment, calls: Calls, own_postgres: OwnPostgres
) -> None:
    project = calls.create_project()
    generation = calls.create_generation(project.id)
    watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
    assert next(watch).generation.state == PENDING.number
    # Now every database connection of the server is open, so the kill breaks all of them.
    assert call_on_all_connections(calls)

    own_postgres.kill()

    refusals: list[Refusal] = [
        refusal(lambda: calls.projects.ListProjects(ListProjectsRequest())),
        refusal(lambda: calls.create_project("Never created")),
        refusal(lambda: calls.create_generation(project.id)),
        refusal(lambda: calls.upload(project.id, pictures.png(pictures.scene()))),
        refusal(
            lambda: calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        ),
    ]
    for refused in refusals:
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
        assert refused.retry_after is not None
        assert not [text for text in INTERNAL_TEXTS if text in refused.message]
    wait_until(lambda: health(calls, "") == NOT_SERVING)
    assert {health(calls, name) for name in SERVICE_NAMES} == {NOT_SERVING}
    assert health(calls, "queue") == SERVING

    own_postgres.restart()

    wait_until(lambda: health(calls, "") == SERVING)
    assert {health(calls, name) for name in SERVICE_NAMES} == {SERVING}
    # As soon as the health service reports SERVING, every connection works.
    assert call_on_all_connections(calls)
    # The watch has stayed open during the outage.
    breakable.start_worker()
    assert [message.generation for message in watch][-1].state == COMPLETED.number
    (server,) = breakable.servers
    assert server.exit_code() is None


def create_generation(client: AvatarCreator) -> Generation:
    project = client.projects.create("Outage")
    return client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST).generation


@pytest.mark.slow
def test_a_worker_keeps_a_finished_picture_while_the_database_is_down(
    hosted_breakable: Deployment, own_postgres: OwnPostgres, router: RouterFake, user: str
) -> None:
    router.behave(always=Behavior(hold=True))
    hosted_breakable.start()
    (worker,) = hosted_breakable.workers
    with hosted_breakable.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        router.wait_until_polled()

        own_postgres.kill()
        wait_until(lambda: worker.events("lease_renewal_failed"))
        router.finish()
        wait_until(lambda: worker.events("database_access_retried"))
        own_postgres.restart()

        last = watcher.states()[-1]
        assert last.state == COMPLETED
        assert len(client.generations.attempts(generation.id)) == 1
        assert router.count == 1, "the worker lost the picture and submitted a second request"
        assert worker.exit_code() is None
        assert_promise_kept(hosted_breakable, router, outcomes_seen=[last])


@pytest.mark.slow
def test_a_database_restart_within_the_completing_transaction_loses_nothing(
    hosted_breakable: Deployment, own_postgres: OwnPostgres, router: RouterFake, user: str
) -> None:
    hosted_breakable.start_server()
    worker = hosted_breakable.start_worker(
        fault="suspend after avatar_creator_server.generations.leases:GenerationLeases._complete"
    )
    with hosted_breakable.client(user) as client:
        generation = create_generation(client)
        watcher = Watcher(client, generation.id)
        # The transaction has written all rows and has not committed.
        wait_until(worker.is_suspended, 20.0)
        own_postgres.kill()
        own_postgres.restart()
        assert not hosted_breakable.rows("avatars")
        worker.resume()

        last = watcher.states()[-1]
        assert last.state == COMPLETED
        assert len(client.generations.attempts(generation.id)) == 1
        assert router.count == 1
        assert_promise_kept(hosted_breakable, router, outcomes_seen=[last])


def test_a_failed_statement_stops_no_worker_and_no_server(distributed: Deployment, user: str) -> None:
    server = distributed.start_server()
    with Calls(distributed.target, distributed.token(user)) as calls:
        project = calls.create_project()
        generation = calls.create_generation(project.id)
        watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        assert next(watch).generation.state == PENDING.number
        distributed.execute("ALTER TABLE avatar_generations RENAME TO moved_away")
        worker = distributed.start_worker()
        refused = refusal(
            lambda: calls.generations.GetGeneration(GetGenerationRequest(generation_id=generation.id))
        )
        assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "avatar_generations" not in refused.message
        wait_until(lambda: len(worker.events("sweep_failed")) >= 2)
        wait_until(lambda: server.events("watch_reread_failed"))
        distributed.execute("ALTER TABLE moved_away RENAME TO avatar_generations")

        assert [message.generation.state for message in watch][-1] == COMPLETED.number
        assert server.exit_code() is None
        assert worker.exit_code() is None
