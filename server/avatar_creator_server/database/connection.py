"""The database: jobs on a limited number of connections, transactions, and its clock."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

import peewee
import structlog
from peewee import PostgresqlDatabase, SqliteDatabase, fn

from avatar_creator_server.database.call_limits import CallLimits, current_call_limits
from avatar_creator_server.database.compiled_queries import Statement
from avatar_creator_server.database.jobs import (
    BACKGROUND,
    Job,
    JobGreenlet,
    JobRunner,
    JobThread,
    require_job_going,
)
from avatar_creator_server.database.models.base import database_proxy
from avatar_creator_server.database.postgresql import (
    CONNECTION_OPTIONS,
    PLAN_LOST,
    DirectPostgresql,
    PooledPostgresql,
    Postgresql,
)
from avatar_creator_server.database.problems import NO_FREE_CONNECTION, has_no_free_connection, sql_state
from avatar_creator_server.errors import TooSlowError, UnavailableError
from avatar_creator_server.fair_queue import FairQueue, UserLimit
from avatar_creator_server.settings import SettingsError, system_reason
from avatar_creator_server.settings.database_urls import POSTGRESQL, sqlite_path
from avatar_creator_server.settings.folders import require_writable_folder

P = ParamSpec("P")
T = TypeVar("T")
Q = TypeVar("Q", bound=peewee.Select)

log = structlog.get_logger()

CONNECTIONS = 8
"""Number of connections of a process, unless the settings say otherwise."""

_SQLITE_BUSY_SECONDS = 10.0
_SQLITE_FORMAT = b"SQLite format 3\0"
"""The first bytes of a database file, unless it is new and empty."""
_CONNECTION_LOST = ("08", "53300", "57P", "25P03", "25006")
"""Prefixes of the error codes for a lost connection, and for a server that has become a standby.
A pooler ends the connection of a client for which PostgreSQL has no free connection.

Source: PostgreSQL's manual, appendix A."""
_TEMPORARY = ("40", "53", "57", *PLAN_LOST)
"""Prefixes of the error codes after which the same call can succeed a moment later: the server rolled the
transaction back, cancelled the query, is out of resources, or cannot use a plan that it has kept."""
_RETRY_AFTER_SECONDS = 1.0
_CANCEL_AGAIN_SECONDS = 0.1
"""Delay before the next attempt to end a statement: the one before may have come between two statements."""
_FREE_CONNECTION_SECONDS = (0.5, 10.0)
"""First and longest delay of a starting process before it asks again for a free connection."""
_WAITING_FACTOR = 256
"""Maximum number of waiting calls, of all users and of one, as a multiple of their connections."""
_PATIENT_SECONDS = 60.0
"""Maximum time that a watch waits for a connection."""
_LOGGED_SECONDS = 10.0
"""Interval at which the log says again that there is no free connection, or why connections are lost."""


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """The limits of one process at its database."""

    connections: int = CONNECTIONS
    """Number of connections for queries. One more connection is for the health."""
    connections_per_user: int = CONNECTIONS // 2
    """Maximum number of these connections that one user holds at the same time."""
    read_seconds: float = 10.0
    """Maximum time of a read that a caller waits for."""
    wait_seconds: float = 5.0
    """Maximum time that a call waits for a connection."""


class _Sqlite(SqliteDatabase):
    field_types = {**SqliteDatabase.field_types, "UTCDATETIME": "TEXT"}  # noqa: RUF012

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run a statement, unless the thread's job was stopped."""
        require_job_going()
        return super().execute_sql(sql, params)  # type: ignore[no-untyped-call]

    def execute_together(self, statements: Sequence[Statement]) -> Any:
        """Run statements in their order, and return the driver's cursor of the last one."""
        for statement in statements:
            cursor = self.execute_sql(statement.sql, statement.values)
        return cursor

    def execute_later(self, statements: Sequence[Statement]) -> None:
        """Run statements whose results are not needed."""
        self.execute_together(statements)

    def execute_last(self, statements: Sequence[Statement]) -> Any:
        """Run the last statements of a transaction, and return the driver's cursor of the last one."""
        return self.execute_together(statements)

    def end_statement(self, connection: Any) -> None:
        """End the statement that runs on another thread's connection."""
        connection.interrupt()


