"""An index of the apps that used an avatar, most used first, so that a page of them is a range of it."""

from __future__ import annotations

from typing import Any

from peewee import Database

from avatar_creator_migrations.indexes import build_index

atomic = False


def up(migrator: Any, db: Database) -> None:
    """Build the index."""
    build_index(db, "avatar_app_usage_most_used", "avatar_app_usage (avatar_id, usage_count DESC, app_id)")
