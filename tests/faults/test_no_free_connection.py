"""PostgreSQL has no free connection: processes wait and say so, and calls are UNAVAILABLE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import grpc
import psycopg2
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from tests.contract.calls import Calls, refusal
from tests.support.command_line import printed
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until


class Connections:
    """All connections that the database of a deployment accepts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = urlsplit(url).path.removeprefix("/")
        self._control = psycopg2.connect(url, connect_timeout=10)
        self._control.autocommit = True

    def allow(self, number: int) -> None:
        """Let the database accept so many connections; -1 for any number."""
        self._control.cursor().execute(f'ALTER DATABASE "{self._name}" CONNECTION LIMIT {number}')

    def end_others(self) -> None:
        """End all other connections."""
        self._control.cursor().execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    def close(self) -> None:
        """Accept any number again, and close the own connection."""
        self.allow(-1)
        self._control.close()


@pytest.fixture
def connections(database_url: str) -> Iterator[Connections]:
    """The connections of the database of `distributed`."""
    with closing(Connections(database_url)) as opened:
        yield opened


def test_a_server_and_a_worker_wait_for_a_free_connection(
    distributed: Deployment, connections: Connections, user: str
) -> None:
    connections.allow(0)
    with ExitStack() as starting:
        threads = starting.enter_context(Threads(2))
        server = threads.submit(distributed.start_server)
        worker = threads.submit(distributed.start_worker)
        wait_until(lambda: len(distributed.servers) == len(distributed.workers) == 1)
        processes = [*distributed.servers, *distributed.workers]
        for process in processes:
            wait_until(lambda process=process: process.events("database_connection_refused"), 30.0)  # type: ignore[misc]
            (refused,) = process.events("database_connection_refused")[:1]
            assert "has no free connection" in refused["problem"]
            assert "DATABASE_CONNECTIONS" in refused["problem"]
        connections.allow(-1)
        assert server.result().exit_code() is None
        assert worker.result().exit_code() is None

    with distributed.client(user) as client:
        client.projects.create("Late")


def test_a_server_that_waits_for_a_free_connection_can_be_stopped(
    distributed: Deployment, connections: Connections
) -> None:
    connections.allow(0)
    with Threads(2) as threads:
        starts = [threads.submit(distributed.start_server), threads.submit(distributed.start_worker)]
        wait_until(lambda: len(distributed.servers) == len(distributed.workers) == 1)
        for process in (*distributed.servers, *distributed.workers):
            wait_until(lambda process=process: process.events("database_connection_refused"), 30.0)  # type: ignore[misc]
            assert process.terminate() == 0
        for start in starts:
            assert isinstance(start.exception(), RuntimeError)


def test_a_running_server_answers_unavailable_until_a_connection_is_free(
    distributed: Deployment, connections: Connections, user: str
) -> None:
    server = distributed.start_server()
    with Calls(distributed.target, distributed.token(user)) as calls:
        calls.create_project()
        connections.allow(0)
        connections.end_others()

        def refused() -> bool:
            answer = refusal(lambda: calls.projects.ListProjects(ListProjectsRequest()))
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
            assert answer.retry_after is not None
            return "no free connection" in answer.message

        # The first one may notice the lost connection.
        wait_until(refused)
        assert server.events("database_connection_refused")
        distributed.settings["COLUMNS"] = "400"
        doctor = printed(distributed.run_command("doctor"))
        assert "it has no free connection" in doctor
        assert "DATABASE_CONNECTIONS: each server and each worker needs up to 9" in doctor
        connections.allow(-1)

        def succeeds() -> bool:
            try:
                calls.projects.ListProjects(ListProjectsRequest())
            except grpc.RpcError:
                return False
            return True

        wait_until(succeeds)
