"""The running workers.

Workers of the previous version write no row, so until the last of them has been replaced, the service may
report fewer workers than run.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

STATEMENT = """
CREATE TABLE workers (
    name TEXT NOT NULL PRIMARY KEY,
    version TEXT NOT NULL,
    host TEXT NOT NULL,
    provider TEXT NOT NULL,
    slots INTEGER NOT NULL,
    start_time {time} NOT NULL,
    last_seen_time {time} NOT NULL
)
"""


def up(migrator: Any, db: Database) -> None:
    """Add the table."""
    time = "TIMESTAMPTZ" if isinstance(db, PostgresqlDatabase) else "TEXT"
    db.execute_sql(STATEMENT.format(time=time))
