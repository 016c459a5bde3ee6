"""Connections to PostgreSQL on the event loop: kept plans, statements sent together, and what ends them."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import peewee
import psutil
import psycopg2
import pytest
import uvloop
from structlog.testing import capture_logs

from avatar_creator_server.avatars.service import NewAvatar, insert_avatar
from avatar_creator_server.database.compiled_queries import Statement, run_later, run_together
from avatar_creator_server.database.connection import Database, DatabaseLimits
from avatar_creator_server.database.models import File, new_id
from avatar_creator_server.database.models.states import FileState, SourceType
from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_server.projects.records import Project
from avatar_creator_server.projects.service import Projects
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.idempotency import RequestKey
from avatar_creator_server.shared.paging import Pager, PageTokens
from avatar_creator_server.usage.records import UsageRecord
from avatar_creator_server.usage.service import Usage, Use
from tests.support.certificate import Certificate
from tests.support.pgbouncer import PgBouncer
from tests.support.proxy import Proxy
from tests.support.round_trips import RoundTrips
from tests.support.tls_proxy import tls_proxy
from tests.support.waiting import wait_until

T = TypeVar("T")

ONE_CONNECTION = DatabaseLimits(connections=1, connections_per_user=1)


def execute(url: str, statement: str) -> None:
    """Run a statement on another connection."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


def sleeps(url: str) -> bool:
    """Return whether a connection to the database runs `pg_sleep`."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event = 'PgSleep'"
        )
        return cursor.fetchone() != (0,)


def by_key(number: int) -> Statement:
    """Return the query of a number's row."""
    return Statement("SELECT name FROM named WHERE number = %s", [number], by_key=True)


def insert(number: int, name: str) -> Statement:
    """Return the INSERT of a row."""
    return Statement("INSERT INTO named VALUES (%s, %s)", [number, name], by_key=True)


