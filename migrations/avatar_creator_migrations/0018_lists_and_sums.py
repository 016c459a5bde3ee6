"""Indexes for lists of generations by state, of uses by app, and for the sums of limits and statistics.

What each is for stands next to it in the models.
"""

from __future__ import annotations

from typing import Any

from peewee import Database

from avatar_creator_migrations.indexes import build_index, drop_index

atomic = False

INDEXES = {
    "avatar_generations_user_state": "avatar_generations (user_id, state, id)",
    "avatar_generations_project_ended": "avatar_generations (project_id, state, id) WHERE due_time IS NULL",
    "avatar_generations_ended": "avatar_generations (state, id) WHERE due_time IS NULL",
    "avatar_usage_history_app": "avatar_usage_history (avatar_id, app_id, create_time)",
    "generation_starts_user_price": "generation_starts (user_id, create_time, price_micros)",
    "daily_uploads_day": "daily_uploads (day, upload_count)",
    "daily_spend_day": "daily_spend (day, app_id, price_micros, attempt_count)",
}


def up(migrator: Any, db: Database) -> None:
    """Build the indexes, and drop the one that `generation_starts_user_price` replaces."""
    for name, definition in INDEXES.items():
        build_index(db, name, definition)
    drop_index(db, "generation_starts_user")
