"""Serves `grpc.health.v1.Health`, telling the truth about database, queue and provider.

Ours and not grpcio's, because the asyncio one stops telling the other watchers once one has left
(grpc/grpc#43403).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from avatar_creator_server.api.interceptors.context import Context
from avatar_creator_server.database.connection import Database
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.shared.job_notifier import JobNotifier

log = structlog.get_logger()

CHECK_SECONDS = 1.0
"""How often database and queue are asked."""

_ANSWER_SECONDS = 5.0
_SHOWN_CHARACTERS = 100

SERVING: int = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: int = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: int = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpcio ships no types for it
    """The empty name and the services follow the database; `queue` and `provider` are names of their own.

    A server without its queue or provider still accepts work, so they do not make the services NOT_SERVING.
    `provider` is NOT_SERVING while a route of the service is left alone, because its provider refuses it.
    """

    def __init__(
        self,
        database: Database,
        notifier: JobNotifier,
        circuit_breakers: CircuitBreakers,
        service_names: Sequence[str],
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._circuit_breakers = circuit_breakers
        self._following_database = ("", *service_names)
        names = (*self._following_database, "queue", "provider")
        self._statuses: dict[str, int] = dict.fromkeys(names, NOT_SERVING)
        self._changed = asyncio.Condition()
        self._draining = False
        self._checking: asyncio.Task[None] | None = None

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The status of a name; NOT_FOUND for a name that is not served."""
        if request.service not in self._statuses:
            raise NotFoundError("health service", request.service[:_SHOWN_CHARACTERS])
        return health_pb2.HealthCheckResponse(status=self._statuses[request.service])

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status of a name now and whenever it changes, until the server has drained."""
        told: int | None = None
        while True:
            status = self._statuses.get(request.service, SERVICE_UNKNOWN)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._draining:
                return
            async with self._changed:
                while not self._draining and self._statuses.get(request.service, SERVICE_UNKNOWN) == told:
                    await self._changed.wait()

    async def start(self) -> None:
        """Find out the first statuses and keep them true from then on."""
        await self._check()
        self._checking = asyncio.create_task(self._check_for_ever(), name="health")

    async def drain(self) -> None:
        """Say NOT_SERVING to everybody and end the watches."""
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

    async def _check_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self._check()

    async def _check(self) -> None:
        database, queue, provider = await asyncio.gather(
            self._answers("database", self._database.ping),
            self._answers("queue", self._notifier.ping),
            self._answers("provider", self._circuit_breakers.require_closed),
        )
        followers = dict.fromkeys(self._following_database, database)
        await self._set({**followers, "queue": queue, "provider": provider})

    @staticmethod
    async def _answers(name: str, ping: Callable[[], Awaitable[None]]) -> int:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await ping()
        except Exception as error:  # whatever keeps it from answering
            log.warning("health_check_failed", name=name, error=repr(error))
            return NOT_SERVING
        return SERVING

    async def _set(self, statuses: dict[str, int]) -> None:
        if statuses != self._statuses:
            async with self._changed:
                self._statuses = statuses
                self._changed.notify_all()
