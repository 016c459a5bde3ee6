"""Circuit breakers: if a provider refuses the service itself, all workers pause that route.

A refused key or missing credit does not change until the operator fixes it; without a circuit breaker, every
generation would spend an attempt on the same refusal. The first refusal opens the circuit. After a delay, the
circuit is half-open: one attempt may use the route. If that attempt is refused too, the delay doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import RouteCircuit

OPENING_REASONS = frozenset({"PROVIDER_CREDENTIALS", "PROVIDER_CREDIT"})
"""Reasons that open the circuit: the provider refuses the service itself, not one request."""

FIRST_DELAY = timedelta(seconds=60)
MAX_DELAY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """An open circuit."""

    route: str
    reason: str
    """Name of an `ErrorReason`, one of `OPENING_REASONS`."""
    message: str
    """Text for people, without secrets."""
    open_time: datetime
    probe_time: datetime
    """Time from which one attempt may use the route."""


class CircuitBreakers:
    """The circuit breakers of all routes, shared by all processes through the database."""

    def __init__(self, database: Database, routes: Sequence[str]) -> None:
        self._database = database
        self.routes = routes
        """Names of this service's routes."""

    async def list_open(self) -> list[OpenCircuit]:
        """Return the open circuits of this service's routes."""
        return await self._database.read(self.read_open)

    def read_open(self) -> list[OpenCircuit]:
        """Return what `list_open` returns, in a database job."""
        rows = RouteCircuit.select().where(RouteCircuit.route.in_(self.routes))
        return [_read(row) for row in rows.order_by(RouteCircuit.route)]

    async def allow(self, route: str) -> OpenCircuit | None:
        """Return None if an attempt may use the route, else the open circuit.

        When the circuit is half-open, one attempt of all workers is allowed.
        """
        circuit = await self._database.read(self._circuit, route)
        return circuit and await self._database.write(self._probe, route)

    async def record_failure(self, route: str, reason: str, message: str, *, since: datetime | None) -> None:
        """Open the circuit, or extend its delay, because the provider refused the service.

        Args:
            route: The refused route.
            reason: One of `OPENING_REASONS`.
            message: Text for people, without secrets.
            since: Start of the refused attempt; None if it resumed an earlier request. Such an attempt, and
                one that started before the circuit opened, do not extend the delay.
        """
        await self._database.write(self._open_or_extend, route, reason, message, since)

    async def record_success(self, route: str, *, since: datetime) -> None:
        """Close the circuit, because the provider accepted a request of an attempt that started at `since`.

        No effect if the circuit opened after that.
        """
        opened_before = (RouteCircuit.route == route, RouteCircuit.open_time <= since)
        if await self._database.read(lambda: RouteCircuit.select().where(*opened_before).exists()):
            await self._database.write(lambda: RouteCircuit.delete().where(*opened_before).execute())

    @staticmethod
    def _circuit(route: str) -> OpenCircuit | None:
        row: RouteCircuit | None = RouteCircuit.get_or_none(RouteCircuit.route == route)
        return _read(row) if row else None

    def _probe(self, route: str) -> OpenCircuit | None:
        query = RouteCircuit.select().where(RouteCircuit.route == route)
        row: RouteCircuit | None = self._database.locked(query).first()
        now = self._database.now()
        if row is None:
            return None
        if row.probe_time > now:
            return _read(row)
        RouteCircuit.update(probe_time=now + _delay(row.failure_count)).where(
            RouteCircuit.route == route
        ).execute()
        return None

    def _open_or_extend(self, route: str, reason: str, message: str, since: datetime | None) -> None:
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
                probe_time=now + FIRST_DELAY,
            ).on_conflict_ignore().execute()
            return
        if since is None or row.open_time > since:
            return
        RouteCircuit.update(
            reason=reason,
            message=message,
            failure_count=row.failure_count + 1,
            probe_time=now + _delay(row.failure_count),
        ).where(RouteCircuit.route == route).execute()


def _delay(failures: int) -> timedelta:
    return min(FIRST_DELAY * (1 << min(failures, 10)), MAX_DELAY)


def _read(row: RouteCircuit) -> OpenCircuit:
    return OpenCircuit(row.route, row.reason, row.message, row.open_time, row.probe_time)
