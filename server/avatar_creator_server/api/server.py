"""The gRPC server: how it is put together, started, and brought to an end."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import avatar_creator_server
from avatar_creator.v1 import (
    avatar_project_service_pb2,
    avatar_project_service_pb2_grpc,
    avatar_service_pb2,
    avatar_service_pb2_grpc,
    generation_service_pb2,
    generation_service_pb2_grpc,
    preset_service_pb2,
    preset_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from avatar_creator_server.api.interceptors.access_log import log_request
from avatar_creator_server.api.interceptors.authentication import Authentication
from avatar_creator_server.api.interceptors.context import ContextInterceptor
from avatar_creator_server.api.interceptors.decoding import DecodingInterceptor
from avatar_creator_server.api.interceptors.errors import translate_errors
from avatar_creator_server.api.servicers.avatars import AvatarService
from avatar_creator_server.api.servicers.generations import GenerationService
from avatar_creator_server.api.servicers.health import HealthService
from avatar_creator_server.api.servicers.presets import PresetService
from avatar_creator_server.api.servicers.projects import ProjectService
from avatar_creator_server.api.servicers.usage import UsageService
from avatar_creator_server.api.tokens import TokenVerifier
from avatar_creator_server.core import Core
from avatar_creator_server.operations.metrics_exporter import QueueCollector, serve_metrics
from avatar_creator_server.settings import Settings, SettingsError

if TYPE_CHECKING:
    from avatar_creator_tasks.worker import Worker

log = structlog.get_logger()

DRAIN_GRACE_SECONDS = 30.0
"""How long calls in flight may take to finish at shutdown."""

_OPTIONS: Sequence[tuple[str, Any]] = (
    # Two servers on one port would share its calls silently.
    ("grpc.so_reuseport", 0),
    # A restarted server meets all its watchers at once; a shorter accept queue cuts that burst off.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ("grpc.max_receive_message_length", 1024 * 1024),
    # How far ahead a sender may be of what has been read: gRPC's own guess lets an upload pile up in memory.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    # Whoever vanished without a word is noticed within a minute, from both sides.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

SERVICE_NAMES = tuple(
    service.full_name
    for module in (
        avatar_project_service_pb2,
        avatar_service_pb2,
        generation_service_pb2,
        usage_service_pb2,
        preset_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""Full names of the services of the contract."""


class AvatarServer:
    """One listening server over a `Core`."""

    def __init__(self, core: Core) -> None:
        settings = core.settings
        authentication = Authentication(
            TokenVerifier(
                settings.signing_secret(),
                user_claim=settings.jwt_user_claim,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
            )
        )
        self._core = core
        self._health = HealthService(core.database, core.notifier, core.circuit_breakers, SERVICE_NAMES)
        self._server = grpc.aio.server(
            interceptors=[
                ContextInterceptor(log_request),
                ContextInterceptor(translate_errors),
                ContextInterceptor(authentication.require_token),
                DecodingInterceptor(),
            ],
            options=_OPTIONS,
        )
        self._add_services()
        self._port = self._listen(settings)

    @property
    def port(self) -> int:
        """The port it listens on; the one chosen by the system when the setting says 0."""
        return self._port

    async def start(self) -> None:
        """Serve from here on."""
        await self._core.watches.start()
        await self._core.bus.start()
        await self._health.start()
        await self._server.start()
        log.info(
            "server_ready",
            version=avatar_creator_server.__version__,
            address=self._core.settings.listen_address,
            port=self._port,
        )

    async def stop(self) -> None:
        """Say NOT_SERVING, end the watches with UNAVAILABLE, and let calls in flight finish."""
        log.info("server_draining")
        await self._health.drain()
        self._core.watches.drain()
        await self._server.stop(DRAIN_GRACE_SECONDS)
        await self._core.watches.close()
        log.info("server_stopped")

    def _add_services(self) -> None:
        core, server = self._core, self._server
        avatar_project_service_pb2_grpc.add_AvatarProjectServiceServicer_to_server(
            ProjectService(core.projects, core.avatars), server
        )
        avatar_service_pb2_grpc.add_AvatarServiceServicer_to_server(AvatarService(core.avatars), server)
        generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(
            GenerationService(core.generations, core.feed, core.watches), server
        )
        usage_service_pb2_grpc.add_UsageServiceServicer_to_server(UsageService(core.usage), server)
        preset_service_pb2_grpc.add_PresetServiceServicer_to_server(PresetService(core.gallery), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection((*SERVICE_NAMES, health_name, reflection.SERVICE_NAME), server)

    def _listen(self, settings: Settings) -> int:
        address = settings.listen_address
        try:
            if settings.tls_key_file is None or settings.tls_certificate_file is None:
                return self._server.add_insecure_port(address)
            key_and_chain = (
                settings.tls_key_file.read_bytes(),
                settings.tls_certificate_file.read_bytes(),
            )
            credentials = grpc.ssl_server_credentials([key_and_chain])
            return self._server.add_secure_port(address, credentials)
        except OSError as error:
            raise SettingsError(f"TLS_CERTIFICATE_FILE or TLS_KEY_FILE cannot be read: {error}") from error
        except RuntimeError as error:
            remedy = (
                "are TLS_CERTIFICATE_FILE and TLS_KEY_FILE a certificate and its key?"
                if settings.tls_key_file
                else "is another server running there?"
            )
            raise SettingsError(f"LISTEN_ADDRESS {address} cannot be listened on: {remedy}") from error


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[AvatarServer]:
    """A server that serves while the context is open, with a worker beside it when embedded.

    Raises:
        SettingsError: the settings do not make a service.
        SchemaError: the database is not at this code's schema.
    """
    async with AsyncExitStack() as stack:
        core = Core.wire(settings)
        settings.signing_secret()  # a missing one is told before the database is asked
        stack.push_async_callback(core.close)
        if settings.embedded:
            stack.enter_context(_only_process_on(settings.database))
        core.ensure_schema()
        if settings.embedded:
            await core.leases.expire_all()
        # Made first: what it lacks is told before anybody is served.
        worker = _embedded_worker(core) if settings.embedded else nullcontext()
        server = AvatarServer(core)
        serve_metrics(settings.metrics_address, QueueCollector(core.database, core.circuit_breakers))
        await server.start()
        await stack.enter_async_context(worker)
        stack.push_async_callback(server.stop)
        yield server


async def serve(settings: Settings, finish: asyncio.Event) -> None:
    """Serve until `finish` is set; raises as `running` does."""
    async with running(settings):
        await finish.wait()


def _embedded_worker(core: Core) -> AbstractAsyncContextManager[None]:
    # Apart from the command `worker`, the one place that knows of the tasks: all else goes by wake-ups.
    from avatar_creator_tasks.worker import Worker

    return _working(Worker(core))


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    finish = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(finish), name="embedded-worker")
        try:
            yield
        finally:
            finish.set()


@contextmanager
def _only_process_on(sqlite_url: str) -> Iterator[None]:
    """Keep a second embedded service off: its watchers would not hear of the first one's work."""
    path = sqlite_url.removeprefix("sqlite:///")
    with Path(f"{path}.serve-lock").open("w") as lock_file:
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"another service runs on {path}: end it, or set DATA_PATH to another folder"
            ) from error
        yield
