"""The verdict of the picture moderation about the pictures of generations and avatars.

The new columns may be null, so that processes of the previous version can still write.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase


def up(migrator: Any, db: Database) -> None:
    """Add the columns."""
    json = "JSONB" if isinstance(db, PostgresqlDatabase) else "TEXT"
    for table in ("avatar_generations", "avatars"):
        db.execute_sql(f"ALTER TABLE {table} ADD COLUMN picture_moderation {json}")
