"""The database connections: a share for each user, reads that end with their callers, and a separate ping."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import closing
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
import pytest

from avatar_creator_server.database.call_limits import as_background, set_call_limits, start_shared
from avatar_creator_server.database.connection import Database, DatabaseLimits
from avatar_creator_server.errors import (
    AvatarCreatorError,
    ResourceExhaustedError,
    TooSlowError,
    UnavailableError,
)
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Postgres
from tests.support.waiting import wait_until

T = TypeVar("T")

LIMITS = DatabaseLimits(connections=4, connections_per_user=2, read_seconds=30.0, wait_seconds=0.2)

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
    "pooled": "SELECT pg_sleep(60)",
}
RUNNING = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep(%'"
    " AND datname = current_database()"
)


class Trial:
    """A database of one kind, with slow reads."""

    def __init__(self, kind: str, url: str, direct_url: str) -> None:
        self.kind = kind
        self._url = url
        self._direct_url = direct_url
        self._opened: list[Database] = []
        self._begun = 0

    def open(self, limits: DatabaseLimits = LIMITS) -> Database:
        """Open the database with these limits."""
        database = Database(self._url, pooled=self.kind == "pooled", limits=limits)
        self._opened.append(database)
        return database

    async def close(self) -> None:
        """Close all databases."""
        for database in self._opened:
            await database.close()

    def endless_read(self, database: Database, user: str = "") -> asyncio.Task[Any]:
        """Begin a read that does not end by itself."""

        def read() -> Any:
            self._begun += 1
            return database.peewee.execute_sql(ENDLESS[self.kind]).fetchone()

        return start(database.read(read), user=user)

    def running(self) -> int:
        """Return the number of slow statements that PostgreSQL runs."""
        with closing(psycopg2.connect(self._direct_url)) as connection:
            cursor = connection.cursor()
            cursor.execute(RUNNING)
            [(number,)] = cursor.fetchall()
            return int(number)

    async def wait_until_running(self, number: int) -> None:
        """Wait until this many slow statements run."""
        if self.kind == "sqlite":
            # SQLite does not say what runs, but a read that has not ended keeps its thread busy.
            await asyncio.to_thread(wait_until, lambda: self._begun >= number)
        else:
            await asyncio.to_thread(wait_until, lambda: self.running() == number)


def start(work: Coroutine[Any, Any, T], *, user: str = "", seconds: float | None = None) -> asyncio.Task[T]:
    """Start work as a call of a user; as background work if there is none."""

    async def call() -> T:
        if user:
            set_call_limits(user, seconds)
        return await work

    return asyncio.create_task(call(), context=Context())


async def refusal(work: Awaitable[Any]) -> AvatarCreatorError:
    """Return the error of work that must be refused."""
    with pytest.raises(AvatarCreatorError) as raised:
        await work
    return raised.value


def until(database: Database, release: threading.Event) -> Callable[[], bool]:
    """Return a function that reads again and again until the event."""

    def read() -> bool:
        while not release.is_set():
            one(database)()
        return True

    return read


def one(database: Database) -> Callable[[], Any]:
    """Return a function that reads the number 1."""
    return lambda: database.peewee.execute_sql("SELECT 1").fetchone()[0]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "pooled"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kinds of databases."""
    return str(request.param)


