"""Databases that tests use one after another: each is like the template, also if a test has changed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from tests.support.lent_databases import LentDatabases
from tests.support.postgres import Postgres

PROJECTS = (
    "INSERT INTO avatar_projects (id, user_id, name, description, avatar_count, create_time, update_time)"
    " SELECT i, 'sarah', 'Spring', '', 0, now(), now() FROM generate_series(1, {}) i"
)
CHANGES = (
    "ALTER TABLE avatars ADD COLUMN more text",
    "ALTER TABLE avatars ALTER COLUMN user_id DROP NOT NULL",
    "ALTER TABLE avatars DISABLE TRIGGER USER",
    "CREATE TABLE more (id text)",
    "DROP INDEX quick_work_turns",
    "DROP TABLE avatars CASCADE",
    "DELETE FROM avatar_creator_migrations WHERE name LIKE '0007%'",
    "UPDATE avatar_presets SET name = 'Another'",
    PROJECTS.format(5000),
)


@pytest.fixture
def databases(postgres: Postgres, database_template: str) -> Iterator[LentDatabases]:
    """The databases of this test only."""
    lent = LentDatabases(postgres, database_template)
    yield lent
    lent.close()


def execute(url: str, statement: str) -> list[Any]:
    with closing(psycopg2.connect(url, connect_timeout=10)) as connection, connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_a_database_goes_to_the_next_test_without_rows_and_connections(databases: LentDatabases) -> None:
    url = databases.lend()
    execute(url, PROJECTS.format(3))
    execute(url, "UPDATE avatar_presets SET popularity = 1")
    with closing(psycopg2.connect(url, connect_timeout=10)) as forgotten:
        forgotten.cursor().execute("LOCK TABLE avatar_projects")

        databases.take_back(url)

        with pytest.raises(psycopg2.OperationalError):
            forgotten.cursor().execute("SELECT 1")
    assert databases.lend() == url
    assert execute(url, "SELECT count(*) FROM avatar_projects") == [(0,)]
    assert execute(url, "SELECT max(popularity), count(*) > 0 FROM avatar_presets") == [(0, True)]
    databases.take_back(url)


def test_a_database_whose_schema_gallery_or_size_differs_goes_to_no_other_test(
    databases: LentDatabases,
) -> None:
    url = databases.lend()
    for change in CHANGES:
        execute(url, change)

        databases.take_back(url)
        following = databases.lend()

        assert following != url, change
        url = following
    databases.take_back(url)


def test_a_database_is_lent_to_one_test_at_a_time(databases: LentDatabases) -> None:
    one, other = databases.lend(), databases.lend()
    assert one != other
    for url in (one, other):
        databases.take_back(url)
