"""Something that can write to Redis floods it with forged messages: users hardly notice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from avatar_creator import Generation
from tests.abuse.forgeries import FORGERIES
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.witness import Witness
from tests.support.generations import COMPLETED, PENDING, PROCESSING, SMALLEST
from tests.support.service import Deployment
from tests.support.waiting import let_pass, wait_until
from tests.support.watcher import Watcher

pytestmark = pytest.mark.abuse

FLOOD_SECONDS = 5.0
MESSAGES_PER_TRANSACTION = 10
"""Least number of forged messages for each transaction in the database, with those of honest users."""
MAX_KEPT_BYTES = 80 * MIB
_TRANSACTIONS = "SELECT xact_commit AS number FROM pg_stat_database WHERE datname = current_database()"
_END_SECONDS = 30


@pytest.fixture
def service(distributed: Deployment) -> Deployment:
    """A server of this test only, without a worker."""
    distributed.start_server()
    return distributed


class Flood:
    """A process that publishes forged messages."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.messages = 0

    def end(self) -> None:
        """End the process, and read the number of its messages."""
        output, _ = self._process.communicate(timeout=_END_SECONDS)
        assert self._process.returncode == 0
        self.messages = int(output)


@contextmanager
def flooding(name: str, redis_url: str, generation: Generation) -> Iterator[Flood]:
    """Publish forged messages while the context is open."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.abuse.forgeries",
            name,
            redis_url,
            generation.project_id,
            generation.id,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    flood = Flood(process)
    try:
        yield flood
        flood.end()
    finally:
        process.kill()
        process.wait()


def transactions(service: Deployment) -> int:
    """Return the number of transactions in the database so far."""
    (row,) = service.execute(_TRANSACTIONS)
    return int(row["number"])


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_flood_of_forged_messages_does_not_slow_others(
    service: Deployment, redis_url: str, forgery: str
) -> None:
    with service.client("sarah") as client, Witness(service) as witness:
        gauge = Gauge(service)
        project = client.projects.create("Forged")
        generation = client.generations.create(
            project.id, "a calm man", width=SMALLEST, height=SMALLEST
        ).generation
        watcher = Watcher(client, generation.id)
        watcher.wait_for(lambda state: state.state == PENDING)
        quiet, before, threads_before = witness.quiet_median(), gauge.server_bytes(), gauge.threads()
        transactions_before = transactions(service)

        with flooding(forgery, redis_url, generation) as flood:
            with witness.reading() as reads:
                let_pass(FLOOD_SECONDS)
            assert service.servers[0].exit_code() is None
            worker = service.start_worker()
            states = watcher.states(60.0)
            let_pass(FLOOD_SECONDS)
        used = transactions(service) - transactions_before

        reads.assert_hardly_slower(quiet)
        assert [state.state for state in states if state.state not in (PENDING, PROCESSING)] == [COMPLETED]
        assert client.generations.get(generation.id).attempt_number == 1
        assert used < flood.messages / MESSAGES_PER_TRANSACTION
        assert worker.exit_code() is None
        wait_until(lambda: gauge.server_bytes() - before < MAX_KEPT_BYTES)
        wait_until(lambda: gauge.threads() <= threads_before + 8)
        slower = reads.median / quiet
        print(f"{forgery}: {flood.messages} messages, {used} transactions, {slower:.1f} times slower")
