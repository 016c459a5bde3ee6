"""A client without a token opens streams and connections, and calls again and again: users hardly notice."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.abuse.gauge import MIB, Gauge
from tests.abuse.load import Load, run
from tests.abuse.witness import SLOWER_NEXT_TO_A_FLOOD, Witness
from tests.contract.calls import refusal_of
from tests.support.http2 import wait_until_closed
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

STREAMS, CONNECTIONS = 2_000, 20
STREAMS_OF_A_MACHINE = 100
"""The default of ANONYMOUS_STREAMS_PER_PEER."""
SILENT_CONNECTIONS = 1_000
SECONDS = 4.0
MAX_GROWTH_BYTES = 100 * MIB
MAX_LOG_BYTES_PER_SECOND = 10_000
"""20 refusals of about 200 bytes in a second, and what the witness writes."""


@pytest.fixture
def service(embedded: Deployment) -> Deployment:
    """A running embedded service of this test only."""
    embedded.start()
    return embedded


@pytest.fixture
def witness(service: Deployment) -> Iterator[Witness]:
    """Another user."""
    with Witness(service) as witness:
        yield witness


def test_health_watches(service: Deployment, witness: Witness) -> None:
    quiet = witness.quiet_median()
    gauge = Gauge(service)
    before, threads_before = gauge.server_bytes(), gauge.threads()

    # In a process of its own: opening so many streams would slow down the other user's client.
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        processes.submit(int).result()  # has started before the reads
        with gauge.sampling(), witness.reading() as reads:
            outcomes = processes.submit(_watch_health, service.target).result()

    assert outcomes == {"OK": STREAMS_OF_A_MACHINE, "CALL_LIMIT": STREAMS - STREAMS_OF_A_MACHINE}
    assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
    reads.assert_hardly_slower(quiet, SLOWER_NEXT_TO_A_FLOOD)
    wait_until(lambda: gauge.threads() <= threads_before + 10)


def _watch_health(target: str) -> Counter[str]:
    """Open all streams, and return the reasons of the refusals; "OK" counts the streams that stay open."""
    outcomes: Counter[str] = Counter()
    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]))
            for _ in range(CONNECTIONS)
        ]
        watches = [
            health_pb2_grpc.HealthStub(channels[number % CONNECTIONS]).Watch(health_pb2.HealthCheckRequest())
            for number in range(STREAMS)
        ]
        for watch in watches:
            try:
                next(watch)
                outcomes["OK"] += 1
            except grpc.RpcError as error:
                outcomes[refusal_of(error).reason] += 1
    return outcomes


@pytest.mark.parametrize(
    ("path", "token", "logged"),
    [
        ("/grpc.health.v1.Health/Check", "", False),
        ("/avatar_creator.v1.AvatarService/GetAvatar", "wrong", True),
    ],
    ids=["health checks", "wrong tokens"],
)
def test_many_calls_write_few_lines(
    service: Deployment, witness: Witness, path: str, token: str, logged: bool
) -> None:
    quiet = witness.quiet_median()
    server = service.servers[0]
    before = len(server.output())
    with Threads(1) as threads, witness.reading() as reads:
        load = Load(service.target, token, path, "", SECONDS, callers=32, timeout=5)
        outcome = threads.submit(run, load).result()
    written = len(server.output()) - before

    own_lines = [line for line in server.output()[before:].splitlines() if "witness" in line]
    assert outcome.answered + sum(outcome.refused.values()) > 500
    assert written - sum(map(len, own_lines)) < MAX_LOG_BYTES_PER_SECOND * (SECONDS + 5)
    assert any(path in line for line in server.output()[before:].splitlines()) == logged
    reads.assert_hardly_slower(quiet, SLOWER_NEXT_TO_A_FLOOD)


def test_connections_that_send_nothing(service: Deployment, witness: Witness) -> None:
    quiet = witness.quiet_median()
    gauge = Gauge(service)
    before = gauge.server_bytes()
    host, _, port = service.target.rpartition(":")

    with ExitStack() as stack, gauge.sampling(), witness.reading() as reads:
        silent = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
            for _ in range(SILENT_CONNECTIONS)
        ]
        for connection in silent:
            wait_until_closed(connection)
        with service.client("newcomer") as newcomer:
            newcomer.projects.create("Later")

    assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
    reads.assert_hardly_slower(quiet, SLOWER_NEXT_TO_A_FLOOD)
