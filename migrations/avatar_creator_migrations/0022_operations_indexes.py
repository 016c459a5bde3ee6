"""Indexes for operators: failures by reason, retries of a generation, and spending by user.

What each is for stands next to it in the models.
"""

from __future__ import annotations

from typing import Any

from peewee import Database

from avatar_creator_migrations.indexes import build_index

atomic = False

INDEXES = {
    "avatar_generations_reason": (
        "avatar_generations (error_reason, id) WHERE due_time IS NULL AND error_reason != ''"
    ),
    "avatar_generations_retry_of": "avatar_generations (retry_of) WHERE retry_of != ''",
    "daily_spend_day_user": "daily_spend (day, user_id, price_micros)",
}


def up(migrator: Any, db: Database) -> None:
    """Build the indexes."""
    for name, definition in INDEXES.items():
        build_index(db, name, definition)
