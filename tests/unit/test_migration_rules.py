"""The rules that `make check` applies to migrations."""

from __future__ import annotations

import pytest

from tests.migration_rules import violations


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX avatars_name ON avatars (name)",
        'CREATE UNIQUE INDEX IF NOT EXISTS "avatars_name" ON "avatars" (name)',
        "DROP INDEX avatars_user",
        "ALTER TABLE avatars ALTER COLUMN name SET NOT NULL",
        "ALTER TABLE avatars ALTER COLUMN seed_used TYPE TEXT",
        "ALTER TABLE avatars ADD CONSTRAINT named CHECK (name != '')",
    ],
)
def test_a_statement_that_locks_a_large_table_is_refused(statement: str) -> None:
    assert len(list(violations("9999_later", [statement], atomic=True))) == 1


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE faces (id TEXT)", "CREATE INDEX faces_id ON faces (id)"],
        ["ALTER TABLE avatars ADD COLUMN rating INTEGER NOT NULL DEFAULT 0"],
        ["ALTER TABLE avatars ADD CONSTRAINT named CHECK (name != '') NOT VALID"],
    ],
)
def test_a_statement_with_a_short_lock_is_accepted(statements: list[str]) -> None:
    assert list(violations("9999_later", statements, atomic=True)) == []


CHANGE = "ALTER TABLE avatars ADD COLUMN rating INTEGER NOT NULL DEFAULT 0"
FILL = "INSERT INTO ratings SELECT id, 1 FROM avatars"


@pytest.mark.parametrize(
    "statements",
    [
        [CHANGE, "UPDATE avatars SET rating = 1"],
        [CHANGE, 'DELETE FROM "files"'],
        [CHANGE, "CREATE TABLE ratings (id TEXT)", FILL],
        ["CREATE TABLE ratings (avatar_id TEXT REFERENCES avatars (id))", FILL],
        ["DROP TABLE avatars", "UPDATE files SET state = 'owned'"],
        [CHANGE, "WITH old AS (SELECT id FROM avatars) INSERT INTO ratings SELECT id FROM old"],
    ],
)
def test_rows_are_not_written_under_the_lock_of_a_change(statements: list[str]) -> None:
    (violation,) = violations("9999_later", statements, atomic=True)
    assert "write rows before it, or in the background" in violation


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE ratings (id TEXT)", FILL, CHANGE],
        [
            "CREATE TABLE ratings (id TEXT)",
            "CREATE TABLE stars (id TEXT, rating_id TEXT REFERENCES ratings (id))",
            "ALTER TABLE ratings ADD COLUMN stars INTEGER",
            FILL,
        ],
    ],
)
def test_rows_may_be_written_before_a_change_and_after_changes_of_new_tables(statements: list[str]) -> None:
    assert list(violations("9999_later", statements, atomic=True)) == []


TRIGGER = "CREATE CONSTRAINT TRIGGER rated AFTER INSERT ON avatars FOR EACH ROW EXECUTE FUNCTION rate()"


@pytest.mark.parametrize(
    "statements",
    [
        ["LOCK TABLE files, avatars IN SHARE ROW EXCLUSIVE MODE", CHANGE],
        ["UPDATE avatars SET rating = 1", CHANGE],
        ["DELETE FROM avatars", TRIGGER],
        [TRIGGER, CHANGE],
    ],
)
def test_a_lock_does_not_become_stronger(statements: list[str]) -> None:
    (violation,) = violations("9999_later", statements, atomic=True)
    assert "IN SHARE ROW EXCLUSIVE MODE first" in violation or "IN ACCESS EXCLUSIVE MODE first" in violation


def test_a_lock_may_be_followed_by_weaker_ones_and_by_those_of_other_tables() -> None:
    lock = "LOCK TABLE avatars IN SHARE ROW EXCLUSIVE MODE"
    fill = "INSERT INTO ratings SELECT id, 1 FROM avatars"
    created = "CREATE TABLE ratings (id TEXT)"
    for statements in (
        [lock, created, fill, TRIGGER],
        [CHANGE, TRIGGER],
        [lock, "ALTER TABLE files ADD a INT"],
    ):
        assert list(violations("9999_later", statements, atomic=True)) == []


def test_only_concurrent_work_and_batches_may_run_outside_a_transaction() -> None:
    concurrent = "CREATE INDEX CONCURRENTLY avatars_name ON avatars (name)"
    batch = "WITH batch AS (SELECT id FROM avatars LIMIT 9) INSERT INTO ratings SELECT id, 1 FROM batch"
    change = "ALTER TABLE avatars ADD COLUMN rating INTEGER"
    assert list(violations("9999_later", [concurrent, batch], atomic=False)) == []
    assert len(list(violations("9999_later", [change, FILL], atomic=False))) == 2
