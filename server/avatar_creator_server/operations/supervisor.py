"""The processes of a server that uses several cores: their start, their restart after a death, their end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from peewee import PeeweeException
from prometheus_client.multiprocess import mark_process_dead

from avatar_creator_server.addresses import Address, parse_address
from avatar_creator_server.database.connection import Database, DatabaseLimits
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.generations.pauses import RouteNames
from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.workers import Workers
from avatar_creator_server.operations.listening import Ports, claimed, listen_error, warn_web_default_taken
from avatar_creator_server.operations.metrics_exporter import QueueCollector, serve_metrics
from avatar_creator_server.operations.server_process import METRICS_VARIABLE, READY, START
from avatar_creator_server.operations.start_up import SETTINGS_CHECKS, StartUp, require_all
from avatar_creator_server.settings import NO_WEB_PORT, Settings

log = structlog.get_logger()

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0
"""Time after which the death of a process counts as its first one."""
_SIGNAL_CODES = 128
"""First exit code that means the end by a signal."""
_STOPPED = frozenset(
    {0, *(code for each in (signal.SIGTERM, signal.SIGINT) for code in (-each, _SIGNAL_CODES + each))}
)
"""Exit codes of a process that was asked to stop. During its start, it does not catch these signals yet."""

_DIVIDED_LIMITS = {
    "decoders": None,
    "watches_at_once": "watches_at_once_per_user",
    "anonymous_streams": "anonymous_streams_per_peer",
    "unread_answers_mib": "unread_answers_mib_per_user",
    "uploads_at_once": "uploads_at_once_per_user",
    "downloads_at_once": "downloads_at_once_per_user",
}
"""The limits that protect the machine, which the processes divide; and the same limit of one user, which they
do not: a client has one connection, and so calls one process."""


async def supervise(
    settings: Settings,
    command: Sequence[str],
    environment: Mapping[str, str],
    finish: asyncio.Event,
    *,
    on_ready: Callable[[Ports], None] = lambda _ports: None,
) -> int:
    """Keep the processes of a server running until `finish` is set, then let them drain.

    Args:
        settings: The settings of the server.
        command: The program of a process and its arguments, without the number of the process.
        environment: The environment of this process, which has the same settings.
        finish: Event that begins the end.
        on_ready: Receives the ports when all processes accept calls.

    Returns:
        The exit code. It is not 0 if a process cannot start while no other one serves: that process has
        printed the error, as a server of one process does.

    Raises:
        SettingsError: The settings do not form a service, or an address is in use.
    """
    await require_all(StartUp(settings), SETTINGS_CHECKS)
    async with AsyncExitStack() as stack:
        port = stack.enter_context(claimed("LISTEN_ADDRESS", settings.listen_address))
        # Before the web port, whose default address may be the one that is set for the metrics.
        metrics = await stack.enter_async_context(_shared_metrics(settings))
        web = stack.enter_context(_claimed_web_address(settings))
        address = Address(parse_address(settings.listen_address).host, port)
        changes = {
            "LISTEN_ADDRESS": str(address),
            "WEB_ADDRESS": web,
            "METRICS_ADDRESS": "",
            "SERVER_PROCESSES": "1",
            **_divided_limits(settings),
            **({METRICS_VARIABLE: str(metrics)} if metrics else {}),
        }
        processes = _Processes(settings.server_processes, command, {**environment, **changes}, metrics)
        ports = Ports(port, None if web == NO_WEB_PORT else parse_address(web).port)
        return await processes.run(address, finish, lambda: on_ready(ports))


@contextmanager
def _claimed_web_address(settings: Settings) -> Iterator[str]:
    """Claim the address of the web port, and yield it; `none` if there is no web port.

    Raises:
        SettingsError: The address is set, and in use.
    """
    address = settings.web_listen_address
    if address and not settings.web_address and listen_error("WEB_ADDRESS", address):
        warn_web_default_taken(address)
        address = ""
    if not address:
        yield NO_WEB_PORT
        return
    with claimed("WEB_ADDRESS", address) as port:
        yield str(Address(parse_address(address).host, port))


def _divided_limits(settings: Settings) -> dict[str, str]:
    """Return the limits of one process, as environment variables."""
    limits = {}
    for name, of_user in _DIVIDED_LIMITS.items():
        share = -(-getattr(settings, name) // settings.server_processes)
        limits[name.upper()] = str(max(share, getattr(settings, of_user)) if of_user else share)
    return limits


@asynccontextmanager
async def _shared_metrics(settings: Settings) -> AsyncIterator[Path | None]:
    """Serve the metrics of all processes, and yield the folder in which these keep them.

    Without METRICS_ADDRESS, there is no folder. The queue's metrics belong to none of the processes: this
    process reads them, on a connection of its own.
    """
    if not settings.metrics_address:
        yield None
        return
    database = Database(
        settings.database,
        pooled=settings.pooled,
        limits=DatabaseLimits(connections=1, connections_per_user=1),
    )
    routes = routes_of(settings)
    queue = QueueCollector(
        database,
        CircuitBreakers(database, list(routes.named())),
        Workers(database, routes.from_text.provider, RouteNames.of(routes)),
    )
    with TemporaryDirectory(prefix="avatar-creator-metrics-") as folder:
        serve_metrics(settings.metrics_address, queue, shared=Path(folder))
        # The collector reads through the loop that has used the database.
        with contextlib.suppress(AvatarCreatorError, PeeweeException):
            await database.read(lambda: None)
        try:
            yield Path(folder)
        finally:
            await database.close()


class _Processes:
    """The processes of one server."""

    def __init__(
        self, number: int, command: Sequence[str], environment: Mapping[str, str], metrics: Path | None
    ) -> None:
        self._number = number
        self._command = command
        self._environment = environment
        self._metrics = metrics
        self._running: dict[int, Process] = {}
        self._ready: set[int] = set()
        """Processes that can begin to serve, or serve."""
        self._serving: set[int] = set()
        self._first_ready = asyncio.Event()
        self._all_ready = asyncio.Event()
        """Set once, when all processes can begin to serve for the first time."""
        self._exit_code = 0

    async def run(self, address: Address, finish: asyncio.Event, on_ready: Callable[[], None]) -> int:
        """Start all processes, keep them running until `finish` is set, and return the exit code."""
        async with asyncio.TaskGroup() as group:
            for number in range(1, self._number + 1):
                group.create_task(self._keep(number, finish), name=f"process-{number}")
            group.create_task(self._report_ready(address, finish, on_ready), name="ready")
            await finish.wait()
            log.info("server_processes_draining", processes=len(self._running))
            for event in (self._first_ready, self._all_ready):
                event.set()  # nothing waits for a start any longer
            for process in self._running.values():
                _terminate(process)
        log.info("server_processes_stopped")
        return self._exit_code

    async def _report_ready(
        self, address: Address, finish: asyncio.Event, on_ready: Callable[[], None]
    ) -> None:
        await self._all_ready.wait()
        if not finish.is_set():
            log.info("server_processes_ready", processes=self._number, address=str(address))
            on_ready()

    async def _keep(self, number: int, finish: asyncio.Event) -> None:
        """Run a process, and start it again when it dies, until `finish` is set."""
        if number > 1:
            # If the settings are wrong, one process says so, and not all of them.
            await self._first_ready.wait()
        pause = _FIRST_PAUSE_SECONDS
        clock = asyncio.get_running_loop().time
        while not finish.is_set():
            start = clock()
            try:
                code, was_ready = await self._run_once(number, finish)
            except OSError as error:  # for example no memory
                if not self._serving:
                    raise
                log.warning("server_process_start_failed", process=number, error=repr(error))
                code, was_ready = 0, False
            if finish.is_set():
                if code not in _STOPPED:
                    # As shells report a signal.
                    self._exit_code = self._exit_code or (code if code > 0 else _SIGNAL_CODES - code)
                return
            if 0 < code < _SIGNAL_CODES and not was_ready and not self._serving:
                self._exit_code = code
                finish.set()
                return
            if clock() - start >= _STABLE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.error("server_process_died", process=number, exit_code=code, restart_seconds=pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await finish.wait()
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _run_once(self, number: int, finish: asyncio.Event) -> tuple[int, bool]:
        """Run a process to its end; return its exit code, and whether it could begin to serve."""
        process = await asyncio.create_subprocess_exec(
            *self._command, str(number), stdin=PIPE, stdout=PIPE, env=self._environment
        )
        self._running[number] = process
        if finish.is_set():
            _terminate(process)
        starting = asyncio.create_task(self._let_start(number, process), name=f"start-{number}")
        try:
            code = await process.wait()
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            del self._running[number]
        was_ready = number in self._ready
        self._ready.discard(number)
        self._serving.discard(number)
        if self._metrics is not None:
            mark_process_dead(number, str(self._metrics))  # type: ignore[no-untyped-call]
        return code, was_ready

    async def _let_start(self, number: int, process: Process) -> None:
        """Let a process begin to serve as soon as all can."""
        assert process.stdin is not None
        assert process.stdout is not None
        if await process.stdout.readline() != READY:
            return
        self._ready.add(number)
        self._first_ready.set()
        if len(self._ready) == self._number:
            self._all_ready.set()
        await self._all_ready.wait()
        self._serving.add(number)
        process.stdin.write(START)
        with contextlib.suppress(ConnectionError):  # it has just died
            await process.stdin.drain()


def _terminate(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
