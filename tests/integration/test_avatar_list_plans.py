"""Plans of the lists of avatars: each is a range of an index, or the few that an index of filters finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from peewee import Database, PostgresqlDatabase

from avatar_creator_server.avatars.queries import cursor_of, list_avatars
from avatar_creator_server.avatars.records import AvatarFilter
from avatar_creator_server.database import models
from avatar_creator_server.database.connection import open_database
from avatar_creator_server.database.migrator import migrate
from avatar_creator_server.shared.caller import Caller
from tests.support.postgres import Postgres

AVATARS = 20_000
PAGE = 21
"""Number of avatars that a list of 20 reads."""
LARGE, SMALL = "project-large", "project-small"
USER, OPERATOR = Caller("user-1"), Caller("operator", sees_all=True)
LARGE_TABLES = {"avatars", "avatar_search", "files"}

_COPY = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
    INSERT INTO {table} ({columns}) SELECT {values}
    FROM {table} AS original, n WHERE original.id = '{original}'
"""
_AVATAR = {
    "id": "original.id || '-' || i",
    "image_file_id": "image_file_id || '-' || i",
    "search_text": "'face ' || i || ' of a calm person'",
    "last_used_time": "CASE WHEN i / 3 * 3 = i THEN NULL ELSE create_time END",
    "project_id": f"CASE WHEN i / 4 * 4 = i THEN '{SMALL}' ELSE project_id END",
}


def _copy(database: Database, model: Any, original: str, count: int, values: dict[str, str]) -> None:
    """Insert copies of a row, with SQL because thousands of uploads would take an hour."""
    columns = [model_field.column_name for model_field in model._meta.sorted_fields]
    database.execute_sql(
        _COPY.format(
            table=model._meta.table_name,
            columns=", ".join(columns),
            values=", ".join(values.get(column, f"original.{column}") for column in columns),
            original=original,
            count=count,
        )
    )


def _fill(database: Database) -> None:
    """Write the avatars of one user with many, and of another one."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"create_time": now, "update_time": now}
    for user, project, count in ((USER.user_id, LARGE, AVATARS), ("user-2", "project-else", AVATARS // 10)):
        for name in {project, SMALL} if user == USER.user_id else {project}:
            models.AvatarProject.create(id=name, user_id=user, name=name, description="", **times)
        file, avatar = f"file-{user}", f"avatar-{user}"
        models.File.create(
            id=file,
            user_id=user,
            key=file,
            state="owned",
            content_type="image/png",
            size_bytes=1,
            sha256="",
            width=1,
            height=1,
            create_time=now,
        )
        models.Avatar.create(
            id=avatar,
            user_id=user,
            project=project,
            name="Face",
            image_file=file,
            source_type="uploaded",
            gender="female",
            age_range="senior",
            style="formal",
            ethnicity_folded="kenyan",
            search_text="face",
            **times,
        )
        _copy(database, models.File, file, count, {"id": "id || '-' || i", "key": "key || '-' || i"})
        _copy(database, models.Avatar, avatar, count, _AVATAR)
    if isinstance(database, PostgresqlDatabase):
        database.execute_sql("ANALYZE")  # PostgreSQL does it by itself, and SQLite does not.


@pytest.fixture(scope="module")
def on_postgresql(postgres: Postgres, database_template: str) -> Iterator[str]:
    """The URL of a filled database on PostgreSQL."""
    url = postgres.create_database(database_template)
    database = open_database(url)
    with database.connection_context():
        _fill(database)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a filled database on SQLite."""
    url = f"sqlite:///{tmp_path_factory.mktemp('lists')}/avatars.db"
    database = open_database(url)
    migrate(database)
    with database.connection_context(), database.atomic():
        _fill(database)
    return url


