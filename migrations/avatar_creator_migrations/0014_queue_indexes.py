"""Indexes of the due generations: those that are queued, those that wait for a retry, and those that run."""

from __future__ import annotations

from typing import Any

from peewee import Database

from avatar_creator_migrations.indexes import build_index

atomic = False

INDEXES = {
    "avatar_generations_queued": (
        "avatar_generations (user_id, priority, id) WHERE due_time IS NOT NULL AND state = 'pending'"
        " AND (due_time <= update_time OR delay_over)"
    ),
    "avatar_generations_delayed": (
        "avatar_generations (due_time) WHERE due_time IS NOT NULL AND state = 'pending'"
        " AND NOT (due_time <= update_time OR delay_over)"
    ),
    "avatar_generations_running": (
        "avatar_generations (due_time) WHERE due_time IS NOT NULL AND state = 'processing'"
    ),
}


def up(migrator: Any, db: Database) -> None:
    """Build the indexes."""
    for name, definition in INDEXES.items():
        build_index(db, name, definition)