_AnyDatabase: TypeAlias = DirectPostgresql | PooledPostgresql | _Sqlite


def open_database(url: str, *, pooled: bool = False) -> _AnyDatabase:
    """Create the database object for `url` and bind the models to it, without a connection, folder or file.

    Args:
        url: `postgresql://user:password@host:port/name` or `sqlite:///path/to/file`.
        pooled: True if the URL leads to a pooler that gives each transaction another session.

    Raises:
        SettingsError: The folder of a SQLite file is not writable, or the file is not a database.
    """
    database: _AnyDatabase
    if url.startswith(POSTGRESQL):
        # A pooler starts its sessions with the application name of one client, and others see it.
        database = (
            PooledPostgresql(url, **CONNECTION_OPTIONS)
            if pooled
            else DirectPostgresql(url, application_name="avatar-creator", **CONNECTION_OPTIONS)
        )
    else:
        path = Path(sqlite_path(url))
        _require_sqlite_file(path)
        database = _Sqlite(
            str(path),
            pragmas={"journal_mode": "wal", "foreign_keys": 1},
            timeout=_SQLITE_BUSY_SECONDS,
            check_same_thread=False,  # Each connection has its own thread until `close`.
        )
    database_proxy.initialize(database)
    return database


def _require_sqlite_file(path: Path) -> None:
    try:
        require_writable_folder(path.parent)
        if not path.exists():
            return
        with path.open("r+b") as file:
            beginning = file.read(len(_SQLITE_FORMAT))
    except OSError as error:
        raise SettingsError(
            "DATA_PATH (or DATABASE_URL) must name a place that the service can write to: "
            f"{path}: {system_reason(error)}"
        ) from error
    if beginning not in (b"", _SQLITE_FORMAT):
        raise SettingsError(
            f"DATA_PATH (or DATABASE_URL) must name a SQLite database: {path} has another format"
        )


