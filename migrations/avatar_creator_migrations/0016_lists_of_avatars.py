"""Indexes for the lists of avatars by last use, of a project and of all users."""

from __future__ import annotations

from typing import Any

from peewee import Database

from avatar_creator_migrations.indexes import build_index

atomic = False

INDEXES = {
    "avatars_project_last_used": "avatars (project_id, last_used_time, id)",
    "avatars_last_used": "avatars (last_used_time, id)",
}


def up(migrator: Any, db: Database) -> None:
    """Build the indexes."""
    for name, definition in INDEXES.items():
        build_index(db, name, definition)
