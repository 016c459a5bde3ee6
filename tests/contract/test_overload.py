"""A server with more calls than it can reach refuses those of the user who has many, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.request import urlopen

import pytest

from avatar_creator import AvatarCreator
from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from tests.contract.calls import Calls
from tests.support.http2 import PREFACE, SETTINGS, connected, frame, unary_call, wait_until_closed
from tests.support.ports import free_port
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

LIST_PROJECTS = "/avatar_creator.v1.AvatarProjectService/ListProjects"
FLOOD = 9_000
READERS, READS = 8, 30


@pytest.fixture
def service(embedded: Deployment) -> Deployment:
    """A server that reports metrics."""
    embedded.settings["METRICS_ADDRESS"] = f"127.0.0.1:{free_port()}"
    embedded.start_server()
    return embedded


def shed(service: Deployment) -> float:
    """Return how many calls the server has refused because of its backlog."""
    with urlopen(f"http://{service.settings['METRICS_ADDRESS']}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if 'reason="OVERLOADED"' in line)


@contextmanager
def many_calls(service: Deployment, number: int, token: str) -> Iterator[None]:
    """Send calls at the same moment, read their answers while the context is open, and then disconnect."""
    metadata = {"authorization": f"Bearer {token}"}
    calls = (unary_call(2 * each + 1, LIST_PROJECTS, b"", metadata) for each in range(number))
    with connected(service.target, seconds=60) as connection:
        reader = Thread(target=wait_until_closed, args=(connection,))
        reader.start()
        connection.sendall(PREFACE + frame(SETTINGS, 0, b"") + b"".join(calls))
        yield
        connection.shutdown(socket.SHUT_RDWR)
        reader.join()


def test_a_flood_of_one_user_is_shed_and_a_single_call_of_another_is_not(
    service: Deployment, user: str
) -> None:
    token = service.token(user)
    with (
        Calls(service.target, token) as calls,
        Calls(service.target, service.token(f"{user}-other")) as other,
    ):
        for each in (calls, other):
            each.projects.ListProjects(ListProjectsRequest())  # the server knows both tokens
        with many_calls(service, FLOOD, token):
            wait_until(lambda: shed(service) > 0, 30)
            other.projects.ListProjects(ListProjectsRequest())

    with service.client(user) as client:
        assert list(client.projects.list()) == []


def test_calls_that_were_given_up_in_the_backlog_are_no_overload_later(
    service: Deployment, user: str
) -> None:
    with service.client(f"{user}-other") as client, Threads(READERS) as threads:
        with many_calls(service, FLOOD, service.token(user)):
            wait_until(lambda: shed(service) > 0, 30)

        def all_pass() -> bool:
            before = shed(service)
            for reads in [threads.submit(read_often, client) for _ in range(READERS)]:
                reads.result()
            return shed(service) == before

        wait_until(all_pass, 30, "the server sheds calls without a backlog")


def read_often(client: AvatarCreator) -> None:
    """Read again and again."""
    for _ in range(READS):
        list(client.projects.list())
