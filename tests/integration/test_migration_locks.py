"""Migrations of a database in use: no query of the service waits long for one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from avatar_creator_server.database.connection import open_database
from avatar_creator_server.database.migrator import MigrationRunner, SchemaError
from tests.support.background import InBackground
from tests.support.large_project import fill_project
from tests.support.service import Deployment, run_command
from tests.support.waiting import wait_until

UNDO_0006 = """
    ALTER TABLE avatar_projects DROP COLUMN delete_time, DROP COLUMN subtracted;
    ALTER TABLE quick_work DROP COLUMN user_id, DROP COLUMN priority, DROP COLUMN turn;
    DROP INDEX files_deleting;
    DELETE FROM avatar_creator_migrations WHERE name LIKE '0006%' OR name LIKE '0007%' OR name LIKE '0019%'
"""
SHORT_SECONDS = 2.0
"""Maximum time that a query may wait for a migration. One attempt waits half a second for its locks."""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexdef"


@contextmanager
def connected(url: str, *, autocommit: bool = True) -> Iterator[Any]:
    with closing(psycopg2.connect(url, connect_timeout=10)) as connection:
        connection.autocommit = autocommit
        yield connection.cursor()


def migrating(url: str, directory: Path) -> InBackground:
    settings = {"DATABASE_URL": url}
    return InBackground(lambda: run_command("migrate", settings=settings, directory=directory))


def waiting_since(cursor: Any) -> Any:
    """Return when a migration began the statement that waits for a lock now; None if none waits."""
    cursor.execute(
        "SELECT query_start FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'avatar-creator' AND wait_event_type = 'Lock'"
    )
    found = cursor.fetchone()
    return found[0] if found else None


def has_looked_for_deadlock(cursor: Any, backend: int) -> bool:
    """Return whether a session that waits for a lock has looked for a deadlock, which it does once."""
    cursor.execute(
        "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        " AND clock_timestamp() - query_start > 2 * current_setting('deadlock_timeout')::interval",
        (backend,),
    )
    return cursor.fetchone() is not None


def later_wait(cursor: Any, earlier: Any) -> Any:
    """Return the same as `waiting_since`; None if that is still the `earlier` wait."""
    found = waiting_since(cursor)
    return None if found == earlier else found


def assert_queries_are_fast(cursor: Any, *statements: str) -> None:
    for statement in statements:
        started_at = time.monotonic()
        cursor.execute(statement)
        assert time.monotonic() - started_at < SHORT_SECONDS, statement


def test_no_query_waits_long_for_a_migration_that_waits_for_a_reader(
    database_url: str, tmp_path: Path
) -> None:
    with connected(database_url) as other, connected(database_url, autocommit=False) as reader:
        other.execute(INDEXES)
        indexes = other.fetchall()
        other.execute(UNDO_0006)
        reader.execute("SELECT count(*) FROM avatar_projects")

        migration = migrating(database_url, tmp_path)
        last_attempt = None
        for _ in range(3):
            # Each attempt is a statement of its own, because the one before gave its locks back.
            last_attempt = wait_until(partial(later_wait, other, last_attempt), 30.0)
            assert_queries_are_fast(
                other,
                "SELECT count(*) FROM avatar_projects",
                "UPDATE avatar_projects SET name = name",
            )
        reader.connection.rollback()

        outcome = migration.outcome(60.0)
        assert outcome.returncode == 0, outcome.stderr
        assert "applied 0006" in outcome.stdout
        other.execute(INDEXES)
        assert other.fetchall() == indexes


def test_no_query_waits_for_an_index_that_waits_for_an_old_snapshot(
    database_url: str, tmp_path: Path
) -> None:
    with connected(database_url) as other, connected(database_url, autocommit=False) as reader:
        other.execute("DROP INDEX quick_work_turns")
        other.execute("DELETE FROM avatar_creator_migrations WHERE name LIKE '0007%' OR name LIKE '0019%'")
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM quick_work")

        migration = migrating(database_url, tmp_path)
        wait_until(lambda: waiting_since(other), 30.0)
        assert_queries_are_fast(
            other,
            "SELECT count(*) FROM quick_work",
            "INSERT INTO quick_work (id, kind, subject_id, try_count, due_time, create_time)"
            " VALUES ('1', 'thumbnail', '1', 0, now(), now())",
            "DELETE FROM quick_work",
        )
        reader.connection.rollback()

        assert migration.outcome(60.0).returncode == 0


def test_two_migrations_at_once_do_not_wait_for_each_other_forever(database_url: str, tmp_path: Path) -> None:
    with connected(database_url) as other:
        other.execute("DROP INDEX quick_work_turns")
        other.execute("DELETE FROM avatar_creator_migrations WHERE name LIKE '0007%' OR name LIKE '0019%'")
        both = [migrating(database_url, tmp_path) for _ in range(2)]
        outcomes = [migration.outcome(60.0) for migration in both]
        assert [outcome.returncode for outcome in outcomes] == [0, 0]
        assert sorted("applied 0007" in outcome.stdout for outcome in outcomes) == [False, True]


def test_a_deadlock_does_not_end_a_migration(distributed: Deployment, tmp_path: Path) -> None:
    distributed.execute(
        "INSERT INTO avatar_projects (id, user_id, name, description, avatar_count, create_time, update_time)"
        " VALUES ('0198c0de-0000-7000-8000-000000000001', 'sarah', 'Locked', '', 0, now(), now())"
    )
    fill_project(distributed, "0198c0de-0000-7000-8000-000000000001", 3)
    avatars = sorted(row["id"] for row in distributed.rows("avatars"))
    url = distributed.settings["DATABASE_URL"]
    lock = "SELECT 1 FROM avatars WHERE id = %s FOR UPDATE"
    with (
        connected(url) as other,
        connected(url, autocommit=False) as first,
        connected(url, autocommit=False) as second,
    ):
        other.execute("DELETE FROM avatar_creator_migrations WHERE name LIKE '0017%'")
        first.execute(lock, (avatars[1],))
        second.execute(lock, (avatars[2],))

        migration = migrating(url, tmp_path)
        wait_until(lambda: waiting_since(other), 30.0)
        second_wait = InBackground(lambda: second.execute(lock, (avatars[0],)))
        wait_until(partial(has_looked_for_deadlock, other, second.connection.info.backend_pid), 30.0)
        # Now the migration waits for the third avatar, and that one's transaction for the migration.
        first.connection.rollback()
        second_wait.outcome(30.0)
        second.connection.rollback()

        outcome = migration.outcome(60.0)
        assert outcome.returncode == 0, outcome.stderr
        assert "deadlock_detected" in outcome.stderr
        assert "applied 0017" in outcome.stdout


def test_a_migration_gives_up_with_a_sentence_that_says_what_to_do(database_url: str) -> None:
    database = open_database(database_url)
    with connected(database_url) as other, connected(database_url, autocommit=False) as reader:
        other.execute(UNDO_0006)
        reader.execute("SELECT count(*) FROM avatar_projects")
        with database.connection_context(), pytest.raises(SchemaError) as refused:
            MigrationRunner(database, patience_seconds=1.0).up()
        assert str(refused.value) == (
            "migration 0006_deletion_in_batches has waited 1 s for a table that another transaction keeps "
            "locked: end that transaction (pg_stat_activity lists it), and run `avatar-creator migrate` again"
        )
        other.execute("SELECT 1 FROM avatar_creator_migrations WHERE name LIKE '0006%'")
        assert other.fetchone() is None


def test_an_index_that_an_interrupted_build_left_invalid_is_built_again(
    database_url: str, tmp_path: Path
) -> None:
    with connected(database_url) as other:
        other.execute("DROP INDEX quick_work_turns")
        other.execute(
            "INSERT INTO quick_work (id, kind, subject_id, try_count, due_time, create_time)"
            " SELECT i::text, 'thumbnail', '1', 0, now(), now() FROM generate_series(1, 2) i"
        )
        with pytest.raises(psycopg2.errors.UniqueViolation):
            other.execute("CREATE UNIQUE INDEX CONCURRENTLY quick_work_turns ON quick_work (priority)")
        other.execute("DELETE FROM avatar_creator_migrations WHERE name LIKE '0007%' OR name LIKE '0019%'")

        outcome = migrating(database_url, tmp_path).outcome(60.0)

        assert outcome.returncode == 0, outcome.stderr
        other.execute(
            "SELECT indisvalid, indisunique FROM pg_index WHERE indexrelid = 'quick_work_turns'::regclass"
        )
        assert other.fetchone() == (True, False)
