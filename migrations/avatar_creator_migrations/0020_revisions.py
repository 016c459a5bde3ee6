"""Revisions of projects and avatars, so that no update overwrites a change that its caller has not seen.

Processes of the previous version do not raise them.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase


def up(migrator: Any, db: Database) -> None:
    """Add the columns."""
    big = "BIGINT" if isinstance(db, PostgresqlDatabase) else "INTEGER"
    for table in ("avatar_projects", "avatars"):
        db.execute_sql(f"ALTER TABLE {table} ADD COLUMN revision {big} NOT NULL DEFAULT 1")
