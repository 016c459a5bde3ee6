"""The database: one connection a thread, a bounded number of threads, transactions, and its clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import peewee
from peewee import PostgresqlDatabase, SqliteDatabase, fn

from avatar_creator_server.database.models.base import database_proxy
from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.settings import SettingsError

P = ParamSpec("P")
T = TypeVar("T")
Q = TypeVar("Q", bound=peewee.Select)

THREADS = 8
"""Threads a process runs queries on, so also the most connections it holds."""

_SQLITE_BUSY_SECONDS = 10.0
_IDLE_IN_TRANSACTION = "10s"
_STATEMENT = "30s"
_SILENCE_MILLISECONDS = 10_000
_CONNECTION_LOST = ("08", "57P", "25P03")
"""Beginnings of the codes that mean the connection is gone: PostgreSQL's manual, appendix A."""
_PASSING = ("40", "53", "57")
"""Rolled back by the server, out of resources, or cancelled: the same call may succeed a moment later."""
_RETRY_AFTER_SECONDS = 1.0


class _Postgresql(PostgresqlDatabase):
    field_types = {**PostgresqlDatabase.field_types, "UTCDATETIME": "TIMESTAMPTZ"}  # noqa: RUF012

    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]  # left out of its stub
        with connection.cursor() as cursor:
            # A process that freezes in a transaction must not keep the rows it locked from all others.
            cursor.execute("SET idle_in_transaction_session_timeout = %s", (_IDLE_IN_TRANSACTION,))
            cursor.execute("SET statement_timeout = %s", (_STATEMENT,))
        return connection


class _Sqlite(SqliteDatabase):
    field_types = {**SqliteDatabase.field_types, "UTCDATETIME": "TEXT"}  # noqa: RUF012


def open_database(url: str) -> peewee.Database:
    """Describe the database at `url` and bind the models to it; nothing is connected yet.

    `url` is `postgresql://user:password@host:port/name` or `sqlite:///path/to/file`.

    Raises:
        SettingsError: the folder of a SQLite file cannot be made.
    """
    database: peewee.Database
    if url.startswith(("postgresql://", "postgres://")):
        dsn = "postgresql://" + url.partition("://")[2]
        database = _Postgresql(
            dsn,
            application_name="avatar-creator",
            connect_timeout=5,
            # Without these a server that falls silent holds every thread for as long as the kernel likes.
            tcp_user_timeout=_SILENCE_MILLISECONDS,
            keepalives_idle=10,
            keepalives_interval=3,
            keepalives_count=3,
        )
    else:
        path = Path(url.removeprefix("sqlite:///"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"DATA_PATH, or DATABASE_URL where it is set, must lie where files can be written: {error}"
            ) from error
        database = _Sqlite(
            str(path),
            pragmas={"journal_mode": "wal", "foreign_keys": 1},
            timeout=_SQLITE_BUSY_SECONDS,
            check_same_thread=False,  # each is used by its own thread alone, until `close`
        )
    database_proxy.initialize(database)
    return database


class Database:
    """Runs functions that query the database, on threads of its own.

    A cancelled call does not stop its thread: whether a cancelled write was committed is unknown to the
    caller, and settled by reading.
    """

    def __init__(self, url: str) -> None:
        self.peewee = open_database(url)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._connections: set[Any] = set()
        self._lock = threading.Lock()
        self._outages = 0
        self._of_this_thread = threading.local()

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL, which locks rows; SQLite locks as a whole."""
        return isinstance(self.peewee, PostgresqlDatabase)

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` outside a transaction."""
        return await self._on_thread(lambda: function(*args, **kwargs))

    def read_blocking(self, function: Callable[[], T], *, seconds: float) -> T:
        """Run `function` outside a transaction, for a thread that is not the event loop's.

        Raises:
            TimeoutError: there was no answer in time.
        """
        return self._executor.submit(self._connected, function).result(seconds)

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in one transaction, which an exception rolls back."""

        def in_transaction() -> T:
            # SQLite must ask for the write lock up front: a read lock cannot be raised while others write.
            with self.peewee.atomic() if self.is_postgresql else self.peewee.atomic("IMMEDIATE"):
                return function(*args, **kwargs)

        return await self._on_thread(in_transaction)

    def locked(self, query: Q, *, of: Sequence[Any] = (), skip_locked: bool = False) -> Q:
        """The query, locking the rows it reads, or those of some of its tables, until the transaction ends.

        SQLite, where a write transaction is alone from its beginning, has no row locks and needs none.
        """
        if not self.is_postgresql:
            return query
        return query.for_update(of=tuple(of) or None, skip_locked=skip_locked)

    def latest(self, *instants: Any) -> Any:
        """The latest of several times, as an expression of a query."""
        return fn.GREATEST(*instants) if self.is_postgresql else fn.MAX(*instants)

    def now(self) -> datetime:
        """The time all processes agree on: the server's on PostgreSQL, the machine's on SQLite.

        To be called on a database thread.
        """
        if not self.is_postgresql:
            return datetime.now(UTC)
        (value,) = self.peewee.execute_sql("SELECT clock_timestamp()").fetchone()
        assert isinstance(value, datetime)
        return value.astimezone(UTC)

    async def ping(self) -> None:
        """Ask the database for an answer.

        Raises:
            UnavailableError: it gave none.
        """
        await self.read(lambda: self.peewee.execute_sql("SELECT 1").fetchone())

    async def close(self) -> None:
        """Wait for running queries and close every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)
        for connection in self._connections:
            connection.close()

    async def _on_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._connected, function)

    def _connected(self, function: Callable[[], T]) -> T:
        try:
            self._connect()
            return function()
        except (peewee.OperationalError, peewee.InterfaceError, peewee.InternalError) as error:
            lost, passing = self._judge(error)
            if lost:
                if not self.peewee.is_closed():
                    with self._lock:
                        self._outages += 1
                self._forget_connection()
            elif not passing:
                raise
            raise UnavailableError(
                "DATABASE_UNAVAILABLE",
                "the database cannot be reached",
                retry_after=_RETRY_AFTER_SECONDS,
            ) from error

    def _connect(self) -> None:
        """Give this thread a connection; a new one if another thread's has broken since."""
        outages = self._outages
        if outages != getattr(self._of_this_thread, "outages", outages):
            self._forget_connection()
        if self.peewee.is_closed():
            self.peewee.connect()
            self._of_this_thread.outages = outages
            with self._lock:
                self._connections.add(self.peewee.connection())

    def _judge(self, error: Exception) -> tuple[bool, bool]:
        """Whether the connection is lost, and whether the same call may succeed a moment later."""
        if not self.is_postgresql:
            return False, any(word in str(error) for word in ("locked", "unable to open", "disk"))
        code = getattr(error.__cause__ or error.__context__, "pgcode", None)
        if code is None:
            return not isinstance(error, peewee.InternalError), False
        return code.startswith(_CONNECTION_LOST), code.startswith(_PASSING)

    def _forget_connection(self) -> None:
        if self.peewee.is_closed():
            return
        with self._lock:
            self._connections.discard(self.peewee.connection())
        self.peewee.close()