@pytest.fixture(params=["on_postgresql", "on_sqlite"])
def database(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each filled database, with a connection."""
    database = open_database(request.getfixturevalue(request.param))
    with database.connection_context():
        yield database


def _statements(caller: Caller, filters: AvatarFilter, cursor: Any) -> list[tuple[str, Any]]:
    """Read a page of a list, and return the statements that read avatars."""
    statements: list[tuple[str, Any]] = []
    execute: Any = Database.execute_sql

    def record(database: Any, sql: str, values: Any = None) -> Any:
        if '"avatars"' in sql:
            statements.append((sql, values))
        return execute(database, sql, values)

    with pytest.MonkeyPatch.context() as patch:
        # All of our databases end there, also with statements that they send together.
        patch.setattr(Database, "execute_sql", record)
        list_avatars(caller, filters, PAGE, cursor)
    return statements


def _used_indexes(database: Any, sql: str, values: Any, sorted_rows: int) -> str:
    """Return the names of the indexes that a statement reads, and lines with more about them.

    Fails if it reads a whole table, or sorts more than this number of rows. On SQLite, it fails if it sorts
    and that number is 0.
    """
    if isinstance(database, PostgresqlDatabase):
        (explained,) = database.execute_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values).fetchone()
        return " ".join(_indexes_in(explained[0]["Plan"], sorted_rows))
    lines = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert all("INDEX" in line or line == "SCAN nearby" for line in lines if line.startswith("SCAN")), lines
    assert sorted_rows or not any("TEMP B-TREE" in line for line in lines), lines
    return " ".join(lines)


def _indexes_in(plan: dict[str, Any], sorted_rows: int) -> Iterator[str]:
    assert plan["Node Type"] != "Seq Scan" or plan["Relation Name"] not in LARGE_TABLES, plan
    children = plan.get("Plans", [])
    assert "Sort" not in plan["Node Type"] or children[0]["Actual Rows"] <= sorted_rows, plan
    if "Index Name" in plan:
        yield plan["Index Name"]
    for child in children:
        yield from _indexes_in(child, sorted_rows)


def _cursors(database: Any, caller: Caller, filters: AvatarFilter) -> list[list[str] | None]:
    """Return the cursors of the first page, of one in the middle, and of one among the unused avatars."""
    avatar = models.Avatar
    order = [avatar.last_used_time.desc(nulls="LAST")] if filters.last_used_first else []
    rows = caller.found(avatar.select().order_by(*order, avatar.id.desc()).limit(1), avatar.user_id)
    if filters.project_id:
        rows = rows.where(avatar.project == filters.project_id)
    return [None, *(cursor_of(filters, rows.offset(AVATARS * part // 8).get()) for part in (3, 5))]


ORDERS = [
    (USER, AvatarFilter(), "avatars_user"),
    (USER, AvatarFilter(project_id=LARGE), "avatars_project"),
    (USER, AvatarFilter(last_used_first=True), "avatars_user_last_used"),
    (USER, AvatarFilter(project_id=LARGE, last_used_first=True), "avatars_project_last_used"),
]


@pytest.mark.parametrize(("caller", "filters", "index"), ORDERS, ids=[index for *_, index in ORDERS])
def test_an_unfiltered_page_is_a_range_of_an_index_at_every_depth(
    database: Any, caller: Caller, filters: AvatarFilter, index: str
) -> None:
    for cursor in _cursors(database, caller, filters):
        statements = _statements(caller, filters, cursor)
        assert statements
        for statement in statements:
            assert f"{index} " in _used_indexes(database, *statement, sorted_rows=0) + " "


RARE = [
    (AvatarFilter(gender="male"), "gender"),
    (AvatarFilter(age_range="child"), "age_range"),
    (AvatarFilter(style="casual"), "style"),
    (AvatarFilter(ethnicity="unheard"), "ethnicity_folded"),
    (AvatarFilter(source_types=("from_preset",)), "source_type"),
    (AvatarFilter(source_types=("from_preset", "from_reference")), "source_type"),
    (AvatarFilter(query="17777"), ""),
    (AvatarFilter(query="unheard calm"), ""),
    (AvatarFilter(query="unheard", gender="female", style="formal"), ""),
]
"""Filters, and the column of SQLite's index for each; none for the index of words."""


@pytest.mark.parametrize("last_used_first", [False, True], ids=["newest", "last used"])
@pytest.mark.parametrize(
    ("caller", "project"), [(USER, ""), (USER, LARGE), (OPERATOR, "")], ids=["user", "project", "all users"]
)
def test_an_index_finds_the_few_of_many_that_pass(
    database: Any, caller: Caller, project: str, last_used_first: bool
) -> None:
    order = AvatarFilter(project_id=project, last_used_first=last_used_first)
    for cursor, (rare, column) in product(_cursors(database, caller, order), RARE):
        filters = replace(rare, project_id=project, last_used_first=last_used_first)

        used = [
            _used_indexes(database, *statement, sorted_rows=PAGE)
            for statement in _statements(caller, filters, cursor)
        ]

        if isinstance(database, PostgresqlDatabase):
            index = "avatar_search_tokens"
        elif column:
            index = f"_{column} ({column}=?"
        else:
            index = "VIRTUAL TABLE INDEX"
        assert any(index in indexes for indexes in used), (filters, used)


@pytest.mark.parametrize("word", ["x", "~", "zx", "写真", "é写"])
def test_postgresql_looks_up_short_words_too(on_postgresql: str, word: str) -> None:
    database = open_database(on_postgresql)
    with database.connection_context():
        statements = _statements(USER, AvatarFilter(query=word), None)
        used = [_used_indexes(database, *statement, sorted_rows=PAGE) for statement in statements]
    assert any("avatar_search_tokens" in indexes for indexes in used)
