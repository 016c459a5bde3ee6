"""Priorities, and the users' turns in the queue.

The new column has a default in the database, so that processes of the previous version can still write. The
workers give the users of such rows a turn within a minute. Migration 0007 builds an index of lost attempts.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENTS = """
CREATE TABLE claim_turns (
    user_id TEXT NOT NULL PRIMARY KEY,
    claim_time {time} NOT NULL
);
INSERT INTO claim_turns
    SELECT user_id, MIN(create_time) FROM avatar_generations WHERE due_time IS NOT NULL GROUP BY user_id;
ALTER TABLE avatar_generations ADD COLUMN priority INTEGER NOT NULL DEFAULT 1
"""


def up(migrator: Any, db: Database) -> None:
    """Add the table with the turns of users with due generations, then the column, whose lock is short."""
    time = "TIMESTAMPTZ" if isinstance(db, PostgresqlDatabase) else "TEXT"
    for statement in STATEMENTS.format(time=time).split(";"):
        db.execute_sql(statement.strip())
