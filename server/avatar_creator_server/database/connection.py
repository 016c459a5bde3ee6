"""The database: a limited number of threads with one connection each, transactions, and its clock."""

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
from avatar_creator_server.settings import SettingsError, system_reason
from avatar_creator_server.settings.database_urls import POSTGRESQL, sqlite_path

P = ParamSpec("P")
T = TypeVar("T")
Q = TypeVar("Q", bound=peewee.Select)

THREADS = 8
"""Number of threads that run queries, and so the maximum number of connections of a process."""

_SQLITE_BUSY_SECONDS = 10.0
_SQLITE_FORMAT = b"SQLite format 3\0"
"""The first bytes of a database file, unless it is new and empty."""
TIMEOUTS = {
    # A process that freezes in a transaction must not keep its rows locked.
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "30s",
}
"""PostgreSQL's settings that limit a transaction and a statement."""

CONNECTION_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    # Without these, a server that no longer answers blocks each thread until the kernel gives up.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
"""Options of a connection for libpq alone, in seconds; `tcp_user_timeout` is in milliseconds."""

_CONNECTION_LOST = ("08", "57P", "25P03", "25006")
"""Prefixes of the error codes for a lost connection, and for a server that has become a standby.

Source: PostgreSQL's manual, appendix A."""
_TEMPORARY = ("40", "53", "57")
"""Prefixes of the error codes after which the same call can succeed a moment later: the server rolled the
transaction back, cancelled the query, or is out of resources."""
_RETRY_AFTER_SECONDS = 1.0


class _Postgresql(PostgresqlDatabase):
    field_types = {**PostgresqlDatabase.field_types, "UTCDATETIME": "TIMESTAMPTZ"}  # noqa: RUF012


class _DirectPostgresql(_Postgresql):
    def _connect(self) -> Any:
        connection = super()._connect()  # type: ignore[misc]  # missing in its stub
        with connection.cursor() as cursor:
            for name, value in TIMEOUTS.items():
                cursor.execute(f"SET {name} = '{value}'")
        return connection


class _PooledPostgresql(_Postgresql):
    """PostgreSQL behind a pooler that gives the session of a transaction to another client afterwards.

    A setting of a session would apply to that client, so only transactions have settings. The role of the
    database has the timeouts for single statements.
    """

    _BEGIN = "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in TIMEOUTS.items())])

    def begin(self) -> None:  # type: ignore[override]  # every transaction has the same level
        """Begin a transaction with its own timeouts, in one round trip."""
        self.execute_sql(self._BEGIN)  # type: ignore[no-untyped-call]


class _Sqlite(SqliteDatabase):
    field_types = {**SqliteDatabase.field_types, "UTCDATETIME": "TEXT"}  # noqa: RUF012


def open_database(url: str, *, pooled: bool = False) -> peewee.Database:
    """Create the database object for `url` and bind the models to it, without a connection.

    Args:
        url: `postgresql://user:password@host:port/name` or `sqlite:///path/to/file`.
        pooled: True if the URL leads to a pooler that gives each transaction another session.

    Raises:
        SettingsError: The folder of a SQLite file cannot be created, or the file is not a database.
    """
    database: peewee.Database
    if url.startswith(POSTGRESQL):
        # A pooler starts its sessions with the application name of one client, and others see it.
        database = (
            _PooledPostgresql(url, **CONNECTION_OPTIONS)
            if pooled
            else _DirectPostgresql(url, application_name="avatar-creator", **CONNECTION_OPTIONS)
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
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    """Runs functions that query the database in its own threads.

    A cancelled call does not stop its thread. The caller does not know whether a cancelled write was
    committed, and must read to find out.
    """

    def __init__(self, url: str, *, pooled: bool = False) -> None:
        """Create the threads; see `open_database` for the arguments."""
        self.peewee = open_database(url, pooled=pooled)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._connections: set[Any] = set()
        self._lock = threading.Lock()
        self._outages = 0
        self._of_this_thread = threading.local()

    @property
    def is_postgresql(self) -> bool:
        """True for PostgreSQL, which locks rows. SQLite locks the whole database."""
        return isinstance(self.peewee, PostgresqlDatabase)

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` outside a transaction."""
        return await self._on_thread(lambda: function(*args, **kwargs))

    def read_blocking(self, function: Callable[[], T], *, seconds: float) -> T:
        """Run `function` outside a transaction, and block the calling thread. Not for an event loop's thread.

        Raises:
            TimeoutError: The function took longer than `seconds`.
        """
        return self._executor.submit(self._connected, function).result(seconds)

    async def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` in one transaction. An exception rolls the transaction back."""

        def in_transaction() -> T:
            # SQLite must take the write lock at once: it cannot upgrade a read lock while others write.
            with self.peewee.atomic() if self.is_postgresql else self.peewee.atomic("IMMEDIATE"):
                return function(*args, **kwargs)

        return await self._on_thread(in_transaction)

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

        Only a function that runs on a database thread may call it.
        """
        if not self.is_postgresql:
            return datetime.now(UTC)
        (value,) = self.peewee.execute_sql("SELECT clock_timestamp()").fetchone()
        assert isinstance(value, datetime)
        return value.astimezone(UTC)

    async def ping(self) -> None:
        """Check that the database answers.

        Raises:
            UnavailableError: The database does not answer.
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
        except (peewee.DatabaseError, peewee.InterfaceError) as error:
            lost, temporary = self._classify(error)
            if lost:
                if not self.peewee.is_closed():
                    with self._lock:
                        self._outages += 1
                self._forget_connection()
            elif not temporary:
                raise
            raise UnavailableError(
                "DATABASE_UNAVAILABLE",
                "the database is unavailable; try again soon",
                retry_after=_RETRY_AFTER_SECONDS,
            ) from error

    def _connect(self) -> None:
        """Connect this thread, and connect it again if another thread has lost its connection since."""
        outages = self._outages
        if outages != getattr(self._of_this_thread, "outages", outages):
            self._forget_connection()
        if self.peewee.is_closed():
            self.peewee.connect()
            self._of_this_thread.outages = outages
            with self._lock:
                self._connections.add(self.peewee.connection())

    def _classify(self, error: Exception) -> tuple[bool, bool]:
        """Return whether the connection is lost, and whether the same call can succeed a moment later."""
        if not self.is_postgresql:
            words = ("locked", "unable to open", "disk")
            return False, isinstance(error, peewee.OperationalError) and any(
                word in str(error) for word in words
            )
        code = getattr(error.__cause__ or error.__context__, "pgcode", None)
        if code is None:
            # Without an answer of PostgreSQL, the driver raises one of its general errors.
            general = (peewee.OperationalError, peewee.InterfaceError, peewee.DatabaseError)
            return type(error) in general, False
        return code.startswith(_CONNECTION_LOST), code.startswith(_TEMPORARY)

    def _forget_connection(self) -> None:
        if self.peewee.is_closed():
            return
        with self._lock:
            self._connections.discard(self.peewee.connection())
        self.peewee.close()
