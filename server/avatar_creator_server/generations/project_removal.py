"""Removal of a project's generations, as part of deleting the project."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import AvatarGeneration
from avatar_creator_server.database.models.states import GenerationState
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import abandon
from avatar_creator_server.projects.service import RemovedGenerations


def remove_generations(
    database: Database, user_id: str, project_id: str, now: datetime
) -> RemovedGenerations:
    """Stop the unfinished generations of a project, in the current transaction, which holds its lock.

    The caller deletes the avatars, then calls `delete`, and calls `settle` last: locks are taken in one
    order.
    """
    generation = AvatarGeneration
    query = generation.select(
        generation.id, generation.state, generation.app_id, generation.price_micros, generation.due_time
    ).where(generation.project == project_id)
    rows = list(database.locked(query))
    unfinished = [row for row in rows if row.due_time is not None]
    abandoned = [(row, abandon(database, row.id, now)) for row in unfinished]

    def delete() -> None:
        AvatarGeneration.delete().where(AvatarGeneration.project == project_id).execute()

    def settle() -> None:
        for row, _ in abandoned:
            spending.settle(row.id, row.price_micros)
        # In a fixed order, in which a concurrent deletion of the same user reaches the same rows.
        for row, price_micros in sorted(abandoned, key=lambda each: each[0].app_id):
            spending.spend(user_id, row.app_id, price_micros, now)

    return RemovedGenerations(
        ids=[row.id for row in rows],
        states=Counter(row.state for row in rows),
        stopped=sum(row.state == GenerationState.PROCESSING for row in rows),
        delete=delete,
        settle=settle,
    )
