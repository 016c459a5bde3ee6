"""Removal in batches: a deleted project hides its contents at once, and a background job removes them."""

from __future__ import annotations

from datetime import datetime

from avatar_creator_server.database.models import AvatarProject, new_id
from avatar_creator_server.database.models.states import JobKind
from avatar_creator_server.shared.background_jobs import enqueue_jobs


def start_removal(user_id: str, usage_count: int, now: datetime) -> str:
    """Create a deleted project for rows to remove, in the current transaction, and return its id.

    The caller moves the rows there. No query finds them from then on.

    Args:
        user_id: Owner of the rows.
        usage_count: Number of uses among them, which the caller subtracts from the user's statistics.
        now: Current time.
    """
    project_id = new_id()
    AvatarProject.create(
        id=project_id,
        user_id=user_id,
        name="",
        description="",
        create_time=now,
        update_time=now,
        delete_time=now,
        subtracted={"usages": usage_count, "generations": {}},
    )
    enqueue_jobs(JobKind.REMOVE_PROJECT, user_id, [project_id], now)
    return project_id