class Database:
    """Runs functions that query the database as jobs, one on each connection, with turns between users.

    A call that is cancelled stops its read: the running statement ends, and no other begins. A write that has
    begun goes on. Its caller does not know whether it was committed, and must read to find out.
    """

    def __init__(self, url: str, *, pooled: bool = False, limits: DatabaseLimits | None = None) -> None:
        """Open the database without a connection.

        Args:
            url: See `open_database`.
            pooled: See `open_database`.
            limits: The limits of this process; the defaults if None.
        """
        database = open_database(url, pooled=pooled)
        self.peewee: peewee.Database = database
        self.is_postgresql = isinstance(database, PostgresqlDatabase)
        """True for PostgreSQL, which locks rows. SQLite locks the whole database."""
        self._end_statement = database.end_statement
        self._limits = limits or DatabaseLimits()
        self._turns: FairQueue[Job] = FairQueue(
            "calls at the database",
            at_once=self._limits.connections,
            user_limit=UserLimit(
                self._limits.connections_per_user, "DATABASE_LIMIT", name="database_connections"
            ),
            waiting_factor=_WAITING_FACTOR,
            background=BACKGROUND,
        )
        self._runners: list[JobRunner] = []
        self._idle: list[JobRunner] = []
        self._monitor: JobRunner | None = None
        """Runner with a connection of its own, for what must work while all others are busy."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idling = asyncio.Event()
        self._outages = 0
        self._log_times: dict[str, float] = {}
        """Time of `time.monotonic` at which each problem of all connections was last logged."""

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function`, which only reads, outside a transaction.

        Raises:
            TooSlowError: The read takes too long, or the deadline of the call passed before its turn.
            ResourceExhaustedError: The user has too many calls at the database.
            UnavailableError: The database does not answer, or all users have too many calls at it.
        """
        return await self._run_in_turn(lambda: function(*args, **kwargs), reads=True)

    def read_blocking(self, function: Callable[[], T], *, seconds: float) -> T:
        """Run `function`, which only reads, and block the calling thread. Not for an event loop's thread.

        Raises:
            TimeoutError: The function took longer than `seconds`.
        """
        if self._loop is None:
            raise TimeoutError("the database has not been used yet")
        reading = asyncio.run_coroutine_threadsafe(self.read(function), self._loop)
        try:
            return reading.result(seconds)
        except TimeoutError:
            reading.cancel()
            raise

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in one transaction. An exception rolls the transaction back.

        Raises what `read` raises. A write that has begun has no time limit of its own.
        """

        def in_transaction() -> T:
            # SQLite must take the write lock at once: it cannot upgrade a read lock while others write.
            with self.peewee.transaction(*([] if self.is_postgresql else ["IMMEDIATE"])):
                return function(*args, **kwargs)

        return await self._run_in_turn(in_transaction, reads=False)

    def locked(self, query: Q, *, of: Sequence[Any] = (), skip_locked: bool = False) -> Q:
        """Return the query with a lock on the rows that it reads, until the current transaction ends.

        SQLite has no row locks and needs none: it runs one write transaction at a time.

        Args:
            query: The query.
            of: The tables whose rows to lock; all tables of the query if empty.
            skip_locked: True to leave out rows that another transaction has locked.
        """
        if not self.is_postgresql:
            return query
        return query.for_update(of=tuple(of) or None, skip_locked=skip_locked)

    def latest(self, *instants: Any) -> Any:
        """Return an expression for the latest of several times."""
        return fn.GREATEST(*instants) if self.is_postgresql else fn.MAX(*instants)

    def now(self) -> datetime:
        """Return the time that is the same for all processes: PostgreSQL's, or the machine's with SQLite.

        Only a function that runs in a database job may call it.
        """
        if not self.is_postgresql:
            return datetime.now(UTC)
        (value,) = self.peewee.execute_sql("SELECT clock_timestamp()").fetchone()
        assert isinstance(value, datetime)
        return value.astimezone(UTC)

    def begin_time(self) -> datetime:
        """Return the time at which the current write began; on SQLite the time now."""
        database = self.peewee
        return database.begin_time if isinstance(database, Postgresql) else datetime.now(UTC)

    async def ping(self) -> None:
        """Check that the database answers, as `probe` does.

        Raises:
            UnavailableError: The database does not answer.
        """
        await self.probe(lambda: self.peewee.execute_sql("SELECT 1").fetchone())

    async def probe(self, function: Callable[[], T]) -> T:
        """Run a short read on a connection of its own: other work may keep all others busy.

        Raises:
            UnavailableError: The database does not answer.
        """
        job = self._new_job(function, BACKGROUND, reads=False)
        self._put_on_monitor(job)
        try:
            result: T = await job.future
        finally:
            job.stop()
        return result

    async def wait_for_free_connection(self, finish: asyncio.Event | None = None) -> bool:
        """Connect the current thread to PostgreSQL; wait as long as PostgreSQL has no free connection.

        Args:
            finish: Event that ends the wait.

        Returns:
            False if `finish` ended the wait.

        Raises:
            peewee.PeeweeException: The database cannot be used for another reason.
        """
        finish = finish or asyncio.Event()
        delay, longest = _FREE_CONNECTION_SECONDS
        while self.is_postgresql:
            try:
                self.peewee.connect(reuse_if_open=True)
                break
            except peewee.DatabaseError as error:
                if not has_no_free_connection(error):
                    raise
            self._log_refusal()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await finish.wait()
                    return False
            delay = min(2 * delay, longest)
        return True

    async def close(self) -> None:
        """Wait for running and waiting work, and close every connection."""
        while not self._turns.is_idle:
            self._idling.clear()
            await self._idling.wait()
        runners = [*self._runners, *([self._monitor] if self._monitor is not None else [])]
        await asyncio.gather(*(runner.end() for runner in runners))
        self._runners, self._idle, self._monitor = [], [], None
        for runner in runners:
            if runner.connection is not None:
                runner.connection.close()

    async def _run_in_turn(self, function: Callable[[], T], *, reads: bool) -> T:
        limits = current_call_limits()
        limits = limits or CallLimits(BACKGROUND, math.inf, is_patient=True)
        job = self._new_job(function, limits.user_id, reads=reads, deadline=limits.deadline)
        left = limits.deadline - time.monotonic()
        if left <= 0:
            raise _deadline_passed()
        if self._turns.begin(job, is_patient=limits.is_patient):
            self._dispatch(job)
        elif limits.user_id != BACKGROUND:
            most = _PATIENT_SECONDS if limits.is_patient else self._limits.wait_seconds
            job.timer = job.future.get_loop().call_later(min(left, most), self._refuse, job)
        try:
            result: T = await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        return result

    def _new_job(
        self, function: Callable[[], Any], user_id: str, *, reads: bool, deadline: float = math.inf
    ) -> Job:
        self._loop = asyncio.get_running_loop()
        future = self._loop.create_future()
        return Job(function, future, user_id=user_id, reads=reads, deadline=deadline)

    def _dispatch(self, job: Job) -> None:
        """Run a job that has a turn: the time until now was its wait."""
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if job.reads and job.user_id != BACKGROUND:
            seconds = min(self._limits.read_seconds, job.deadline - time.monotonic())
            job.timer = job.future.get_loop().call_later(seconds, self._end_slow_read, job)
        if self._idle:
            # The one that ended last: its connection is open, so that a quiet server needs few.
            runner = self._idle.pop()
        else:
            runner = self._new_runner()
            self._runners.append(runner)
        runner.put(job)

    def _refuse(self, job: Job) -> None:
        """Refuse a job that has waited for a turn until now."""
        if self._turns.leave(job) and not job.future.done():
            expired = time.monotonic() >= job.deadline
            job.future.set_exception(_deadline_passed() if expired else self._turns.refusal(job.user_id))

    def _end_slow_read(self, job: Job) -> None:
        if job.future.done():
            return
        if time.monotonic() >= job.deadline:
            job.future.set_exception(_deadline_passed())
        else:
            seconds = self._limits.read_seconds
            job.future.set_exception(
                TooSlowError(
                    "DATABASE_TOO_SLOW",
                    f"the service has ended this read after {seconds:g} s, its maximum; ask for less: use "
                    "more filters, fewer search words or a smaller page",
                )
            )
            log.warning("slow_read_ended", user=job.user_id, seconds=seconds)
        self._stop(job)

    def _abandon(self, job: Job) -> None:
        """Drop a job that waits, and stop one that reads: its caller is gone."""
        if not self._turns.leave(job):
            self._stop(job)
        elif job.timer is not None:
            job.timer.cancel()

    def _stop(self, job: Job) -> None:
        """End the statement of a read, again and again until its function has ended."""
        job.stop()
        if not job.reads or job.ended:
            return

        def end_statement() -> None:
            connection = job.connection
            if connection is not None:
                job.unless_ended(lambda: self._end_statement(connection))

        def again(ending: asyncio.Future[None]) -> None:
            # An error has been logged where it is known, and the next attempt may succeed.
            if not ending.cancelled() and not ending.exception() and job.ended:
                return
            job.future.get_loop().call_later(_CANCEL_AGAIN_SECONDS, self._stop, job)

        ending = self._new_job(end_statement, BACKGROUND, reads=False)
        ending.future.add_done_callback(again)
        self._put_on_monitor(ending)

    def _put_on_monitor(self, job: Job) -> None:
        if self._monitor is None:
            self._monitor = self._new_runner()
        self._monitor.put(job)

    def _new_runner(self) -> JobRunner:
        kind = JobGreenlet if self.is_postgresql else JobThread
        return kind(self._run, self._finish)

    def _run(self, runner: JobRunner, job: Job) -> None:
        """Run a job on its runner."""
        try:
            job.result = self._connected(runner, job)
        except BaseException as error:  # the caller receives it
            job.error = error
        job.ended = True

    def _finish(self, runner: JobRunner, job: Job) -> None:
        """Give the caller the result, and the runner to the next job."""
        if job.timer is not None:
            job.timer.cancel()
        if not job.future.done():
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        job.result = job.error = None
        if runner is self._monitor:
            return
        self._idle.append(runner)
        following = self._turns.end(job.user_id)
        while following is not None and not self._is_awaited(following):
            following.ended = True
            following = self._turns.end(following.user_id)
        if following is not None:
            # Not at once, because each job that never waits would nest the calls deeper.
            following.future.get_loop().call_soon(self._dispatch, following)
        elif self._turns.is_idle:
            self._idling.set()

    def _is_awaited(self, job: Job) -> bool:
        """Return whether a caller still waits for a job that has waited for its turn."""
        if not job.future.done() and time.monotonic() >= job.deadline:
            job.future.set_exception(_deadline_passed())
        return not job.future.done()

    def _connected(self, runner: JobRunner, job: Job) -> Any:
        try:
            job.connection = self._connect(runner)
            return job.run()
        except (peewee.DatabaseError, peewee.InterfaceError) as error:
            lost, temporary = self._classify(error)
            if lost:
                # A pooler ends the connection of a stopped job that waits for a session.
                if not job.is_stopped:
                    self._outages += runner.connection is not None
                self._forget_connection(runner)
            elif not temporary:
                raise
            problem = "is unavailable" if lost else "could not complete this call"
            if has_no_free_connection(error):
                self._log_refusal()
                problem = "has no free connection for this server"
            elif lost and not job.is_stopped:
                self._log_outage(error)
            raise UnavailableError(
                "DATABASE_UNAVAILABLE",
                f"the database {problem}; try again soon",
                retry_after=_RETRY_AFTER_SECONDS,
            ) from error

    def _connect(self, runner: JobRunner) -> Any:
        """Return the runner's connection. Connect again if this or another runner has lost its connection."""
        connection = runner.connection
        if connection is not None:
            if runner.outages == self._outages and not (self.is_postgresql and connection.closed):
                return connection
            self._forget_connection(runner)
        runner.outages = self._outages
        self.peewee.connect()
        runner.connection = self.peewee.connection()
        return runner.connection

    def _classify(self, error: Exception) -> tuple[bool, bool]:
        """Return whether the connection is lost, and whether the same call can succeed a moment later."""
        if not self.is_postgresql:
            words = ("locked", "unable to open", "disk")
            return False, isinstance(error, peewee.OperationalError) and any(
                word in str(error) for word in words
            )
        code = sql_state(error)
        if code is None:
            # Without an answer of PostgreSQL, the driver raises one of its general errors.
            general = (peewee.OperationalError, peewee.InterfaceError, peewee.DatabaseError)
            return type(error) in general, False
        return code.startswith(_CONNECTION_LOST), code.startswith(_TEMPORARY)

    def _log_outage(self, error: Exception) -> None:
        """Log why a connection was lost or could not be made."""
        if self._is_to_be_logged("outage"):
            log.warning("database_connection_lost", code=sql_state(error), error=str(error).strip())

    def _log_refusal(self) -> None:
        if self._is_to_be_logged("refusal"):
            log.warning("database_connection_refused", problem=NO_FREE_CONNECTION)

    def _is_to_be_logged(self, problem: str) -> bool:
        """Return whether a problem was not logged lately: all connections have it at the same time."""
        now = time.monotonic()
        if now - self._log_times.get(problem, -math.inf) < _LOGGED_SECONDS:
            return False
        self._log_times[problem] = now
        return True

    def _forget_connection(self, runner: JobRunner) -> None:
        if runner.connection is not None:
            runner.connection = None
            self.peewee.close()


def _deadline_passed() -> TooSlowError:
    return TooSlowError(
        "DATABASE_TOO_SLOW", "the deadline of the call passed while it waited for the database"
    )