def name_of(number: int) -> Callable[[], Any]:
    """Return a function that reads the name of a number, by a kept plan."""
    return lambda: run_together(by_key(number)).fetchone()[0]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database of one connection, with the numbers 1 and 2 in a table."""
    execute(database_url, "CREATE TABLE named (number integer PRIMARY KEY, name varchar(20))")
    execute(database_url, "INSERT INTO named VALUES (1, 'one'), (2, 'two')")
    opened = Database(database_url, limits=ONE_CONNECTION)
    yield opened
    await opened.close()


def query(database: Database, sql: str) -> Callable[[], list[Any]]:
    """Return a function that runs a query."""
    return lambda: list(database.peewee.execute_sql(sql).fetchall())


async def kept_plans(database: Database) -> list[str]:
    """Return the statements whose plans PostgreSQL keeps."""
    rows = await database.read(query(database, "SELECT statement FROM pg_prepared_statements"))
    return [statement for (statement,) in rows]


# Kept plans


async def test_postgresql_keeps_the_plan_of_a_statement_that_finds_rows_by_key(database: Database) -> None:
    assert await database.read(name_of(1)) == "one"
    assert await database.read(name_of(2)) == "two"

    [statement] = await kept_plans(database)
    assert "AS SELECT name FROM named WHERE number = $1" in statement


async def test_no_plan_of_another_statement_is_kept(database: Database) -> None:
    statement = Statement("SELECT name FROM named WHERE number > %s", [0], by_key=False)

    assert len(await database.read(lambda: run_together(statement).fetchall())) == 2
    assert await kept_plans(database) == []


async def test_no_plan_is_kept_behind_a_pooler(pgbouncer: PgBouncer, database_url: str) -> None:
    database = Database(pgbouncer.url(database_url), pooled=True)
    statement = Statement("SELECT %s::text", ["x"], by_key=True)
    try:
        assert await database.read(lambda: run_together(statement).fetchone()) == ("x",)
        assert await kept_plans(database) == []
    finally:
        await database.close()


@pytest.mark.parametrize("change", ["ALTER TABLE named ALTER name TYPE text", None])
async def test_a_read_goes_on_without_its_plan_after_a_migration_or_a_reset(
    database: Database, database_url: str, change: str | None
) -> None:
    assert await database.read(name_of(1)) == "one"

    if change:
        execute(database_url, change)
    else:
        await database.read(lambda: database.peewee.execute_sql("DISCARD ALL"))

    assert await database.read(name_of(1)) == "one"
    assert await database.read(name_of(2)) == "two"


async def test_a_write_goes_on_if_its_first_statements_have_lost_a_plan(
    database: Database, database_url: str
) -> None:
    def write() -> Any:
        run_later(Statement("UPDATE named SET name = name || '!' WHERE number = 2", [], by_key=False))
        return name_of(1)()

    assert await database.read(name_of(1)) == "one"
    execute(database_url, "ALTER TABLE named ALTER name TYPE text")

    assert await database.write(write) == "one"
    assert await database.read(name_of(2)) == "two!"


async def test_a_write_that_loses_a_plan_later_is_unavailable_once(
    database: Database, database_url: str
) -> None:
    def write() -> Any:
        database.peewee.execute_sql("INSERT INTO named VALUES (3, 'three')")
        return name_of(1)()

    assert await database.read(name_of(1)) == "one"
    execute(database_url, "ALTER TABLE named ALTER name TYPE text")

    with pytest.raises(UnavailableError, match="could not complete this call"):
        await database.write(write)

    assert await database.write(write) == "one"
    assert await database.read(name_of(3)) == "three"


async def test_a_statement_that_fails_has_one_plan(database: Database) -> None:
    for _ in range(3):
        with pytest.raises(peewee.IntegrityError):
            await database.write(lambda: run_together(insert(1, "one again")))

    assert len(await kept_plans(database)) == 1


async def test_a_statement_that_cannot_be_planned_leaves_the_other_plans(database: Database) -> None:
    wrong = Statement("SELECT nothing FROM named WHERE number = %s", [1], by_key=True)
    for _ in range(2):
        with pytest.raises(peewee.ProgrammingError):
            await database.read(lambda: run_together(by_key(1), wrong))

    assert await database.write(name_of(1)) == "one"
    assert len(await kept_plans(database)) == 1


async def test_a_kept_plan_never_runs_another_statement(
    pgbouncer: PgBouncer, database_url: str, database: Database
) -> None:
    """Share a session between two connections, through a pooler that the settings do not name."""
    first, second = (Database(pgbouncer.url(database_url), limits=ONE_CONNECTION) for _ in range(2))
    text = Statement("SELECT 'another, 100%%' WHERE %s = 1", [1], by_key=True)
    try:
        for _ in range(2):
            assert await first.read(name_of(1)) == "one"
            assert await second.read(lambda: run_together(text).fetchone()[0]) == "another, 100%"
            assert await second.write(name_of(2)) == "two"
            assert await first.write(name_of(2)) == "two"
    finally:
        await first.close()
        await second.close()


# Statements that are sent together


async def test_statements_for_later_run_in_their_order_and_before_a_query(database: Database) -> None:
    def write() -> list[Any]:
        run_later(insert(3, "three"))
        run_later(Statement("UPDATE named SET name = name || %s WHERE number = 3", ["!"], by_key=False))
        return query(database, "SELECT name, '100%%' FROM named WHERE number = 3")()

    assert await database.write(write) == [("three!", "100%")]


async def test_statements_for_later_are_committed_and_rolled_back_with_the_transaction(
    database: Database,
) -> None:
    def write(fails: bool) -> None:
        run_later(insert(3, "three"))
        if fails:
            raise LookupError

    with pytest.raises(LookupError):
        await database.write(write, True)
    assert await database.read(query(database, "SELECT count(*) FROM named")) == [(2,)]
    await database.write(write, False)
    assert await database.read(name_of(3)) == "three"


async def test_an_error_of_a_statement_for_later_rolls_the_transaction_back(database: Database) -> None:
    def write() -> None:
        database.peewee.execute_sql("INSERT INTO named VALUES (4, 'four')")
        run_later(insert(1, "one again"))

    with pytest.raises(peewee.IntegrityError):
        await database.write(write)

    assert await database.read(query(database, "SELECT number FROM named ORDER BY 1")) == [(1,), (2,)]


async def test_a_transaction_without_statements_is_no_transaction(database: Database) -> None:
    assert await database.write(lambda: "nothing") == "nothing"

    # Each read has a transaction of its own, so its time is another one.
    times = [await database.read(query(database, "SELECT now()")) for _ in range(2)]
    assert times[0] != times[1]


async def test_a_statement_for_later_belongs_to_its_savepoint(database: Database) -> None:
    def in_savepoint(statement: Statement, *, fails: bool = False) -> None:
        with database.peewee.atomic():
            run_later(statement)
            if fails:
                raise LookupError

    def write() -> None:
        run_later(insert(3, "three"))
        with pytest.raises(LookupError):
            in_savepoint(insert(4, "four"), fails=True)
        with pytest.raises(LookupError):
            in_savepoint(insert(1, "one again"), fails=True)
        with pytest.raises(peewee.IntegrityError):
            in_savepoint(insert(1, "one again"))
        in_savepoint(insert(5, "five"))

    await database.write(write)

    numbers = await database.read(query(database, "SELECT number FROM named ORDER BY 1"))
    assert numbers == [(1,), (2,), (3,), (5,)]


async def test_a_write_that_hides_an_error_is_not_committed_in_silence(database: Database) -> None:
    def write() -> None:
        database.peewee.execute_sql("INSERT INTO named VALUES (3, 'three')")
        with pytest.raises(peewee.IntegrityError):
            database.peewee.execute_sql("INSERT INTO named VALUES (1, 'one again')")

    with pytest.raises(peewee.InternalError, match="ROLLBACK"):
        await database.write(write)

    assert await database.read(query(database, "SELECT count(*) FROM named")) == [(2,)]


async def round_trips(proxy: RoundTrips, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, int]:
    """Return the result of work, and the number of its round trips once the plans are kept."""
    await work()
    before = proxy.count
    result = await work()
    return result, proxy.count - before


def new_key(user: str, *, is_idempotent: bool) -> RequestKey:
    """Return the key of a new call."""
    return RequestKey(user, "Call", str(uuid.uuid4()) if is_idempotent else "", "hash")


def insert_an_avatar(database: Database, user: str, project_id: str) -> str:
    """Insert an avatar, and return its id."""
    avatar_id, file_id, now = new_id(), new_id(), database.now()
    File.create(
        id=file_id,
        user_id=user,
        key=file_id,
        state=FileState.OWNED,
        content_type="image/png",
        size_bytes=1,
        sha256="",
        width=1,
        height=1,
        create_time=now,
    )
    new = NewAvatar(
        avatar_id, user, project_id, "Face", file_id, SourceType.UPLOADED, Persona(), Attributes()
    )
    insert_avatar(new, now)
    return avatar_id


async def test_frequent_calls_take_few_round_trips(database_url: str, user: str) -> None:
    caller = Caller(user)
    async with RoundTrips.counted(database_url) as proxy:
        database = Database(proxy.url, limits=ONE_CONNECTION)
        pager = Pager(database, PageTokens(lambda: "secret"))
        projects, usage = Projects(database, pager), Usage(database, pager)

        def create(is_idempotent: bool) -> Coroutine[Any, Any, Project]:
            key = new_key(user, is_idempotent=is_idempotent)
            return projects.create(caller, key, name="Trips", description="")

        def record(is_idempotent: bool) -> Coroutine[Any, Any, tuple[UsageRecord, int]]:
            use = Use(avatar_id, "app", "", "open", "", "", {})
            return usage.record(caller, new_key(user, is_idempotent=is_idempotent), use)

        try:
            project, created = await round_trips(proxy, lambda: create(False))
            avatar_id = await database.write(insert_an_avatar, database, user, project.id)

            assert created == 1
            assert (await round_trips(proxy, lambda: create(True)))[1] == 1
            assert (await round_trips(proxy, lambda: projects.get(caller, project.id)))[1] == 1
            (_, count), recorded = await round_trips(proxy, lambda: record(False))
            assert (recorded, count) == (2, 2)
            assert (await round_trips(proxy, lambda: record(True)))[1] == 3
        finally:
            await database.close()


# Connections


async def test_a_connection_that_ended_while_it_was_idle_costs_no_call(
    database: Database, database_url: str
) -> None:
    [(session,)] = await database.read(query(database, "SELECT pg_backend_pid()"))
    execute(database_url, f"SELECT pg_terminate_backend({session})")
    await asyncio.to_thread(wait_until, lambda: not psutil.pid_exists(session))
    # A round trip of another connection, after which the event loop has seen the end of this one.
    await database.ping()

    assert await database.read(name_of(1)) == "one"


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_the_log_says_once_why_connections_were_lost(
    database_url: str, database: Database, kind: str
) -> None:
    end = query(database, "SELECT pg_terminate_backend(pg_backend_pid())")
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="is unavailable"):
                await (database.read(end) if kind == "read" else database.write(end))

    [lost] = [entry for entry in logs if entry["event"] == "database_connection_lost"]
    assert "terminating connection" in lost["error"]


def notice(text: str) -> bytes:
    """Return PostgreSQL's message of a warning. Source: PostgreSQL's manual, "Message Formats"."""
    fields = b"".join(
        kind + value.encode() + b"\0"
        for kind, value in ((b"S", "WARNING"), (b"V", "WARNING"), (b"C", "57P02"), (b"M", text))
    )
    return b"N" + struct.pack("!i", 4 + len(fields) + 1) + fields + b"\0"


CRASH = notice("terminating connection because of crash of another server process")

each_loop = pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
"""uvloop reports an error of a socket once, and asyncio's event loop until the socket is closed."""


