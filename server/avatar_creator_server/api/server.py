"""The gRPC server: its parts, its start and its shutdown."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

import avatar_creator_server
from avatar_creator.v1 import (
    avatar_project_service_pb2,
    avatar_project_service_pb2_grpc,
    avatar_service_pb2,
    avatar_service_pb2_grpc,
    generation_service_pb2,
    generation_service_pb2_grpc,
    operations_service_pb2,
    operations_service_pb2_grpc,
    preset_service_pb2,
    preset_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from avatar_creator_server.addresses import parse_address
from avatar_creator_server.api.access_log import AccessLog
from avatar_creator_server.api.authentication import Authentication
from avatar_creator_server.api.backlog import Backlog
from avatar_creator_server.api.calls import Calls
from avatar_creator_server.api.claims import ClaimRules
from avatar_creator_server.api.handlers import Handlers, Steps
from avatar_creator_server.api.servicers.avatars import AvatarService
from avatar_creator_server.api.servicers.generations import GenerationService
from avatar_creator_server.api.servicers.health import HealthService
from avatar_creator_server.api.servicers.operations import OperationsService
from avatar_creator_server.api.servicers.presets import PresetService
from avatar_creator_server.api.servicers.projects import ProjectService
from avatar_creator_server.api.servicers.reflection import SERVICE_NAMES as REFLECTION_NAMES
from avatar_creator_server.api.servicers.reflection import ReflectionService
from avatar_creator_server.api.servicers.usage import UsageService
from avatar_creator_server.api.tokens import TokenVerifier
from avatar_creator_server.api.transfers import Transfers
from avatar_creator_server.core import Core
from avatar_creator_server.database.connection import Database
from avatar_creator_server.operations.database_lock import locked
from avatar_creator_server.operations.listening import (
    Ports,
    listen_error,
    probe_socket_error,
    require_own_address,
)
from avatar_creator_server.operations.metrics_exporter import QueueCollector, serve_metrics
from avatar_creator_server.operations.server_process import ServerProcess
from avatar_creator_server.operations.start_up import SERVER_CHECKS, StartUp, StartUpCheck, require_all
from avatar_creator_server.settings import Settings, SettingsError, system_reason
from avatar_creator_server.shared.memory import MemoryReturn, collect_less_often

if TYPE_CHECKING:
    from avatar_creator_server.web.calls import WebCalls
    from avatar_creator_server.web.door import WebDoor
    from avatar_creator_tasks.worker import Worker

log = structlog.get_logger()

DRAIN_GRACE_SECONDS = 30.0
"""Maximum time that calls in flight have to finish at shutdown."""

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Size of a message from which gRPC itself refuses it."""
_OTHER_FILES = 512
"""Open files that are not connections of callers: pictures, the database, Redis and decoders."""
MAX_METADATA_BYTES = 64 * 1024
"""Size of a call's metadata from which gRPC itself refuses the call."""

_OPTIONS: Sequence[tuple[str, Any]] = (
    # After a restart all watchers reconnect at once: a shorter accept queue would refuse some of them.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    # More than any limit of the contract: our error names the field that is too large, and gRPC's does not.
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    # Equal, because gRPC refuses calls at random between the two. Larger than the largest token, because our
    # error has a reason.
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    # How far a client may send ahead of the handler: gRPC's own estimate lets whole uploads pile up in
    # memory.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    # Keepalive pings detect a dead client within a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A connection that does not begin with a handshake, of TLS or HTTP/2, is closed.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Clients may ping as often as they like, also without a call. By default, gRPC closes the connection of a
    # client that pings often, and the interval that it allows depends on whether there is a call.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
)

