"""Servicer of `grpc.health.v1.Health`, which reports whether database, queue, provider and workers work.

It replaces the asyncio servicer of grpcio, which stops notifying the other watchers when one of them leaves
(grpc/grpc#43403).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator_server.api.context import Context
from avatar_creator_server.errors import NotFoundError, UnavailableError
from avatar_creator_server.generations.availability import Availability, AvailabilityReader
from avatar_creator_server.shared.worker_notifier import WorkerNotifier

log = structlog.get_logger()

CHECK_SECONDS = 1.0
"""Interval between two checks of database, queue, provider and workers."""

_CHECK_TIMEOUT_SECONDS = 5.0
_MAX_NAME_CHARACTERS_IN_ERROR = 100

SERVING: int = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: int = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpcio ships no types for it
    """The health of the server, the contract's services, `queue`, `claims`, `provider` and `worker`.

    The empty name and the names of the services have the status of the database. `queue`, `claims`,
    `provider` and `worker` have a status of their own: the server accepts work without them, so they do not
    make the services NOT_SERVING. `claims` is NOT_SERVING while an operator has paused the queue or a route.
    `provider` is NOT_SERVING while the circuit breaker of a route is open, because the route's provider
    refuses requests. `worker` is NOT_SERVING while no live worker claims generations.
    """

    def __init__(
        self,
        availability: AvailabilityReader,
        notifier: WorkerNotifier,
        service_names: Sequence[str],
    ) -> None:
        self._availability = availability
        self._notifier = notifier
        self._names_of_database = ("", *service_names)
        names = (*self._names_of_database, "queue", "claims", "provider", "worker")
        self._statuses: dict[str, int] = dict.fromkeys(names, NOT_SERVING)
        self._failed: set[str] = set()
        """Names of the checks that failed the last time."""
        self._changed = asyncio.Condition()
        self._draining = False
        self._checking: asyncio.Task[None] | None = None

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a name.

        Raises:
            NotFoundError: The name is unknown.
        """
        if request.service not in self._statuses:
            raise NotFoundError("health service", request.service[:_MAX_NAME_CHARACTERS_IN_ERROR])
        return health_pb2.HealthCheckResponse(status=self._statuses[request.service])

    async def List(
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """Return the statuses of all names."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status) for name, status in self._statuses.items()
            }
        )

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yield the status of a name now and after each change, until the server drains."""
        last_sent: int | None = None
        while True:
            status = self._statuses.get(request.service, SERVICE_UNKNOWN)
            if status != last_sent:
                last_sent = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._draining:
                return
            async with self._changed:
                while (
                    not self._draining and self._statuses.get(request.service, SERVICE_UNKNOWN) == last_sent
                ):
                    await self._changed.wait()

    @property
    def is_serving(self) -> bool:
        """True if the server as a whole is SERVING."""
        return self._statuses[""] == SERVING

    async def start(self) -> None:
        """Check the first statuses, and keep checking in the background."""
        await self._check()
        self._checking = asyncio.create_task(self._check_forever(), name="health")

    async def drain(self) -> None:
        """Report NOT_SERVING for every name and end the watches."""
        await self.close()
        self._draining = True
        await self._set(dict.fromkeys(self._statuses, NOT_SERVING))

    async def close(self) -> None:
        """Stop checking."""
        if self._checking is not None:
            self._checking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checking
            self._checking = None

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._check()

    async def _check(self) -> None:
        found: Availability | None = None

        async def read_availability() -> None:
            nonlocal found
            found = await self._availability.read()

        async def require_closed_circuits() -> None:
            for circuit in found.open_circuits if found else ():
                raise UnavailableError(circuit.reason, f"route {circuit.route}: {circuit.message}")

        database, queue = await asyncio.gather(
            self._status_of("database", read_availability),
            self._status_of("queue", self._notifier.ping),
        )
        provider = worker = claims = NOT_SERVING
        if found is not None:
            # Logs nothing: `operation_requested` has the pause.
            claims = NOT_SERVING if found.workers.pauses.pauses else SERVING
            provider = await self._status_of("provider", require_closed_circuits)
            # Logs nothing: a service may run without workers for hours, for example at night.
            worker = SERVING if found.workers.slots else NOT_SERVING
        services = dict.fromkeys(self._names_of_database, database)
        statuses = {"queue": queue, "claims": claims, "provider": provider, "worker": worker}
        await self._set({**services, **statuses})

    async def _status_of(self, name: str, check: Callable[[], Awaitable[None]]) -> int:
        """Run a check, and log when it begins to fail and when it recovers."""
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
                await check()
        except Exception as error:  # every failure means that it does not serve
            if name not in self._failed:
                self._failed.add(name)
                log.warning("health_check_failed", name=name, error=repr(error))
            return NOT_SERVING
        if name in self._failed:
            self._failed.remove(name)
            log.info("health_check_recovered", name=name)
        return SERVING

    async def _set(self, statuses: dict[str, int]) -> None:
        if statuses != self._statuses:
            async with self._changed:
                self._statuses = statuses
                self._changed.notify_all()
