"""PostgreSQL: connections of threads, and asynchronous connections of greenlets on the event loop.

psycopg2 supports both. An asynchronous connection never blocks: while a statement runs, its greenlet is
paused. Source: psycopg2's manual, "Asynchronous support".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import select
import socket
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from json import JSONDecoder
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg2
from greenlet import getcurrent
from peewee import (
    DatabaseError,
    InterfaceError,
    InternalError,
    PostgresqlDatabase,
    _ConnectionState,
    _savepoint,
    _transaction,
)
from psycopg2.extensions import POLL_OK, POLL_WRITE, new_type, parse_dsn, register_type
from psycopg2.extensions import connection as PlainConnection
from psycopg2.extensions import cursor as PlainCursor

from avatar_creator_server.database.compiled_queries import Statement
from avatar_creator_server.database.jobs import JobGreenlet, current_greenlet
from avatar_creator_server.database.problems import sql_state

TIMEOUTS = {
    # A process that freezes in a transaction must not keep its rows locked.
    "idle_in_transaction_session_timeout": "10s",
    "statement_timeout": "30s",
}
"""PostgreSQL's settings that limit a transaction and a statement."""

_CONNECT_SECONDS = 5
_SILENT_MILLISECONDS = 10_000
CONNECTION_OPTIONS: dict[str, Any] = {
    "connect_timeout": _CONNECT_SECONDS,
    # Without these, a server that no longer answers blocks each statement until the kernel gives up.
    "tcp_user_timeout": _SILENT_MILLISECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}
"""Options of a connection for libpq alone, in seconds; `tcp_user_timeout` is in milliseconds."""

_UNREACHABLE_MILLISECONDS = 4_000
"""Maximum time for which an address may not answer, before libpq tries the next one. An asynchronous
connection ignores `connect_timeout`, so this must be less than the maximum of a connection."""


PLAN_LOST = ("0A000", "26000", "42P05")
"""Error codes for a statement whose plan PostgreSQL cannot use or keep: a migration has changed the type of a
column, or the session has lost its kept plans, or has kept another connection's. The last two happen behind
a pooler in transaction mode that the settings do not name."""

_SILENT = "connection to server failed: timeout expired"

_JSON = JSONDecoder()

_JSONB = 3802
"""Number of the type JSONB. Source: `src/include/catalog/pg_type.dat` of PostgreSQL."""

_PLACE = re.compile("%[%s]")
"""A place for a value, or a percent sign, in a statement for the driver."""


def _decode_json(text: Any, _: Any) -> Any:
    # Not by `json.loads`, which takes four times as long: it looks for space around JSON, and PostgreSQL
    # writes none.
    return None if text is None else _JSON.raw_decode(text)[0]


register_type(new_type((_JSONB,), "JSONB", _decode_json))


