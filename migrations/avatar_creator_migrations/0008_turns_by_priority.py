"""The users' turns in the queue for each priority.

The new columns are null for users without a claim in that priority, so that processes of the previous version
can still write. Such a process counts each claim as one of an interactive generation.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENTS = """
ALTER TABLE claim_turns ADD COLUMN normal_claim_time {time};
ALTER TABLE claim_turns ADD COLUMN bulk_claim_time {time}
"""


def up(migrator: Any, db: Database) -> None:
    """Add the columns."""
    time = "TIMESTAMPTZ" if isinstance(db, PostgresqlDatabase) else "TEXT"
    for statement in STATEMENTS.format(time=time).split(";"):
        db.execute_sql(statement.strip())