SERVICE_NAMES = tuple(
    service.full_name
    for module in (
        avatar_project_service_pb2,
        avatar_service_pb2,
        generation_service_pb2,
        usage_service_pb2,
        preset_service_pb2,
        operations_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
"""Full names of the services in the contract."""


class AvatarServer:
    """One listening server over a `Core`."""

    def __init__(self, core: Core, *, shares_port: bool = False) -> None:
        """Create a server that listens, and that accepts no call yet.

        Args:
            core: The parts of the process.
            shares_port: True if other processes of the same server listen on the same port.
        """
        settings = core.settings
        authentication = Authentication(
            TokenVerifier(
                settings.signing_secret(),
                user_claim=settings.jwt_user_claim,
                rules=ClaimRules(
                    issuer=settings.jwt_issuer,
                    audience=settings.jwt_audience,
                    leeway_seconds=settings.jwt_leeway_seconds,
                ),
            )
        )
        access_log = self._access_log = AccessLog()
        self._backlog = Backlog()
        self._core = core
        memory = MemoryReturn()
        self._transfers = Transfers(settings, memory)
        calls = Calls(settings, authentication, self._transfers, memory)
        self._health = HealthService(core.availability, core.notifier, SERVICE_NAMES)
        connections = _possible_connections(
            settings.connections, ports=2 if settings.web_listen_address else 1
        )
        self._server = grpc.aio.server(
            options=(
                *_OPTIONS,
                # Not by default: a second server would share the port, and silently get part of the calls.
                ("grpc.so_reuseport", int(shares_port)),
                ("grpc.max_concurrent_streams", settings.streams_per_connection),
                ("grpc.max_connection_idle_ms", round(settings.connection_idle_seconds * 1000)),
                ("grpc.max_allowed_incoming_connections", connections),
            ),
        )
        handlers = self._handlers(Steps(self._backlog, calls, authentication, access_log))
        self._server.add_generic_rpc_handlers((handlers,))
        self._port = self._listen(settings)
        self._listen_for_probes()
        self._web = self._open_web_port(handlers, connections, shares_port=shares_port)
        # Without a port of its own, a server may still know that of others.
        core.picture_links.serve_at(settings.public_url(self._web.port if self._web else None))

    @property
    def port(self) -> int:
        """The port that the server listens on. If the setting says 0, the system has chosen it."""
        return self._port

    @property
    def web(self) -> WebDoor | None:
        """The web port; None if there is none."""
        return self._web

    async def start(self) -> None:
        """Start to accept calls."""
        await self._core.watches.start()
        await self._core.bus.start()
        await self._health.start()
        await self._server.start()
        if self._web is not None:
            await self._web.start()
        self._backlog.start()
        log.info(
            "server_ready",
            version=avatar_creator_server.__version__,
            address=self._core.settings.listen_address,
            port=self._port,
        )

    async def stop(self) -> None:
        """Report NOT_SERVING, end the watches with UNAVAILABLE, and let calls in flight finish."""
        log.info("server_draining")
        await self._health.drain()
        self._core.watches.drain()
        await self._backlog.stop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._server.stop(DRAIN_GRACE_SECONDS), name="drain-grpc")
            if self._web is not None:
                group.create_task(self._web.stop(DRAIN_GRACE_SECONDS), name="drain-web")
        await self._core.watches.close()
        self._transfers.close()
        self._access_log.report_not_logged()
        log.info("server_stopped")

    def _handlers(self, steps: Steps) -> Handlers:
        core, handlers = self._core, Handlers(steps)
        server = cast(grpc.aio.Server, handlers)
        avatar_project_service_pb2_grpc.add_AvatarProjectServiceServicer_to_server(
            ProjectService(core.projects, core.project_deletion, core.avatars, core.picture_links), server
        )
        avatar_service_pb2_grpc.add_AvatarServiceServicer_to_server(
            AvatarService(core.avatars, self._transfers, core.picture_links), server
        )
        generation_service_pb2_grpc.add_GenerationServiceServicer_to_server(
            GenerationService(core.generations, core.feed, core.watches), server
        )
        usage_service_pb2_grpc.add_UsageServiceServicer_to_server(UsageService(core.usage), server)
        preset_service_pb2_grpc.add_PresetServiceServicer_to_server(PresetService(core.gallery), server)
        operations_service_pb2_grpc.add_OperationsServiceServicer_to_server(OperationsService(core), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        if core.settings.reflection == "on":
            ReflectionService((*SERVICE_NAMES, health_name, *REFLECTION_NAMES)).add_to_server(server)
        handlers.require_all()
        return handlers

    def _open_web_port(self, handlers: Handlers, connections: int, *, shares_port: bool) -> WebDoor | None:
        if not self._core.settings.web_listen_address:
            return None
        # Its libraries are not part of the memory of a server without a web port.
        from avatar_creator_server.web.door import DoorParts, WebDoor

        parts = DoorParts(
            self._core,
            lambda: self._load_web_calls(handlers),
            self._transfers,
            is_ready=lambda: self._health.is_serving,
            connections=connections,
            shares_port=shares_port,
        )
        return WebDoor.open(parts)

    def _load_web_calls(self, handlers: Handlers) -> WebCalls:
        # Its libraries are not part of the memory of a server that no browser calls.
        from avatar_creator_server.web.calls import WebCalls

        return WebCalls(
            handlers.methods,
            self._backlog,
            max_request_bytes=MAX_REQUEST_BYTES,
            behind_proxy=self._core.settings.web_behind_proxy,
        )

    def _listen(self, settings: Settings) -> int:
        address = settings.listen_address
        require_own_address("LISTEN_ADDRESS", address)
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
            raise SettingsError(
                f"TLS_CERTIFICATE_FILE or TLS_KEY_FILE cannot be read: {system_reason(error)}"
            ) from error
        except RuntimeError as error:
            # gRPC does not say why.
            raise listen_error("LISTEN_ADDRESS", address) or SettingsError(
                f"cannot listen on LISTEN_ADDRESS {address}: check the address, TLS_CERTIFICATE_FILE and "
                "TLS_KEY_FILE"
            ) from error

    def _listen_for_probes(self) -> None:
        try:
            self._server.add_insecure_port(self._backlog.address)
        except RuntimeError as error:
            raise probe_socket_error() from error


def _possible_connections(most: int, *, ports: int) -> int:
    """Let this process open as many files as the system allows, and return the share of one port.

    The ports share the files equally, so that a flood of one leaves the other its own.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return most if hard == resource.RLIM_INFINITY else max(1, min(most, (hard - _OTHER_FILES) // ports))


class StoppedAtStartError(Exception):
    """The server was stopped before it could start."""


def start_up_checks(settings: Settings) -> tuple[StartUpCheck, ...]:
    """Return everything that a server with these settings checks before it starts, in order.

    `avatar-creator doctor` runs the same checks.
    """
    if not settings.embedded:
        return SERVER_CHECKS
    from avatar_creator_tasks.start_up import WORKER_CHECKS

    return (*SERVER_CHECKS, *WORKER_CHECKS)


@asynccontextmanager
async def running(
    settings: Settings, finish: asyncio.Event | None = None, process: ServerProcess | None = None
) -> AsyncIterator[AvatarServer]:
    """Run a server while the context is open, with a worker in the same process if the service is embedded.

    Args:
        settings: The settings.
        finish: Event that ends the wait for a free connection to the database, and for the other processes.
        process: This process, if it is one of several of the server.

    Raises:
        StoppedAtStartError: `finish` was set before the server could start.
        SettingsError: The settings do not form a service.
        SchemaError: The database does not have this code's schema.
    """

    async def connect(database: Database) -> None:
        if not await database.wait_for_free_connection(finish):
            raise StoppedAtStartError

    async with AsyncExitStack() as stack:
        start = StartUp(settings, shares_address=process is not None, connect=connect)
        stack.push_async_callback(start.close)
        await require_all(start, start_up_checks(settings))
        core = start.core
        core.files.create_folder()
        write_address: Callable[[str], None] | None = None
        if start.database_file is not None:
            write_address = stack.enter_context(locked(start.database_file))
            core.ensure_schema()
            await core.leases.expire_all()
            await core.workers.remove_all()
        worker = _embedded_worker(core) if settings.embedded else nullcontext()
        # Before the web port, whose default address may be the one that is set for the metrics.
        serve_metrics(
            settings.metrics_address, QueueCollector(core.database, core.circuit_breakers, core.workers)
        )
        server = AvatarServer(core, shares_port=process is not None)
        # The worker is there before the first call, or that call would warn that there is none.
        await stack.enter_async_context(worker)
        if process is not None and not await process.wait_for_others(finish or asyncio.Event()):
            raise StoppedAtStartError
        await server.start()
        stack.push_async_callback(server.stop)
        if write_address is not None:
            write_address(str(replace(parse_address(settings.listen_address), port=server.port)))
        yield server


async def serve(
    settings: Settings,
    finish: asyncio.Event,
    process: ServerProcess | None = None,
    *,
    on_ready: Callable[[Ports], None] = lambda _ports: None,
) -> None:
    """Serve until `finish` is set.

    Takes the arguments and raises the errors of `running`.

    Args:
        settings: The settings.
        finish: Event that ends the server.
        process: This process, if it is one of several of the server.
        on_ready: Receives the ports when the server accepts calls.
    """
    with suppress(StoppedAtStartError):
        async with running(settings, finish, process) as server:
            on_ready(Ports(server.port, server.web.port if server.web else None))
            collect_less_often()
            await finish.wait()


def _embedded_worker(core: Core) -> AbstractAsyncContextManager[None]:
    # Only this function and the command `worker` import the tasks: everything else reaches them by wake-ups.
    from avatar_creator_tasks.worker import Worker

    return _working(Worker(core))


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    """Run the worker while the context is open, which opens when the worker is ready."""
    finish = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(finish), name="embedded-worker")
        await worker.ready.wait()
        try:
            yield
        finally:
            finish.set()
