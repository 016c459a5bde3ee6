"""CircuitBreakers: a route whose provider refuses the service itself is left alone for a while, by all workers.

Asking again with a refused key or without credit helps nobody: until the operator has mended it, every
generation would burn an attempt to learn the same. So the first refusal opens the route's circuit. After a
while one attempt may try it; if that is refused too, the next waits twice as long.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import RouteCircuit
from avatar_creator_server.errors import UnavailableError

OPENING_REASONS = frozenset({"PROVIDER_CREDENTIALS", "PROVIDER_CREDIT"})
"""The provider refuses the service itself, whatever it asks for."""

FIRST_WAIT = timedelta(seconds=60)
LONGEST_WAIT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Circuit:
    """A route that is left alone."""

    route: str
    reason: str
    """Name of an `ErrorReason`, one of `OPENING_REASONS`."""
    message: str
    """For people; has no secrets in it."""
    open_time: datetime
    probe_time: datetime
    """When one attempt may try it again."""


class CircuitBreakers:
    """The circuit breakers of all routes, shared by all processes."""

    def __init__(self, database: Database, routes: Collection[str]) -> None:
        self._database = database
        self._routes = routes

    async def open_ones(self) -> list[Circuit]:
        """Every route of this service that is left alone at present."""

        return await self._database.read(self.read_open)

    def read_open(self) -> list[Circuit]:
        """As `open_ones`, on a database thread."""
        rows = RouteCircuit.select().where(RouteCircuit.route.in_(self._routes))
        return [_read(row) for row in rows.order_by(RouteCircuit.route)]

    async def require_closed(self) -> None:
        """Find every route usable.

        Raises:
            UnavailableError: one is left alone at present; says why.
        """
        for circuit in await self.open_ones():
            raise UnavailableError(circuit.reason, f"route {circuit.route}: {circuit.message}")

    async def enter(self, route: str) -> Circuit | None:
        """Whether an attempt may use a route: None if so, else why not.

        When it is time to try a route again, one attempt of all workers' is let through.
        """
        circuit = await self._database.read(self._circuit, route)
        return circuit and await self._database.write(self._probe, route)

    async def refused(self, route: str, reason: str, message: str, *, since: datetime | None) -> None:
        """The provider has refused the service: leave the route alone for a while.

        `since` is when the attempt began that was refused; None if it only asked for an earlier request.
        Neither that, nor one that was under way when the route's circuit opened, says anything new of it.
        """
        await self._database.write(self._refused, route, reason, message, since)

    async def answered(self, route: str, *, since: datetime) -> None:
        """The provider has taken a request of an attempt that began then: the route is as good as any again.

        Unless its circuit opened meanwhile.
        """
        opened_before = (RouteCircuit.route == route, RouteCircuit.open_time <= since)
        if await self._database.read(lambda: RouteCircuit.select().where(*opened_before).exists()):
            await self._database.write(lambda: RouteCircuit.delete().where(*opened_before).execute())

    @staticmethod
    def _circuit(route: str) -> Circuit | None:
        row: RouteCircuit | None = RouteCircuit.get_or_none(RouteCircuit.route == route)
        return _read(row) if row else None

    def _probe(self, route: str) -> Circuit | None:
        query = RouteCircuit.select().where(RouteCircuit.route == route)
        row: RouteCircuit | None = self._database.locked(query).first()
        now = self._database.now()
        if row is None:
            return None
        if row.probe_time > now:
            return _read(row)
        RouteCircuit.update(probe_time=now + _wait(row.failure_count)).where(
            RouteCircuit.route == route
        ).execute()
        return None

    def _refused(self, route: str, reason: str, message: str, since: datetime | None) -> None:
        now = self._database.now()
        row: RouteCircuit | None = self._database.locked(
            RouteCircuit.select().where(RouteCircuit.route == route)
        ).first()
        if row is None:
            RouteCircuit.insert(
                route=route,
                reason=reason,
                message=message,
                failure_count=1,
                open_time=now,
                probe_time=now + FIRST_WAIT,
            ).on_conflict_ignore().execute()
            return
        if since is None or row.open_time > since:
            return
        RouteCircuit.update(
            reason=reason,
            message=message,
            failure_count=row.failure_count + 1,
            probe_time=now + _wait(row.failure_count),
        ).where(RouteCircuit.route == route).execute()


def _wait(failures: int) -> timedelta:
    return min(FIRST_WAIT * (1 << min(failures, 10)), LONGEST_WAIT)


def _read(row: RouteCircuit) -> Circuit:
    return Circuit(row.route, row.reason, row.message, row.open_time, row.probe_time)