@each_loop
def test_a_read_fails_at_once_if_its_connection_is_reset_after_a_warning(
    database_url: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def lose(proxy: Proxy) -> None:
        database = Database(proxy.url, limits=ONE_CONNECTION)
        await database.ping()
        reading = asyncio.create_task(database.read(query(database, "SELECT pg_sleep(30)")))
        await asyncio.to_thread(wait_until, lambda: sleeps(database_url))
        proxy.reset_connections(CRASH)

        with pytest.raises(UnavailableError, match="is unavailable"):
            await asyncio.wait_for(reading, 10)
        assert await database.read(query(database, "SELECT 1")) == [(1,)]
        await database.close()

    with closing(Proxy(database_url)) as proxy:
        run(lose(proxy))


@each_loop
def test_a_connection_that_is_reset_after_a_warning_while_it_is_idle_costs_no_call(
    database_url: str, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def lose(proxy: Proxy) -> None:
        database = Database(proxy.url, limits=ONE_CONNECTION)
        await database.read(query(database, "SELECT 1"))
        # More than the driver reads at once.
        proxy.reset_connections(CRASH * 500)
        # A round trip of another connection, after which the event loop has seen the end of this one.
        await database.ping()

        assert await database.read(query(database, "SELECT 1")) == [(1,)]
        await database.close()

    with closing(Proxy(database_url)) as proxy:
        run(lose(proxy))


async def test_a_write_that_a_pooler_gives_no_session_has_no_free_connection(database_url: str) -> None:
    with closing(PgBouncer(database_url, pool_size=1, settings={"query_wait_timeout": "1"})) as pooler:
        limits = DatabaseLimits(connections=2, connections_per_user=2)
        database = Database(pooler.url(database_url), pooled=True, limits=limits)
        holds, ends = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def hold() -> None:
            while not ends.is_set():
                database.peewee.execute_sql("SELECT 1")
                loop.call_soon(holds.set)

        try:
            holding = asyncio.create_task(database.write(hold))
            await holds.wait()
            with capture_logs() as logs, pytest.raises(UnavailableError, match="no free connection"):
                await database.write(query(database, "SELECT 1"))
            assert [entry["event"] for entry in logs] == ["database_connection_refused"]
            ends.set()
            await holding
        finally:
            await database.close()


async def test_large_results_arrive_in_large_tls_records(database_url: str) -> None:
    async with tls_proxy(database_url) as url:
        database = Database(url, limits=ONE_CONNECTION)
        try:
            for size in range(7_000, 60_000, 3_000):
                [(text,)] = await database.read(query(database, f"SELECT repeat('x', {size})"))
                assert len(text) == size
        finally:
            await database.close()


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """The port of a server that accepts connections and does not answer."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    yield int(server.sockets[0].getsockname()[1])
    server.close()


async def test_the_event_loop_goes_on_while_a_server_does_not_answer(silent_port: int) -> None:
    database = Database(f"postgresql://user:secret@127.0.0.1:{silent_port}/name")
    reading = asyncio.create_task(database.ping())
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0.01)

    with pytest.raises(UnavailableError):
        await reading
    assert turns > 1
    await database.close()


async def test_another_host_is_used_while_the_first_one_does_not_answer(
    database_url: str, silent_port: int
) -> None:
    parts = urlsplit(database_url)
    login, _, address = parts.netloc.rpartition("@")
    hosts = f"{login}@127.0.0.1:{silent_port},{address}"
    database = Database(urlunsplit(parts._replace(netloc=hosts)), limits=ONE_CONNECTION)
    try:
        assert await database.read(query(database, "SELECT 1")) == [(1,)]
    finally:
        await database.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names for this process, in place of the machine's. An answer takes a while."""
    addresses: dict[str, list[str]] = {}
    of_machine = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if host not in addresses:
            return of_machine(host, port, *args, **kwargs)
        time.sleep(0.2)
        if not addresses[host]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [each for name in addresses[host] for each in of_machine(name, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return addresses


async def test_the_event_loop_goes_on_while_a_name_is_resolved(
    database_url: str, names: dict[str, list[str]]
) -> None:
    # libpq cannot resolve it, so that this fails if libpq gets no address.
    names["database.invalid"] = ["127.0.0.1"]
    database = Database(database_url.replace("127.0.0.1", "database.invalid"), limits=ONE_CONNECTION)
    pinging = asyncio.create_task(database.ping())
    turns = 0
    while not pinging.done():
        turns += 1
        await asyncio.sleep(0.01)
    try:
        await pinging
        assert turns > 1
    finally:
        await database.close()


async def test_a_name_with_several_addresses_leads_to_the_first_one_that_answers(
    database_url: str, names: dict[str, list[str]], silent_port: int
) -> None:
    parts = urlsplit(database_url)
    login = parts.netloc.rpartition("@")[0]
    names["unknown.invalid"] = []
    # Nothing listens at the first address.
    names["database.invalid"] = ["127.0.0.2", "127.0.0.1"]
    hosts = f"{login}@127.0.0.1:{silent_port},unknown.invalid:{silent_port},database.invalid:{parts.port}"
    database = Database(urlunsplit(parts._replace(netloc=hosts)), limits=ONE_CONNECTION)
    try:
        assert await database.read(query(database, "SELECT inet_server_addr()")) == [("127.0.0.1",)]
    finally:
        await database.close()


@pytest.mark.parametrize(("name", "is_trusted"), [("database.invalid", True), ("other.invalid", False)])
async def test_a_certificate_must_have_the_name_of_the_host_and_not_its_address(
    database_url: str, names: dict[str, list[str]], tmp_path: Path, name: str, is_trusted: bool
) -> None:
    names["database.invalid"] = ["127.0.0.1"]
    certificate = Certificate.make(name)
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate.certificate)
    async with tls_proxy(database_url, certificate) as url:
        named = url.replace("127.0.0.1", "database.invalid").replace("sslmode=require", "sslmode=verify-full")
        database = Database(f"{named}&sslrootcert={file}", limits=ONE_CONNECTION)
        try:
            if is_trusted:
                await database.ping()
            else:
                with capture_logs() as logs, pytest.raises(UnavailableError):
                    await database.ping()
                assert "does not match host name" in logs[0]["error"]
        finally:
            await database.close()


async def test_a_name_without_an_address_is_an_outage_with_its_cause(names: dict[str, list[str]]) -> None:
    names["database.invalid"] = []
    database = Database("postgresql://user:secret@database.invalid/name", limits=ONE_CONNECTION)
    with capture_logs() as logs, pytest.raises(UnavailableError):
        await database.ping()
    await database.close()

    [lost] = logs
    assert 'could not translate host name "database.invalid"' in lost["error"]


async def test_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    database = Database(f"postgresql://user@/name?host={tmp_path}", limits=ONE_CONNECTION)
    with capture_logs() as logs, pytest.raises(UnavailableError):
        await database.ping()
    await database.close()

    [lost] = logs
    assert f'on socket "{tmp_path}/.s.PGSQL.5432" failed' in lost["error"]


def test_peewee_has_the_parts_that_are_replaced() -> None:
    database: Any = peewee.PostgresqlDatabase("name")

    why = "database/postgresql.py replaces this part of Peewee, which is not public: read its new source"
    assert isinstance(database._state, peewee._ConnectionState), why
    assert vars(peewee._ConnectionState()).keys() == {
        "closed", "conn", "ctx", "transactions", "commit_callbacks",
    }, why  # fmt: skip
    assert hasattr(database._lock, "__enter__"), why
    assert callable(database._adapter.connect), why
    assert callable(database._connect), why
    assert isinstance(database.savepoint(), peewee._savepoint), why
