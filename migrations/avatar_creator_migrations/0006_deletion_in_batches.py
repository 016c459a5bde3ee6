"""Marks of deleted projects, and priorities and users' turns of background jobs.

The new columns have defaults in the database, so that processes of the previous version can still write. Such
a process shows a deleted project until its rows are removed, so stop the old processes soon.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENTS = """
ALTER TABLE avatar_projects ADD COLUMN delete_time {time};
ALTER TABLE avatar_projects ADD COLUMN subtracted {json};
ALTER TABLE quick_work ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE quick_work ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
ALTER TABLE quick_work ADD COLUMN turn {big} NOT NULL DEFAULT 0;
INSERT INTO quick_work (id, kind, subject_id, user_id, priority, try_count, due_time, create_time)
    SELECT MIN(files.id), 'remove_files', files.user_id, files.user_id, 2, 0,
        MIN(files.create_time), MIN(files.create_time)
    FROM quick_work JOIN files ON files.id = quick_work.subject_id
    WHERE quick_work.kind = 'remove_file' GROUP BY files.user_id;
DELETE FROM quick_work WHERE kind = 'remove_file'
"""


def up(migrator: Any, db: Database) -> None:
    """Add the columns, and replace the jobs for single files by one job for each user."""
    types = (
        {"time": "TIMESTAMPTZ", "json": "JSONB", "big": "BIGINT"}
        if isinstance(db, PostgresqlDatabase)
        else {"time": "TEXT", "json": "TEXT", "big": "INTEGER"}
    )
    for statement in STATEMENTS.format(**types).split(";"):
        db.execute_sql(statement.strip())