@pytest.fixture(scope="module")
def urls(kind: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URL of PostgreSQL for all tests of a kind, and the one without a pooler; empty for SQLite."""
    if kind == "sqlite":
        yield "", ""
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    direct = postgres.create_database()
    try:
        if kind == "pooled":
            with closing(PgBouncer(direct)) as pooler:
                yield pooler.url(direct), direct
        else:
            yield direct, direct
    finally:
        postgres.drop_database(direct)


@pytest.fixture
async def trial(kind: str, urls: tuple[str, str], tmp_path: Path) -> AsyncIterator[Trial]:
    """A database of each kind, of which no statement of an earlier test runs."""
    opened = Trial(kind, *(urls if urls[0] else (f"sqlite:///{tmp_path}/test.db", "")))
    yield opened
    await opened.close()
    if kind != "sqlite":
        await opened.wait_until_running(0)


# Reads that end


async def test_a_read_ends_with_its_caller(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=3, connections_per_user=2))
    reads = [trial.endless_read(database, "user") for _ in range(2)]
    await trial.wait_until_running(2)

    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)

    # All threads answer again, on the same connections.
    calls = [start(database.read(one(database)), user="user") for _ in range(8)]
    assert await asyncio.gather(*calls) == [1] * 8
    await trial.wait_until_running(0)
    await database.ping()


async def test_a_read_ends_at_the_maximum_of_the_service(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=2, connections_per_user=2, read_seconds=0.2))

    error = await refusal(trial.endless_read(database, "user"))

    assert isinstance(error, TooSlowError)
    assert error.reason == "DATABASE_TOO_SLOW"
    assert "after 0.2 s" in error.message
    assert await start(database.read(one(database)), user="user") == 1
    await trial.wait_until_running(0)


async def test_a_read_ends_at_the_deadline_of_its_call(trial: Trial) -> None:
    database = trial.open()

    def endless() -> Any:
        return database.peewee.execute_sql(ENDLESS[trial.kind]).fetchone()

    error = await refusal(start(database.read(endless), user="user", seconds=0.2))

    assert (error.reason, type(error)) == ("DATABASE_TOO_SLOW", TooSlowError)
    assert "deadline" in error.message
    await trial.wait_until_running(0)


async def test_a_function_of_many_short_reads_ends_too(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=2, connections_per_user=1, read_seconds=0.2))
    statements: list[float] = []

    def many() -> None:
        while True:
            database.peewee.execute_sql("SELECT 1").fetchone()
            statements.append(time.monotonic())

    assert (await refusal(start(database.read(many), user="user"))).reason == "DATABASE_TOO_SLOW"

    # The only turn of the user is free again, so the function has ended.
    assert await start(database.read(one(database)), user="user") == 1
    number = len(statements)
    assert await start(database.read(one(database)), user="user") == 1
    assert len(statements) == number


async def test_background_reads_have_no_maximum(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=2, connections_per_user=1, read_seconds=0.05))
    release = threading.Event()

    read = start(database.read(until(database, release)))
    assert (await refusal(trial.endless_read(database, "user"))).reason == "DATABASE_TOO_SLOW"
    release.set()

    assert await read is True


async def test_ending_a_read_never_ends_the_next_statement_of_its_thread(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=1, connections_per_user=1))
    short = {"sqlite": "SELECT 1", "postgresql": "SELECT pg_sleep(0.002)", "pooled": "SELECT pg_sleep(0.002)"}
    chance = random.Random(7)

    def read() -> Any:
        return database.peewee.execute_sql(short[trial.kind]).fetchone()

    for _ in range(150):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(start(database.read(read), user="user"), chance.random() * 0.004)
        assert await start(database.read(one(database)), user="user") == 1


async def test_an_iterator_that_ends_in_a_read_is_an_error_of_this_read_alone(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=1, connections_per_user=1))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await database.read(lambda: next(iter([])))

    assert await database.read(one(database)) == 1


# Writes


async def test_a_write_that_has_begun_goes_on_and_one_that_waits_never_begins(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=1, connections_per_user=1))
    await database.write(lambda: database.peewee.execute_sql("CREATE TABLE written (name text)"))
    begun, release = threading.Event(), threading.Event()

    def insert(name: str) -> None:
        begun.set()
        until(database, release)()
        database.peewee.execute_sql(f"INSERT INTO written VALUES ('{name}')")

    first = start(database.write(insert, "begun"), user="user")
    await asyncio.to_thread(begun.wait)
    waiting = start(database.write(insert, "waiting"), user="user")
    late = start(database.write(insert, "late"), user="user", seconds=0.05)
    assert (await refusal(late)).reason == "DATABASE_TOO_SLOW"
    first.cancel()
    waiting.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    release.set()

    def names() -> list[str]:
        return [name for (name,) in database.peewee.execute_sql("SELECT name FROM written").fetchall()]

    assert await start(database.read(names), user="user") == ["begun"]


async def test_work_whose_deadline_has_passed_is_not_begun(trial: Trial) -> None:
    database = trial.open()
    calls: list[str] = []

    for run in (database.read, database.write):
        error = await refusal(start(run(calls.append, "begun"), user="user", seconds=0.0))
        assert error.reason == "DATABASE_TOO_SLOW"

    assert calls == []


# Turns


async def test_a_user_holds_only_a_share_of_the_threads(trial: Trial) -> None:
    database = trial.open()
    slow = [trial.endless_read(database, "greedy") for _ in range(2)]
    await trial.wait_until_running(2)

    error = await refusal(start(database.read(one(database)), user="greedy"))

    assert isinstance(error, ResourceExhaustedError)
    assert error.reason == "DATABASE_LIMIT"
    assert error.metadata == {"limit": "database_connections", "most": "2"}
    assert error.retry_after is not None
    assert await start(database.read(one(database)), user="other") == 1
    for read in slow:
        read.cancel()


async def test_users_leave_a_thread_to_background_work(trial: Trial) -> None:
    database = trial.open()
    slow = [trial.endless_read(database, user) for user in ("a", "a", "b")]
    await trial.wait_until_running(3)

    error = await refusal(start(database.read(one(database)), user="c"))

    assert (error.reason, type(error)) == ("OVERLOADED", UnavailableError)
    assert error.retry_after is not None
    assert await database.read(one(database)) == 1
    for read in slow:
        read.cancel()


async def test_a_ping_works_while_all_threads_are_busy(trial: Trial) -> None:
    database = trial.open()
    release = threading.Event()
    busy = [start(database.read(until(database, release))) for _ in range(LIMITS.connections)]

    async with asyncio.timeout(10):
        await database.ping()

    assert not any(each.done() for each in busy)
    release.set()
    await asyncio.gather(*busy)


async def test_a_bounded_number_of_calls_wait(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=2, connections_per_user=1, wait_seconds=60.0))
    release = threading.Event()
    calls = [start(database.read(until(database, release)), user="greedy") for _ in range(300)]

    refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)

    error = await refusal(next(iter(refused)))
    assert error.reason == "DATABASE_LIMIT"
    release.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results.count(True) == 257, "one that ran, and 256 that waited"


async def test_users_take_turns(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=1, connections_per_user=1, wait_seconds=60.0))
    release = threading.Event()
    order: list[str] = []
    calls: list[asyncio.Task[None]]
    blocking = start(database.read(until(database, release)), user="a")
    calls = [start(database.read(order.append, user), user=user[0]) for user in ("a1", "a2", "a3", "b1")]

    calls.append(start(asyncio.to_thread(release.set)))
    await asyncio.gather(blocking, *calls)

    assert order == ["a1", "b1", "a2", "a3"]


async def test_work_after_a_call_has_no_limits_of_the_call(trial: Trial) -> None:
    database = trial.open()

    async def clean_up() -> Any:
        assert (await refusal(database.read(one(database)))).reason == "DATABASE_TOO_SLOW"
        with as_background():
            cleaned = await database.read(one(database))
        shared = await start_shared(database.read(one(database)), name="shared")
        return cleaned, shared

    assert await start(clean_up(), user="user", seconds=0.0) == (1, 1)


def start_watches(database: Database, *, user: str, number: int) -> list[asyncio.Task[Any]]:
    """Start reads of watches, which wait for as long as they must."""

    async def watch() -> Any:
        set_call_limits(user, None, is_patient=True)
        return await database.read(one(database))

    return [asyncio.create_task(watch(), context=Context()) for _ in range(number)]


async def test_watches_wait_longer_than_other_calls(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=2, connections_per_user=1, wait_seconds=0.05))
    release = threading.Event()
    busy = start(database.read(until(database, release)), user="user")

    watches = start_watches(database, user="user", number=600)
    assert (await refusal(start(database.read(one(database)), user="user"))).reason == "DATABASE_LIMIT"
    release.set()

    assert await asyncio.gather(*watches) == [1] * 600
    assert await busy is True


async def test_waiting_watches_take_no_places_of_other_calls(trial: Trial) -> None:
    database = trial.open(DatabaseLimits(connections=2, connections_per_user=1, wait_seconds=60.0))
    release = threading.Event()
    busy = start(database.read(until(database, release)), user="greedy")

    watches = start_watches(database, user="greedy", number=600)
    calls = [start(database.read(one(database)), user=user) for user in ("greedy", "other")]
    await asyncio.sleep(0)
    release.set()

    assert await asyncio.gather(*calls) == [1, 1]
    assert await asyncio.gather(*watches) == [1] * 600
    assert await busy is True
