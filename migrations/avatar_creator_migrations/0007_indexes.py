"""Indexes of migrations 0002, 0003, 0004 and 0006, built without a lock that others wait for.

Databases that earlier versions migrated have those of 0002 to 0004 already.
"""

from __future__ import annotations

from typing import Any

from peewee import Database

from avatar_creator_migrations.indexes import build_index, drop_index

atomic = False

INDEXES = {
    "avatar_usage_history_newest": "avatar_usage_history (avatar_id, create_time, id)",
    "avatar_generations_project_changed": "avatar_generations (project_id, update_time)",
    "generation_attempts_succeeded": "generation_attempts (end_time) WHERE outcome = 'succeeded'",
    "avatar_generations_group": "avatar_generations (group_id, id) WHERE group_id != ''",
    "generation_attempts_route_succeeded": (
        "generation_attempts (route, end_time) WHERE outcome = 'succeeded'"
    ),
    "generation_attempts_lost": (
        "generation_attempts (end_time) WHERE outcome IN ('worker_lost', 'submit_unknown')"
    ),
    "avatar_projects_deleted": "avatar_projects (user_id, id) WHERE delete_time IS NOT NULL",
    "quick_work_turns": "quick_work (priority, turn)",
    "quick_work_user": "quick_work (user_id, priority, turn)",
    "files_deleting": "files (user_id, id) WHERE state = 'deleting'",
}


def up(migrator: Any, db: Database) -> None:
    """Build the indexes, and drop the one that `avatar_usage_history_newest` replaces."""
    for name, definition in INDEXES.items():
        build_index(db, name, definition)
    drop_index(db, "avatar_usage_history_avatar")
