"""The service through a pooler in transaction mode: it leaves nothing in the sessions that others use too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from avatar_creator_server.database.connection import Database
from avatar_creator_server.demo.run import PHOTOGRAPH
from avatar_creator_server.errors import UnavailableError
from tests.support.command_line import error_message, printed
from tests.support.generations import COMPLETED, SMALLEST
from tests.support.pgbouncer import OTHER_CLIENT, PgBouncer
from tests.support.postgres import Postgres
from tests.support.service import Deployment, run_command
from tests.support.watcher import Watcher

TIMEOUTS = {"statement_timeout": "30s", "idle_in_transaction_session_timeout": "10s"}

SESSION_STATE = {
    "settings": "SELECT name, setting FROM pg_settings ORDER BY name",
    "prepared statements": "SELECT name FROM pg_prepared_statements",
    "channels": "SELECT pg_listening_channels()",
    "cursors": "SELECT name FROM pg_cursors WHERE is_holdable",
    "locks": "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    "temporary tables": "SELECT relname FROM pg_class WHERE relpersistence = 't'",
}
"""Everything that a session keeps from one transaction to the next."""


class OtherClient:
    """Another application behind the same pooler."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url, connect_timeout=10)
        self._connection.autocommit = True

    def query(self, statement: str) -> list[Any]:
        """Return the rows of a statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def session_state(self) -> dict[str, list[Any]]:
        """Return all state of the session that the pooler gives it."""
        return {name: self.query(statement) for name, statement in SESSION_STATE.items()}

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()


def execute(url: str, *statements: str) -> None:
    """Run statements in one session of PostgreSQL itself."""
    with closing(psycopg2.connect(url, connect_timeout=10)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)


@pytest.fixture
def single(database_url: str) -> Iterator[PgBouncer]:
    """A pooler with one session, which every client therefore gets."""
    pooler = PgBouncer(database_url, pool_size=1)
    yield pooler
    pooler.close()


@contextmanager
def other_client(pooler: PgBouncer, database_url: str) -> Iterator[OtherClient]:
    """Connect another application."""
    with closing(OtherClient(pooler.url(database_url, OTHER_CLIENT))) as client:
        yield client


def test_the_service_leaves_no_state_in_the_session_of_another_client(
    tmp_path: Path, single: PgBouncer, database_url: str, redis_url: str, user: str
) -> None:
    deployment = Deployment.distributed(
        tmp_path, single.url(database_url), redis_url, DATABASE_POOLER="transaction"
    )
    with other_client(single, database_url) as other, closing(deployment):
        # The settings of PL/pgSQL, in which the triggers are written, appear with its first use.
        other.query("DO $$ BEGIN END $$; SELECT 1")
        before = other.session_state()
        (session,) = other.query("SELECT pg_backend_pid()")
        deployment.start()
        with deployment.client(user) as client:
            project = client.projects.create("Shared")
            client.avatars.upload(project.id, PHOTOGRAPH, name="Eileen")
            generation = client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)
            assert Watcher(client, generation.id).states()[-1].state == COMPLETED
            list(client.avatars.find(project=project.id, query="woman"))
            client.projects.delete(project.id)

        assert other.query("SELECT pg_backend_pid()") == [session]
        assert other.session_state() == before
        assert other.query("SHOW statement_timeout") == [("0",)]


async def test_without_the_setting_another_client_gets_the_timeouts_of_the_service(
    single: PgBouncer, database_url: str
) -> None:
    """Without this, the test above could not fail."""
    with other_client(single, database_url) as other:
        before = other.session_state()
        database = Database(single.url(database_url))
        await database.ping()

        assert other.session_state() != before
        assert other.query("SHOW statement_timeout") == [("30s",)]
        await database.close()


async def test_a_transaction_has_the_timeouts_of_the_service_and_a_read_those_of_the_role(
    pgbouncer: PgBouncer, database_url: str
) -> None:
    database = Database(pgbouncer.url(database_url), pooled=True)

    def timeouts() -> dict[str, str]:
        return {name: database.peewee.execute_sql(f"SHOW {name}").fetchone()[0] for name in TIMEOUTS}

    try:
        assert await database.write(timeouts) == TIMEOUTS
        assert await database.read(timeouts) == dict.fromkeys(TIMEOUTS, "0")
        assert await database.write(timeouts) == TIMEOUTS
    finally:
        await database.close()


async def test_a_slow_read_ends_by_the_timeout_of_the_role(pgbouncer: PgBouncer, database_url: str) -> None:
    database = Database(pgbouncer.url(database_url), pooled=True)
    name = urlsplit(database_url).path.removeprefix("/")
    execute(database_url, f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET statement_timeout = '100ms'")

    try:
        with pytest.raises(UnavailableError):
            await database.read(lambda: database.peewee.execute_sql("SELECT pg_sleep(60)"))
        await database.ping()
    finally:
        await database.close()


async def test_a_server_that_became_a_standby_is_unavailable_until_it_accepts_writes(
    pgbouncer: PgBouncer, database_url: str
) -> None:
    database = Database(pgbouncer.url(database_url), pooled=True)
    name = urlsplit(database_url).path.removeprefix("/")

    def create_table() -> None:
        database.peewee.execute_sql("CREATE TABLE written (id integer)")

    try:
        execute(database_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(UnavailableError):
            await database.write(create_table)
        execute(
            database_url,
            "SET default_transaction_read_only = off",
            f"ALTER DATABASE {name} RESET default_transaction_read_only",
        )
        pgbouncer.run(f"RECONNECT {name}")

        await database.write(create_table)
    finally:
        await database.close()


# migrate


def migrate(directory: Path, **settings: str) -> str:
    """Run `migrate`, which must refuse, and return its message."""
    return error_message(run_command("migrate", settings=settings, directory=directory))


@pytest.fixture
def empty_database(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database with nothing in it."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


def test_a_migration_needs_a_direct_address(tmp_path: Path, single: PgBouncer, empty_database: str) -> None:
    pooled = {"DATABASE_URL": single.url(empty_database), "DATABASE_POOLER": "transaction"}
    with other_client(single, empty_database) as other:
        before = other.session_state()

        assert "MIGRATE_DATABASE_URL is not set" in migrate(tmp_path, **pooled)
        assert "MIGRATE_DATABASE_URL leads to a connection pooler" in migrate(
            tmp_path, **pooled, MIGRATE_DATABASE_URL=single.url(empty_database)
        )
        assert other.session_state() == before

        direct = run_command(
            "migrate", settings={**pooled, "MIGRATE_DATABASE_URL": empty_database}, directory=tmp_path
        )
        assert "applied 0001_initial" in printed(direct)
        assert direct.returncode == 0
        assert other.session_state() == before


def test_an_address_for_migrations_is_never_a_pooler_in_session_mode(
    tmp_path: Path, empty_database: str
) -> None:
    pooler = PgBouncer(empty_database, settings={"pool_mode": "session"})
    with closing(pooler):
        message = migrate(
            tmp_path, DATABASE_URL=empty_database, MIGRATE_DATABASE_URL=pooler.url(empty_database)
        )

    assert "MIGRATE_DATABASE_URL leads to a connection pooler" in message


def test_a_migration_says_why_its_address_does_not_answer(tmp_path: Path, database_url: str) -> None:
    message = migrate(
        tmp_path, DATABASE_URL=database_url, MIGRATE_DATABASE_URL="postgresql://x:secret@127.0.0.1:1/x"
    )

    assert "nothing listens at its address" in message
    assert "secret" not in message


def test_a_full_pooler_and_a_refused_parameter_are_named(
    pgbouncer: PgBouncer, tmp_path: Path, database_url: str
) -> None:
    full = PgBouncer(database_url, settings={"max_client_conn": "1"})
    with closing(full), other_client(full, database_url):
        assert "it has no free connection" in migrate(tmp_path, DATABASE_URL=full.url(database_url))
    with_options = f"{pgbouncer.url(database_url)}?options=-csearch_path%3Dx"
    assert "its pooler refuses a parameter" in migrate(tmp_path, DATABASE_URL=with_options)


# doctor


def test_doctor_finds_a_pooler_and_a_role_without_timeouts(
    pooled: Deployment, pgbouncer: PgBouncer, database_url: str
) -> None:
    pooled.start_worker()
    del pooled.settings["DATABASE_POOLER"]
    pooled.settings["COLUMNS"] = "400"
    missing_setting = pooled.run_command("doctor")
    pooled.settings["DATABASE_POOLER"] = "transaction"
    missing_timeouts = pooled.run_command("doctor")

    assert "set DATABASE_POOLER=transaction" in printed(missing_setting)
    statements = re.findall(r"ALTER ROLE \w+ SET \w+ = '\w+'", printed(missing_timeouts))
    assert [statement.split(" SET ")[1] for statement in statements] == [
        "idle_in_transaction_session_timeout = '10s'",
        "statement_timeout = '30s'",
    ]
    assert (missing_setting.returncode, missing_timeouts.returncode) == (1, 0), (
        "the service works without them"
    )
    try:
        execute(database_url, *statements)
        pgbouncer.run("RECONNECT")
        fixed = pooled.run_command("doctor")
    finally:
        execute(database_url, "ALTER ROLE CURRENT_USER RESET ALL")

    assert "PostgreSQL through a pooler in transaction mode, schema up to date" in printed(fixed)
    assert "ALTER ROLE" not in printed(fixed)
    assert fixed.returncode == 0


def test_doctor_accepts_a_pooler_in_session_mode(pooled: Deployment, database_url: str) -> None:
    pooled.start_worker()
    del pooled.settings["DATABASE_POOLER"]
    pooler = PgBouncer(database_url, pool_size=8, settings={"pool_mode": "session"})
    with closing(pooler):
        pooled.settings |= {"DATABASE_URL": pooler.url(database_url), "COLUMNS": "400"}
        finished = pooled.run_command("doctor")

    assert "PostgreSQL through a pooler, schema up to date" in printed(finished)
    assert finished.returncode == 0
