"""The availability that health checks read: the open circuits and the workers, with one statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from avatar_creator_server.database.compiled_queries import Statement
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.migrator import migrate
from avatar_creator_server.database.models import RunningWorker
from avatar_creator_server.generations.availability import AvailabilityReader
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.generations.pauses import RouteNames
from avatar_creator_server.generations.workers import LOST_AFTER, WorkerIdentity, Workers

PROVIDER = "huggingface"


class Trial:
    """A database, and what reads and writes it."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        migrate(self.database.peewee)
        self.circuit_breakers = CircuitBreakers(self.database, ["portrait", "reference"])
        self.workers = Workers(self.database, PROVIDER, RouteNames("local", "local"))
        self.reader = AvailabilityReader(self.database, self.circuit_breakers, self.workers)

    async def add_worker(self, name: str, *, provider: str = PROVIDER, slots: int = 2) -> None:
        """Write the row of a worker that is alive."""
        await self.workers.renew(WorkerIdentity(name, "0.1.0", "host", provider, slots), None)

    async def lose_worker(self, name: str) -> None:
        """Make the last renewal of a worker too old."""
        long_ago = LOST_AFTER + timedelta(seconds=1)

        def age() -> None:
            last_seen_time = self.database.now() - long_ago
            RunningWorker.update(last_seen_time=last_seen_time).where(RunningWorker.name == name).execute()

        await self.database.write(age)

    async def open_circuit(self, route: str) -> None:
        """Open the circuit of a route."""
        await self.circuit_breakers.record_failure(route, "PROVIDER_CREDIT", "no credit", since=None)


@pytest.fixture(params=["sqlite", "postgresql"])
async def trial(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trial]:
    """Both databases."""
    is_sqlite = request.param == "sqlite"
    opened = Trial(f"sqlite:///{tmp_path}/test.db" if is_sqlite else request.getfixturevalue("database_url"))
    yield opened
    await opened.database.close()


async def test_without_rows_no_circuit_is_open_and_no_worker_is_alive(trial: Trial) -> None:
    found = await trial.reader.read()
    assert found.open_circuits == []
    assert found.workers.slots == 0
    assert "no worker has been seen" in found.workers.warning


async def test_all_open_circuits_and_all_live_workers_are_found(trial: Trial) -> None:
    await trial.add_worker("one")
    await trial.add_worker("two", slots=3)
    await trial.add_worker("other", provider="replicate")
    await trial.add_worker("lost")
    await trial.lose_worker("lost")
    for route in ("reference", "portrait", "route-of-another-service"):
        await trial.open_circuit(route)

    found = await trial.reader.read()

    assert found.open_circuits == await trial.circuit_breakers.list_open()
    assert [circuit.route for circuit in found.open_circuits] == ["portrait", "reference"]
    assert (found.workers.slots, found.workers.warning) == (5, "")
    assert found.workers == await trial.workers.live()


async def test_circuits_are_found_without_workers_and_workers_without_circuits(trial: Trial) -> None:
    await trial.open_circuit("portrait")
    found = await trial.reader.read()
    assert ([each.route for each in found.open_circuits], found.workers.slots) == (["portrait"], 0)

    await trial.circuit_breakers.record_success("portrait", since=found.open_circuits[0].probe_time)
    await trial.add_worker("one")
    found = await trial.reader.read()
    assert (found.open_circuits, found.workers.slots) == ([], 2)


async def test_a_read_is_one_statement_and_calls_that_follow_need_none(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trial.add_worker("one")
    database: Any = trial.database.peewee
    execute, execute_together = database.execute_sql, database.execute_together
    sent: set[str] = set()

    def recorded(sql: str, *arguments: Any, **options: Any) -> Any:
        sent.add(sql)
        return execute(sql, *arguments, **options)

    def recorded_together(statements: Sequence[Statement]) -> Any:
        sent.update(statement.sql for statement in statements)
        return execute_together(statements)

    monkeypatch.setattr(database, "execute_sql", recorded)
    monkeypatch.setattr(database, "execute_together", recorded_together)
    await trial.reader.read()
    await trial.workers.live()
    assert len(sent) == 1
