"""The state that operators set: drained workers, pauses of the queue, and limits of single users.

The new column may be null, so that workers of the previous version can still write their rows.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

PAUSES = """
CREATE TABLE queue_pauses (
    route TEXT NOT NULL PRIMARY KEY,
    pause_time {time} NOT NULL,
    paused_by TEXT NOT NULL,
    note TEXT NOT NULL
)
"""

LIMITS = """
CREATE TABLE user_limits (
    user_id TEXT NOT NULL PRIMARY KEY,
    concurrent INTEGER,
    per_minute INTEGER,
    per_day INTEGER,
    spend_per_day_micros {bigint},
    update_time {time} NOT NULL,
    updated_by TEXT NOT NULL
)
"""


def up(migrator: Any, db: Database) -> None:
    """Add the column and the tables."""
    is_postgresql = isinstance(db, PostgresqlDatabase)
    time = "TIMESTAMPTZ" if is_postgresql else "TEXT"
    db.execute_sql(f"ALTER TABLE workers ADD COLUMN drain_time {time}")
    db.execute_sql(PAUSES.format(time=time))
    db.execute_sql(LIMITS.format(time=time, bigint="BIGINT" if is_postgresql else "INTEGER"))
