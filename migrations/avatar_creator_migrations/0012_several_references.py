"""Columns for the references of a generation and of an avatar after the first one.

The new columns have defaults in the database, so that processes of the previous version can still write.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase


def up(migrator: Any, db: Database) -> None:
    """Add the columns."""
    json = "JSONB" if isinstance(db, PostgresqlDatabase) else "TEXT"
    for table in ("avatar_generations", "avatars"):
        db.execute_sql(
            f"ALTER TABLE {table} ADD COLUMN further_reference_avatar_ids {json} NOT NULL DEFAULT '[]'"
        )
