"""A pooler waits, refuses, restarts or loses PostgreSQL: calls are UNAVAILABLE until it works again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import psycopg2
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from avatar_creator.v1.generation_service_pb2 import WatchGenerationRequest
from avatar_creator_server.database.connection import CONNECTIONS
from tests import pictures
from tests.contract.calls import Calls, refusal, refusal_of
from tests.support.generations import COMPLETED, PENDING, SMALLEST
from tests.support.huggingface_router import RouterFake
from tests.support.pgbouncer import OTHER_CLIENT, PgBouncer
from tests.support.postgres import OwnPostgres
from tests.support.promise import assert_promise_kept
from tests.support.proxy import Proxy
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

LIMITS = {"query_wait_timeout": "1", "max_client_conn": "40"}
INTERNAL_TEXTS = ("postgres", "bouncer", "psycopg", "SELECT", "127.0.0.1", "server closed", "max_client")


@pytest.fixture
def pgbouncer(own_postgres: OwnPostgres, breakable: Deployment) -> Iterator[PgBouncer]:
    """A pooler in front of `own_postgres`. A call waits at most a second for a session."""
    pooler = PgBouncer(breakable.settings["DATABASE_URL"], settings=LIMITS)
    yield pooler
    pooler.close()


@pytest.fixture
def pooled(breakable: Deployment, pgbouncer: PgBouncer) -> Deployment:
    """`breakable` through `pgbouncer`. The test starts its processes."""
    breakable.settings["DATABASE_URL"] = pgbouncer.url(breakable.settings["DATABASE_URL"])
    breakable.settings["DATABASE_POOLER"] = "transaction"
    return breakable


def hold_connections(url: str, held: ExitStack) -> None:
    """Open more connections than the pooler accepts, and keep them until `held` is closed."""
    for _ in range(int(LIMITS["max_client_conn"]) + 1):
        held.enter_context(closing(psycopg2.connect(url, connect_timeout=10)))


def succeeds(calls: Calls) -> bool:
    """Return whether calls on all connections to the database succeed. Those that fail are UNAVAILABLE."""

    def call(_: int) -> grpc.StatusCode:
        try:
            calls.projects.ListProjects(ListProjectsRequest())
        except grpc.RpcError as error:
            return refusal_of(error).code
        return grpc.StatusCode.OK

    with Threads(CONNECTIONS) as callers:
        codes = set(callers.map(call, range(4 * CONNECTIONS)))
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    return codes == {grpc.StatusCode.OK}


def test_every_fault_of_a_pooler_is_unavailable_and_ends_with_the_fault(
    pooled: Deployment, pgbouncer: PgBouncer, own_postgres: OwnPostgres, user: str
) -> None:
    name = urlsplit(pooled.settings["DATABASE_URL"]).path.removeprefix("/")
    full = ExitStack()

    def take_all_connections() -> None:
        # The service's own connections end first, or it would not need a new one.
        pgbouncer.run(f"KILL {name}")
        pgbouncer.run(f"RESUME {name}")
        url = pgbouncer.url(pooled.settings["DATABASE_URL"], OTHER_CLIENT)
        with pytest.raises(psycopg2.OperationalError, match="max_client_conn"):
            hold_connections(url, full)

    def disable() -> None:
        pgbouncer.run(f"DISABLE {name}")
        pgbouncer.run(f"KILL {name}")

    def enable() -> None:
        pgbouncer.run(f"RESUME {name}")
        pgbouncer.run(f"ENABLE {name}")

    faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "paused": (lambda: pgbouncer.run(f"PAUSE {name}"), lambda: pgbouncer.run(f"RESUME {name}")),
        "killed by an operator": (
            lambda: pgbouncer.run(f"KILL {name}"),
            lambda: pgbouncer.run(f"RESUME {name}"),
        ),
        "disabled": (disable, enable),
        "full": (take_all_connections, full.close),
        "ended": (pgbouncer.kill, pgbouncer.restart),
        "without PostgreSQL": (own_postgres.kill, own_postgres.restart),
    }
    server = pooled.start_server()
    with Calls(pooled.target, pooled.token(user)) as calls:
        project = calls.create_project()
        generation = calls.create_generation(project.id)
        watch = calls.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation.id))
        assert next(watch).generation.state == PENDING.number
        picture = pictures.png(pictures.scene())
        attempts: list[Callable[[], object]] = [
            lambda: calls.projects.ListProjects(ListProjectsRequest()),
            lambda: calls.create_generation(project.id),
            lambda: calls.upload(project.id, picture),
        ]

        for fault, (begin, end) in faults.items():
            assert succeeds(calls), fault
            begin()
            with Threads(len(attempts)) as callers:
                refusals = list(callers.map(refusal, attempts))
            for refused in refusals:
                found = (fault, refused.code, refused.reason)
                assert found == (fault, grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
                assert refused.retry_after is not None
                assert not [text for text in INTERNAL_TEXTS if text in refused.message]
            end()
            wait_until(lambda: succeeds(calls), message=f"no recovery after: {fault}")

        # New sessions of PostgreSQL, without a fault that a call could notice. RECONNECT also ends a session
        # that signs in. The pooler then waits for `server_login_retry` as after a fault, so none may sign in.
        wait_until(lambda: not pgbouncer.signing_in(), message="sessions sign in all the time")
        pgbouncer.run("RECONNECT")
        assert succeeds(calls)
        # The watch has stayed open during all faults.
        pooled.start_worker()
        assert [message.generation for message in watch][-1].state == COMPLETED.number
    assert server.exit_code() is None
    assert_promise_kept(pooled)


@pytest.mark.slow
def test_no_generation_is_lost_or_drawn_twice_while_a_pooler_fails_again_and_again(
    pooled: Deployment, pgbouncer: PgBouncer, router_settings: dict[str, str], router: RouterFake, user: str
) -> None:
    pooled.settings |= router_settings
    name = urlsplit(pooled.settings["DATABASE_URL"]).path.removeprefix("/")

    def kill() -> None:
        pgbouncer.run(f"KILL {name}")
        pgbouncer.run(f"RESUME {name}")

    def restart() -> None:
        pgbouncer.kill()
        pgbouncer.restart()

    faults: Iterator[Callable[[], object]] = cycle([kill, restart, lambda: pgbouncer.run("RECONNECT")])
    pooled.start()
    with pooled.client(user) as client:
        project = client.projects.create("Pooler")
        watchers = []
        for number in range(12):
            generation = client.generations.create(
                project.id, f"woman {number}", width=SMALLEST, height=SMALLEST
            )
            watchers.append(Watcher(client, generation.id))
            router.wait_until_polled(number + 1)
            next(faults)()

        last = [watcher.states()[-1] for watcher in watchers]

    assert [state.state for state in last] == [COMPLETED] * len(watchers)
    assert router.count == len(watchers)
    assert_promise_kept(pooled, router, outcomes_seen=last)


def test_a_commit_whose_answer_was_lost_behind_the_pooler_is_looked_up(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    router_settings: dict[str, str],
    router: RouterFake,
    user: str,
) -> None:
    with (
        closing(Proxy(database_url)) as proxy,
        closing(PgBouncer(proxy.url)) as pooler,
        closing(
            Deployment.distributed(
                tmp_path,
                pooler.url(database_url),
                redis_url,
                DATABASE_POOLER="transaction",
                **router_settings,
            )
        ) as deployment,
    ):
        deployment.start()
        (worker,) = deployment.workers
        with deployment.client(user) as client:
            project = client.projects.create("Lost answer")
            proxy.cut_commit_after(b'INSERT INTO "generation_recipes"')
            generation = client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)
            last = Watcher(client, generation.id).states()[-1]

        assert proxy.cuts == 1, "the fault did not happen"
        assert worker.events("database_access_retried")
        assert not worker.events("lease_ended")
        assert last.state == COMPLETED
        assert router.count == 1
        assert_promise_kept(deployment, router, outcomes_seen=[last])
