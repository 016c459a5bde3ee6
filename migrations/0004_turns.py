"""Priorities, and the users' turns in the queue.

The new column has a default in the database, so that processes of the version before may go on writing; what
they write is claimed all the same.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENTS = """
ALTER TABLE avatar_generations ADD COLUMN priority INTEGER NOT NULL DEFAULT 1;
CREATE TABLE claim_turns (
    user_id TEXT NOT NULL PRIMARY KEY,
    claim_time {time} NOT NULL
)
"""


def up(migrator: Any, db: Database) -> None:
    """Add the column and the table."""
    time = "TIMESTAMPTZ" if isinstance(db, PostgresqlDatabase) else "TEXT"
    for statement in STATEMENTS.format(time=time).split(";"):
        db.execute_sql(statement.strip())
