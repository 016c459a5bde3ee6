"""Killed processes of a server that has several: the others serve on, and the killed one returns."""

from __future__ import annotations

from functools import partial
from threading import Event

import grpc
import pytest

from avatar_creator import AvatarCreator
from avatar_creator.v1.generation_service_pb2 import WatchGenerationRequest
from avatar_creator_server.database.migrator import HISTORY_TABLE
from tests.support.background import InBackground
from tests.support.server_processes import connected_to_each, processes_of
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until

CALLS = 50
"""Calls that each client makes at least before the process is killed, and again after that."""


@pytest.fixture
def server(distributed: Deployment) -> ServiceProcess:
    """A running server of two processes."""
    return distributed.start_server(SERVER_PROCESSES="2")


def starts_of(server: ServiceProcess, number: int) -> int:
    """Return how often a process has begun to serve."""
    return sum(event["process"] == number for event in server.events("server_ready"))


def has_started(server: ServiceProcess, number: int, times: int) -> bool:
    """Return whether a process has begun to serve so often."""
    return starts_of(server, number) == times


def has_lost(server: ServiceProcess, processes: int) -> bool:
    """Return whether so many processes of a server have died."""
    return len(server.events("server_process_died")) == processes


def test_a_killed_process_ends_its_calls_and_returns_and_clients_that_retry_notice_nothing(
    distributed: Deployment, server: ServiceProcess, user: str
) -> None:
    done = {"patient": 0, "direct": 0}

    with (
        connected_to_each(distributed, server, user) as calls,
        AvatarCreator(distributed.target, token=distributed.token("patient")) as client,
    ):
        client.projects.create("First")
        (event,) = (call for call in server.events("call_finished") if call["user"] == "patient")
        killed = event["process"]
        (other,) = (number for number in calls if number != killed)
        # A watch runs until it is ended, so the kill cannot fall between two calls.
        generation = calls[killed].create_generation(calls[killed].create_project().id)
        states = calls[killed].generations.WatchGeneration(
            WatchGenerationRequest(generation_id=generation.id)
        )
        assert next(states).generation.id == generation.id

        enough = Event()

        def call_with_retries() -> None:
            while not enough.is_set():
                client.projects.create("With retries")
                done["patient"] += 1

        def call_the_other_process() -> None:
            while not enough.is_set():
                calls[other].create_project("Elsewhere")
                done["direct"] += 1

        callers = [InBackground(call_with_retries), InBackground(call_the_other_process)]
        wait_until(lambda: min(done.values()) > CALLS)
        processes_of(server)[killed].kill()
        at_the_kill = dict(done)
        with pytest.raises(grpc.RpcError) as ended:
            next(states)
        assert ended.value.code() == grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: all(done[caller] > at_the_kill[caller] + CALLS for caller in done), 60.0)
        enough.set()
        assert [caller.outcome(60) for caller in callers] == [None, None]

    wait_until(lambda: starts_of(server, killed) == 2, 30.0)
    assert starts_of(server, other) == 1
    (death,) = server.events("server_process_died")
    assert (death["process"], death["exit_code"], death["restart_seconds"]) == (killed, -9, 0.5)
    with connected_to_each(distributed, server, user) as calls:
        assert sorted(calls) == [1, 2]
    names = [row["name"] for row in distributed.rows("avatar_projects")]
    assert (names.count("With retries"), names.count("Elsewhere")) == (done["patient"], done["direct"])


def test_the_pause_before_a_restart_grows_while_the_other_process_serves(
    distributed: Deployment, server: ServiceProcess, user: str
) -> None:
    with connected_to_each(distributed, server, user) as calls:
        for deaths in (1, 2, 3):
            processes_of(server)[2].kill()
            wait_until(partial(has_lost, server, deaths))
            calls[1].create_project()
            wait_until(partial(has_started, server, 2, deaths + 1), 30.0)

    assert [death["restart_seconds"] for death in server.events("server_process_died")] == [0.5, 1.0, 2.0]
    assert server.terminate() == 0


def test_a_process_that_is_stopped_alone_is_replaced_and_one_that_cannot_start_is_tried_again(
    distributed: Deployment, server: ServiceProcess, user: str
) -> None:
    with connected_to_each(distributed, server, user) as calls:
        processes_of(server)[1].terminate()
        wait_until(lambda: starts_of(server, 1) == 2, 30.0)
        calls[2].create_project()

    with connected_to_each(distributed, server, user) as calls:
        distributed.execute(f"ALTER TABLE {HISTORY_TABLE} RENAME TO hidden_for_a_while")
        processes_of(server)[2].kill()
        wait_until(lambda: len(server.events("server_process_died")) >= 3, 30.0)
        died_at_start = server.events("server_process_died")[-1]
        distributed.execute(f"ALTER TABLE hidden_for_a_while RENAME TO {HISTORY_TABLE}")

        wait_until(lambda: starts_of(server, 2) == 2, 30.0)
        assert (died_at_start["process"], died_at_start["exit_code"]) == (2, 1)
        calls[1].create_project()
