"""Control of the queue by operators: what it holds, its pauses, and the workers that run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from peewee import fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import WHOLE_QUEUE, AvatarGeneration, QueuePause, least_id
from avatar_creator_server.database.models.generation import has_failed_since
from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers, OpenCircuit
from avatar_creator_server.generations.pauses import Pause, read_pauses
from avatar_creator_server.generations.queue_metrics import QueueFigures, read_queue_figures
from avatar_creator_server.generations.routes import Route, Routes
from avatar_creator_server.generations.workers import Workers, WorkingWorker
from avatar_creator_server.shared.paging import Page, Pager
from avatar_creator_server.shared.worker_notifier import WorkerNotifier

_FAILED_SINCE = timedelta(hours=1)
_CREATED_SINCE = timedelta(days=1)
"""Age of the oldest generation whose failure counts: no index has the times of failures."""


@dataclass(frozen=True, slots=True)
class QueueRoute:
    """A route of the service, and the generations that take it."""

    route: Route
    draws_from_text: bool
    draws_from_reference: bool
    outage: OpenCircuit | None
    """Open circuit of the route; None if its provider does not refuse the service."""


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue, for operators."""

    figures: QueueFigures
    now: datetime
    """Time of the figures."""
    routes: Sequence[QueueRoute]
    pauses: Sequence[Pause]
    recent_failures: Sequence[tuple[str, int]]
    """Name of an `ErrorReason`, and number of the last hour's failures with it, most frequent first."""


class QueueControl:
    """The queue of all users, for operators."""

    def __init__(
        self,
        database: Database,
        pager: Pager,
        workers: Workers,
        notifier: WorkerNotifier,
        routes: Routes,
        circuit_breakers: CircuitBreakers,
    ) -> None:
        self._database = database
        self._pager = pager
        self._workers = workers
        self._notifier = notifier
        self._routes = routes
        self._circuit_breakers = circuit_breakers

    async def status(self) -> QueueStatus:
        """Return the queue as it is now."""
        return await self._database.read(self._read)

    async def list_workers(self, operator: str, *, page_size: int, page_token: str) -> Page[WorkingWorker]:
        """Read a page of the live and the lost workers, by name, with what they run.

        Raises:
            InvalidArgumentError: The page token does not belong to this list.
        """
        return await self._pager.read(
            (operator, "workers"),
            lambda limit, cursor: self._workers.read_working(limit, cursor[0] if cursor else ""),
            lambda last: [last.worker.name],
            page_size=page_size,
            page_token=page_token,
        )

    async def pause(self, route: str, *, note: str, operator: str) -> QueueStatus:
        """Let no worker claim generations of a route, or any with an empty name, until `resume`.

        Raises:
            InvalidArgumentError: The service has no such route.
        """
        if not self._is_known(route):
            raise self._unknown_route(self._routes.named())
        return await self._change(lambda: self._pause(route, note, operator))

    async def resume(self, route: str) -> QueueStatus:
        """End the pause of a route, or that of the whole queue with an empty name.

        Raises:
            InvalidArgumentError: The service has no such route, and none with this name is paused.
        """
        status = await self._change(lambda: self._resume(route))
        await self._notifier.notify_generation()
        return status

    async def _change(self, change: Callable[[], None]) -> QueueStatus:
        """Change the pauses, and return the queue with the new ones."""

        def write() -> list[Pause]:
            change()
            return read_pauses()

        # Not in the transaction: on SQLite, nothing else could be written while it counts the queue. And not
        # after it: a read that is refused would fail a call that has changed something.
        status = await self.status()
        pauses = await self._database.write(write)
        self._workers.forget()
        return replace(status, pauses=pauses)

    def _pause(self, route: str, note: str, operator: str) -> None:
        row, now = QueuePause, self._database.now()
        # A second pause keeps the time and the operator of the first.
        row.insert(route=route, pause_time=now, paused_by=operator, note=note).on_conflict(
            conflict_target=[row.route], update={row.note: note}
        ).execute()

    def _resume(self, route: str) -> None:
        was_paused = QueuePause.delete().where(QueuePause.route == route).execute()
        # A pause may be of a route that an earlier version of the settings had.
        if not was_paused and not self._is_known(route):
            raise self._unknown_route({*self._routes.named(), *(pause.route for pause in read_pauses())})

    def _is_known(self, route: str) -> bool:
        return route == WHOLE_QUEUE or route in self._routes.named()

    def _unknown_route(self, possible: Iterable[str]) -> InvalidArgumentError:
        names = " or ".join(sorted({*possible} - {WHOLE_QUEUE}))
        return InvalidArgumentError.of_field("route", f"must be {names}, or empty for the whole queue")

    def _read(self) -> QueueStatus:
        now = self._database.now()
        outages = {circuit.route: circuit for circuit in self._circuit_breakers.read_open()}
        return QueueStatus(
            figures=read_queue_figures(self._database),
            now=now,
            routes=[
                QueueRoute(
                    route,
                    draws_from_text=route.name == self._routes.from_text.name,
                    draws_from_reference=self._routes.from_reference is not None
                    and route.name == self._routes.from_reference.name,
                    outage=outages.get(route.name),
                )
                for route in self._routes.named().values()
            ],
            pauses=read_pauses(),
            recent_failures=_read_failures(now),
        )


def _read_failures(now: datetime) -> list[tuple[str, int]]:
    row, number = AvatarGeneration, fn.COUNT(AvatarGeneration.id)
    failed: Any = row.select(row.error_reason, number).where(
        has_failed_since(row, least_id(now, -_CREATED_SINCE)), row.end_time > now - _FAILED_SINCE
    )
    return list(failed.group_by(row.error_reason).order_by(number.desc(), row.error_reason).tuples())
