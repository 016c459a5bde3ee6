"""Marks of deleted projects, and priorities and users' turns of background jobs.

The new columns have defaults in the database, so that processes of the previous version can still write. Such
a process shows a deleted project until its rows are removed, so stop the old processes soon.

The jobs for single files stay, because no row may be moved while the tables are locked. Workers do them in
batches.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENTS = """
ALTER TABLE avatar_projects ADD COLUMN delete_time {time};
ALTER TABLE avatar_projects ADD COLUMN subtracted {json};
ALTER TABLE quick_work ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE quick_work ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
ALTER TABLE quick_work ADD COLUMN turn {big} NOT NULL DEFAULT 0
"""


def up(migrator: Any, db: Database) -> None:
    """Add the columns."""
    types = (
        {"time": "TIMESTAMPTZ", "json": "JSONB", "big": "BIGINT"}
        if isinstance(db, PostgresqlDatabase)
        else {"time": "TEXT", "json": "TEXT", "big": "INTEGER"}
    )
    for statement in STATEMENTS.format(**types).split(";"):
        db.execute_sql(statement.strip())
