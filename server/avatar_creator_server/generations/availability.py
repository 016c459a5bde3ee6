"""The availability of drawing: open circuits, pauses and workers, read with one statement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import JOIN, SQL, Join, Select

from avatar_creator_server.database.compiled_queries import (
    Columns,
    CompiledQuery,
    Row,
    compiled,
    numbered,
    parameters,
)
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import QueuePause, RouteCircuit, RunningWorker
from avatar_creator_server.database.models.base import database_proxy
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers, OpenCircuit
from avatar_creator_server.generations.pauses import Pause
from avatar_creator_server.generations.workers import (
    LiveWorkers,
    WorkerRecord,
    Workers,
    worker_columns,
    worker_reader,
)


@dataclass(frozen=True, slots=True)
class Availability:
    """The state of what a service needs to draw."""

    open_circuits: Sequence[OpenCircuit]
    """Open circuits of the service's routes."""
    workers: LiveWorkers
    """Live workers with the service's provider, and the pauses that keep generations from them."""


class AvailabilityReader:
    """Reads the availability for the health checks."""

    def __init__(self, database: Database, circuit_breakers: CircuitBreakers, workers: Workers) -> None:
        self._database = database
        self._circuit_breakers = circuit_breakers
        self._workers = workers

    async def read(self) -> Availability:
        """Read the availability, on the database connection of the health checks.

        Raises:
            UnavailableError: The database does not answer.
        """
        began_at = time.monotonic()
        circuits, workers, pauses = await self._database.probe(self._read)
        return Availability(circuits, self._workers.note(workers, pauses, began_at))

    def _read(self) -> tuple[list[OpenCircuit], list[WorkerRecord], list[Pause]]:
        routes = self._circuit_breakers.routes
        query = _query(self._database.is_postgresql, len(routes))
        rows = query.rows(**numbered("route", routes))
        # Each worker comes once with each circuit and each pause.
        circuits = {circuit.route: circuit for circuit, _, _ in rows if circuit}
        workers = {worker.name: worker for _, worker, _ in rows if worker}
        pauses = {pause.route: pause for _, _, pause in rows if pause}
        return list(circuits.values()), list(workers.values()), [pauses[route] for route in sorted(pauses)]


_Found = tuple[OpenCircuit | None, WorkerRecord | None, Pause | None]


@compiled
def _query(is_postgresql: bool, routes: int) -> CompiledQuery[_Found]:
    always = SQL("1 = 1")
    is_ours = RouteCircuit.route.in_(parameters("route", routes))
    # A table of one row: there may be no worker and no circuit.
    tables: Any = Select(columns=[SQL("1").alias("one")]).alias("one_row")
    tables = Join(tables, RunningWorker, JOIN.LEFT_OUTER, on=always)
    tables = Join(tables, RouteCircuit, JOIN.LEFT_OUTER, on=is_ours)
    tables = Join(tables, QueuePause, JOIN.LEFT_OUTER, on=always)
    columns = [
        *worker_columns(is_postgresql),
        *RouteCircuit._meta.sorted_fields,
        *QueuePause._meta.sorted_fields,
    ]
    query = Select([tables], columns).order_by(RouteCircuit.route).bind(database_proxy)
    return CompiledQuery(query, _reader)


def _reader(columns: Columns) -> Callable[[Row], _Found]:
    route, name = columns.getter("route", RouteCircuit), columns.getter("name", RunningWorker)
    circuit, worker = columns.reader(OpenCircuit, RouteCircuit), worker_reader(columns)
    # The route of a pause may be empty.
    paused, pause = columns.getter("pause_time", QueuePause), columns.reader(Pause, QueuePause)
    return lambda row: (
        circuit(row) if route(row) else None,
        worker(row) if name(row) else None,
        pause(row) if paused(row) else None,
    )