class AsynchronousConnection(PlainConnection):
    """A connection that pauses its greenlet, not its thread, while it waits for PostgreSQL."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept_plans: dict[str, str] = {}
        """Calls of the statements whose plans PostgreSQL keeps for this connection, by statement."""
        self._greenlet: JobGreenlet | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_awaited = False
        self._descriptor = -1
        self._failures = select.poll()

    def attach(self, greenlet: JobGreenlet) -> None:
        """Wait on the event loop from now on, for the jobs of a greenlet."""
        self._greenlet = greenlet
        self._loop = asyncio.get_running_loop()
        # The driver no longer knows it once the connection is lost.
        self._descriptor = self.fileno()
        self._loop.add_reader(self._descriptor, self._on_ready)
        # `poll` reports errors even if it is asked for no event.
        self._failures.register(self._descriptor, 0)

    def close(self) -> None:
        """Close the connection."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
        self._loop = None
        super().close()

    def wait(self) -> None:
        """Wait until the statement that was sent has ended.

        Raises:
            psycopg2.Error: The statement failed, or the connection is lost.
        """
        while (wanted := self.poll()) != POLL_OK:
            if self._greenlet is None or self._loop is None:
                self._block(wanted)
                continue
            if self._has_failed():
                continue
            if wanted == POLL_WRITE:
                self._loop.add_writer(self._descriptor, self._on_ready)
            self._is_awaited = True
            self._greenlet.pause()
            if wanted == POLL_WRITE and self._loop is not None:
                self._loop.remove_writer(self._descriptor)

    def _has_failed(self) -> bool:
        """Return whether the connection is lost, although the driver may not have read its last messages.

        libuv reports an error of a socket once, and then no longer watches the socket. A greenlet that waits
        for another report would wait forever. Source: `uv__poll_io` in libuv's `src/unix/poll.c`.
        """
        return bool(self._failures.poll(0))

    def _block(self, wanted: int) -> None:
        """Block the thread, which connects, until the server makes progress."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT if wanted == POLL_WRITE else select.POLLIN)
        if not poll.poll(_CONNECT_SECONDS * 1000):
            raise psycopg2.OperationalError(_SILENT)

    def _on_ready(self) -> None:
        if self._is_awaited:
            self._is_awaited = False
            assert self._greenlet is not None
            self._greenlet.resume()
            return
        # No statement runs: the server says something about the session, or has ended it.
        try:
            self.poll()
            is_lost = self._has_failed()
        except psycopg2.Error:
            is_lost = True
        if is_lost:
            self.close()


class _Plan(NamedTuple):
    """The commands for a statement whose plan PostgreSQL keeps."""

    sql: str
    """The statement for the driver."""
    keep: str
    """The command that keeps the plan."""
    call: str
    """The command for the driver that runs the statement by its plan."""


@lru_cache(maxsize=4096)
def _plan_of(sql: str) -> _Plan:
    """Return the commands that keep and use the plan of a statement.

    Its name depends on the statement alone, so that it never calls another statement in a session that
    several connections use.
    """
    places = itertools.count(1)
    text = _PLACE.sub(lambda found: found[0] if found[0] == "%%" else f"${next(places)}", sql)
    name = f"plan_{blake2b(text.encode(), digest_size=8).hexdigest()}"
    values = ", ".join(["%s"] * (next(places) - 1))
    call = f"EXECUTE {name} ({values})" if values else f"EXECUTE {name}"
    return _Plan(sql, f"PREPARE {name} AS {text}", call)


def _plain(sql: str, params: Any = None) -> Statement:
    """Return a statement whose plan is not kept."""
    return Statement(sql, list(params or ()), by_key=False)


class _PausingCursor(PlainCursor):
    """A cursor of an asynchronous connection, whose `execute` returns when the statement has ended."""

    def execute(self, query: Any, vars: Any = None) -> None:
        """Run a statement."""
        super().execute(query, vars)
        connection: Any = self.connection
        connection.wait()


class _State(_ConnectionState):
    """Peewee's connection and transactions, and what a transaction has not sent yet."""

    def reset(self) -> None:
        """Forget the connection."""
        super().reset()
        self.unsent: list[Statement] = []
        self.has_begun = False
        """True if the current transaction has sent anything."""

    def begin(self, statements: Sequence[Statement]) -> None:
        """Begin a transaction, whose first statements these are."""
        self.unsent = [*statements]
        self.has_begun = False


