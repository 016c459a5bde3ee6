"""Connections to PostgreSQL on the event loop: kept plans, statements sent together, and what ends them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import peewee
import psutil
import psycopg2
import pytest

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
from tests.support.pgbouncer import PgBouncer
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


async def test_a_write_that_has_lost_a_plan_is_unavailable_once(
    database: Database, database_url: str
) -> None:
    assert await database.read(name_of(1)) == "one"
    execute(database_url, "ALTER TABLE named ALTER name TYPE text")

    with pytest.raises(UnavailableError):
        await database.write(name_of(1))

    assert await database.write(name_of(1)) == "one"


# Statements that are sent together


async def test_statements_for_later_run_in_their_order_and_before_a_query(database: Database) -> None:
    def write() -> list[Any]:
        run_later(insert(3, "three"))
        run_later(Statement("UPDATE named SET name = name || %s WHERE number = 3", ["!"], by_key=False))
        return query(database, "SELECT name, '100%' FROM named WHERE number = 3")()

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
    assert await database.read(name_of(1)) == "one"


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

            assert created == 2
            assert (await round_trips(proxy, lambda: create(True)))[1] == 3
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

    assert await database.read(name_of(1)) == "one"


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
