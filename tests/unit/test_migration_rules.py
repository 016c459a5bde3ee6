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


def test_only_concurrent_work_may_run_outside_a_transaction() -> None:
    concurrent = "CREATE INDEX CONCURRENTLY avatars_name ON avatars (name)"
    change = "ALTER TABLE avatars ADD COLUMN rating INTEGER"
    assert list(violations("9999_later", [concurrent], atomic=False)) == []
    assert len(list(violations("9999_later", [change], atomic=False))) == 1