class _Transaction(_transaction):
    """A transaction. Peewee's own one looks up the state of the greenlet at each step."""

    def __enter__(self) -> _Transaction:
        """Begin, unless this is a part of another transaction."""
        self._state: _State = self.db._state
        if not self._state.transactions:
            self._state.begin(self.db._BEGIN)
        self._state.transactions.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Commit or roll back, unless this is a part of another transaction."""
        self._state.transactions.pop()
        if self._state.transactions:
            return
        if kind is not None:
            self.db.rollback()
            return
        try:
            self.db.commit()
        except Exception:
            self.db.rollback()
            raise


class _Savepoint(_savepoint):
    """A savepoint of a transaction that sends statements together."""

    def rollback(self, begin: bool = True) -> None:
        """Roll back to the savepoint."""
        # They were added after the savepoint, which has sent all earlier ones.
        self.db.forget_unsent()
        super().rollback(begin)


class _StateOfThread(_State, threading.local):
    pass


class Postgresql(PostgresqlDatabase):
    """PostgreSQL: a transaction sends as many statements as possible together."""

    field_types = {**PostgresqlDatabase.field_types, "UTCDATETIME": "TIMESTAMPTZ"}  # noqa: RUF012

    _BEGIN: tuple[Statement, ...] = (_plain("BEGIN"),)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._of_threads = _StateOfThread()
        super().__init__(*args, **kwargs)
        # Peewee would keep the lock while a greenlet that connects is paused, and the next one would block.
        self._lock = contextlib.nullcontext()

    @property
    def _state(self) -> _State:
        """The state of the current greenlet, or of the current thread."""
        greenlet = getattr(getcurrent(), "runner", None)
        if greenlet is None:
            return self._of_threads
        state: _State | None = greenlet.of_database
        if state is None:
            state = greenlet.of_database = _State()
        return state

    @_state.setter
    def _state(self, of_peewee: object) -> None:
        """Ignore the state that Peewee makes."""

    def begin(self) -> None:  # type: ignore[override]  # every transaction has the same level
        """Begin a transaction with its first statement."""
        self._state.begin(self._BEGIN)

    @property
    def begin_time(self) -> datetime:
        """The time at which the current transaction began."""
        begin_time: datetime = self.execute_sql("SELECT now()").fetchone()[0]
        return begin_time.astimezone(UTC)

    def commit(self) -> None:
        """Commit, together with the last statements of the transaction.

        Raises:
            peewee.InternalError: PostgreSQL rolled back, because an earlier statement had failed.
        """
        state = self._state
        if not state.has_begun and len(state.unsent) <= len(self._BEGIN):
            # Nothing was sent, or PostgreSQL has committed with the last statements.
            state.unsent = []
            return
        answer = self.execute_sql("COMMIT").statusmessage
        if answer != "COMMIT":
            state.has_begun = False
            raise InternalError(f"PostgreSQL answered {answer} to COMMIT: a statement before it had failed")

    def rollback(self) -> None:
        """Roll back. A lost connection has done so, and the error that says why it was lost stays."""
        state = self._state
        state.unsent = []
        if not state.has_begun:
            return
        try:
            self.execute_sql("ROLLBACK")
        except (DatabaseError, InterfaceError):
            if not state.conn.closed:
                raise

    def transaction(self) -> _Transaction:
        """Return a transaction, which its context begins and ends."""
        return _Transaction(self)

    def savepoint(self) -> _Savepoint:
        """Return a savepoint, which its context begins and ends."""
        return _Savepoint(self)

    def forget_unsent(self) -> None:
        """Forget what the transaction has not sent."""
        self._state.unsent = []

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run a statement after the unsent ones, and return the driver's cursor.

        Raises:
            StoppedError: The current job only reads, and was stopped.
        """
        if self._state.unsent:
            return self.execute_together([_plain(sql, params)])
        return self._send(sql, params)

    def execute_later(self, statements: Sequence[Statement]) -> None:
        """Run statements together with the next one of the transaction, or with its commit."""
        state = self._state
        if state.transactions:
            state.unsent += statements
        else:
            self.execute_together(statements)

    def execute_together(self, statements: Sequence[Statement]) -> Any:
        """Run statements in their order in one round trip, and return the driver's cursor of the last one."""
        state = self._state
        if state.unsent:
            statements = [*state.unsent, *statements]
            state.unsent = []
            state.has_begun = True
        return self._execute_all(statements)

    def execute_last(self, statements: Sequence[Statement]) -> Any:
        """Run the last statements of a transaction, and return the driver's cursor of the last one.

        PostgreSQL makes one transaction of statements that arrive together. Source: PostgreSQL's manual,
        "Multiple Statements in a Simple Query".
        """
        state = self._state
        if not state.transactions or state.has_begun:
            return self.execute_together(statements)
        statements = [*state.unsent[1:], *statements]  # without BEGIN
        state.unsent = []
        return self._execute_all(statements)

    def _execute_all(self, statements: Sequence[Statement]) -> Any:
        return self._execute_texts([statement.sql for statement in statements], statements)

    def _execute_texts(self, texts: Sequence[str], statements: Sequence[Statement]) -> Any:
        return self._send("; ".join(texts), [value for statement in statements for value in statement.values])

    def _send(self, sql: str, params: Any) -> Any:
        """Send text to PostgreSQL as it is, without the unsent statements, unless the job was stopped."""
        greenlet = current_greenlet()
        if greenlet is not None and greenlet.job is not None:
            greenlet.job.require_going()
        return super().execute_sql(sql, params)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        greenlet = current_greenlet()
        if greenlet is None:
            connection = super()._connect()  # type: ignore[misc]  # missing in its stub
            self._begin_session(connection)
            return connection
        # On a thread, because libpq blocks while it makes the TLS connection.
        connection = greenlet.in_thread(self._connect_asynchronously)
        connection.attach(greenlet)
        return connection

    def _connect_asynchronously(self) -> AsynchronousConnection:
        places = _resolved(self.database)
        try:
            return self._open(**places)
        except psycopg2.OperationalError as error:
            if _SILENT not in str(error) or "," not in places.get("hostaddr", ""):
                raise
        # One of several addresses may accept connections and not answer. Only a connection that blocks goes
        # on to the next address then, so it finds the right one.
        adapter: Any = self._adapter  # type: ignore[attr-defined]  # missing in its stub
        with contextlib.closing(adapter.connect(self, **self.connect_params | places)) as found:
            place = {"host": found.info.host, "port": found.info.port, "hostaddr": _peer_address(found)}
        return self._open(**place)

    def _open(self, **place: Any) -> AsynchronousConnection:
        options = {
            **self.connect_params,
            **place,
            "tcp_user_timeout": _UNREACHABLE_MILLISECONDS,
            "connection_factory": AsynchronousConnection,
            "cursor_factory": _PausingCursor,
        }
        adapter: Any = self._adapter  # type: ignore[attr-defined]  # missing in its stub
        connection: AsynchronousConnection = adapter.connect(self, async_=True, **options)
        try:
            connection.wait()
            _set_silent_time(connection)
            self._begin_session(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin_session(self, connection: Any) -> None:
        """Prepare a new connection."""


class DirectPostgresql(Postgresql):
    """PostgreSQL without a pooler in transaction mode."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sessions: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def _begin_session(self, connection: Any) -> None:
        settings = "".join(f"SET {name} = '{value}'; " for name, value in TIMEOUTS.items())
        with connection.cursor() as cursor:
            # Not the process id of the connection, which a pooler in session mode invents.
            cursor.execute(f"{settings}SELECT pg_backend_pid()")
            (self._sessions[connection],) = cursor.fetchone()

    def _execute_all(self, statements: Sequence[Statement]) -> Any:
        """Run statements. PostgreSQL keeps the plans of those that find rows by key."""
        state = self._state
        connection = state.conn
        if not isinstance(connection, AsynchronousConnection):
            return super()._execute_all(statements)
        try:
            return self._execute_by_plans(connection, statements)
        except DatabaseError as error:
            if sql_state(error) not in PLAN_LOST:
                raise
            connection.kept_plans.clear()
            if state.transactions and state.has_begun:
                if statements[0] is not self._BEGIN[0]:
                    raise
                # They are the first ones of the transaction, so nothing else is undone.
                statements = [_plain("ROLLBACK"), *statements]
            return super()._execute_all(statements)

    def _execute_by_plans(self, connection: AsynchronousConnection, statements: Sequence[Statement]) -> Any:
        kept = connection.kept_plans
        try:
            texts = [kept[each.sql] if each.by_key else each.sql for each in statements]
        except KeyError:
            new = {each.sql for each in statements if each.by_key} - kept.keys()
            self._keep_plans(kept, [_plan_of(sql) for sql in new])
            return self._execute_by_plans(connection, statements)
        return self._execute_texts(texts, statements)

    def _keep_plans(self, kept: dict[str, str], new: Sequence[_Plan]) -> None:
        # Alone, because PostgreSQL keeps a plan even if a later statement fails.
        # All are kept again if it is not certain which ones PostgreSQL has kept.
        texts = [plan.keep for plan in new] if kept else ["DEALLOCATE ALL", *(plan.keep for plan in new)]
        try:
            self._send("; ".join(texts), None)
        except BaseException:
            kept.clear()
            raise
        kept.update((plan.sql, plan.call) for plan in new)

    def end_statement(self, connection: Any) -> None:
        """End the statement that runs on another connection."""
        # Not by the driver's `cancel`: it connects to PostgreSQL, and stops all threads of Python until then.
        self.execute_sql("SELECT pg_cancel_backend(%s)", (self._sessions[connection],))


class PooledPostgresql(Postgresql):
    """PostgreSQL behind a pooler that gives the session of a transaction to another client afterwards.

    A setting of a session would apply to that client, so only transactions have settings. The role of the
    database has the timeouts for single statements.
    """

    _BEGIN = (
        *Postgresql._BEGIN,
        *(_plain(f"SET LOCAL {name} = '{value}'") for name, value in TIMEOUTS.items()),
    )

    def end_statement(self, connection: Any) -> None:
        """End the statement that runs on another connection."""
        # The pooler knows the session. It gives that session to no other client before it has passed this on.
        with contextlib.suppress(psycopg2.Error):
            connection.cancel()


def _resolved(url: str) -> dict[str, str]:
    """Return the hosts of a URL with the addresses of their names, as parameters of a connection.

    libpq resolves names too. For an asynchronous connection, psycopg2 keeps Python's global lock until then,
    and so stops all threads. libpq still needs the names, for TLS. A name with several addresses is repeated,
    because libpq tries each of them. Source: PostgreSQL's manual, "Specifying Multiple Hosts" and `hostaddr`.

    Raises:
        psycopg2.OperationalError: No name has an address.
    """
    parameters = parse_dsn(url)
    if "hostaddr" in parameters:
        return {"hostaddr": parameters["hostaddr"]}
    if "host" not in parameters:
        return {}
    hosts = parameters["host"].split(",")
    ports = parameters.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        return {}  # libpq says what is wrong.
    found: list[tuple[str, str, str]] = []
    problem = ""
    for host, port in zip(hosts, ports, strict=True):
        try:
            found += ((host, address, port) for address in _addresses(host))
        except (OSError, UnicodeError) as error:
            problem = f'could not translate host name "{host}" to address: {error}'
    if not found:
        raise psycopg2.OperationalError(problem)
    names, addresses, numbers = (",".join(values) for values in zip(*found, strict=True))
    places = {"host": names, "hostaddr": addresses}
    return {**places, "port": numbers} if "port" in parameters else places


def _addresses(host: str) -> list[str]:
    """Return the addresses of a host in their order; an empty one for a Unix socket, which has none."""
    if host.startswith(("/", "@")) or not host:
        return [""]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(_numeric(address) for *_, address in found))


def _numeric(address: Any) -> str:
    """Return the host of a socket's address in numbers, with the network interface if it needs one."""
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def _peer_address(connection: PlainConnection) -> str:
    """Return the address of the server; empty for a Unix socket."""
    with socket.socket(fileno=connection.fileno()) as connected:
        try:
            if connected.family == socket.AF_UNIX:
                return ""
            return _numeric(connected.getpeername())
        finally:
            connected.detach()


def _set_silent_time(connection: AsynchronousConnection) -> None:
    """Give the server the usual time to answer, now that the connection is made."""
    with socket.socket(fileno=connection.fileno()) as connected:
        try:
            if connected.family != socket.AF_UNIX:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_MILLISECONDS)
        finally:
            connected.detach()
