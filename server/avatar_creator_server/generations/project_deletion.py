"""Deletion of a project with everything in it: in this package, because generations build on projects."""

from __future__ import annotations

import asyncio
from collections import Counter

from avatar_creator_server import metrics
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import Avatar, AvatarGeneration, AvatarProject
from avatar_creator_server.database.models.states import AttemptOutcome, GenerationState
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import abandon
from avatar_creator_server.images.store import Files
from avatar_creator_server.projects.service import lock_project
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_bus import PROJECT_DELETED, EventBus
from avatar_creator_server.shared.worker_notifier import WorkerNotifier
from avatar_creator_server.statistics import counters as statistics


class ProjectDeletion:
    """Deletes projects."""

    def __init__(self, database: Database, files: Files, bus: EventBus, notifier: WorkerNotifier) -> None:
        self._database = database
        self._files = files
        self._bus = bus
        self._notifier = notifier

    async def delete(self, caller: Caller, project_id: str) -> None:
        """Delete a project with its avatars and generations. A background job removes their files.

        Raises:
            NotFoundError: The user has no such project.
        """
        generation_ids, stopped = await self._database.write(self._delete, caller, project_id)
        metrics.ATTEMPTS.labels(AttemptOutcome.CANCELLED, "").inc(stopped)
        await asyncio.gather(
            self._notifier.notify_job(),
            self._bus.publish(PROJECT_DELETED, "\n".join((project_id, *generation_ids)).encode()),
        )

    def _delete(self, caller: Caller, project_id: str) -> tuple[list[str], int]:
        """Return the ids of the deleted generations, and the number of attempts that were stopped."""
        lock_project(self._database, caller.user_id, project_id)
        now = self._database.now()
        generation = AvatarGeneration
        query = generation.select(
            generation.id, generation.state, generation.app_id, generation.price_micros, generation.due_time
        ).where(generation.project == project_id)
        generations = list(self._database.locked(query))
        unfinished = [row for row in generations if row.due_time is not None]
        abandoned = [(row, abandon(self._database, row.id, now)) for row in unfinished]
        # The deletion returns the files: a thumbnail may have been added a moment ago.
        avatars = list(Avatar.delete().where(Avatar.project == project_id).returning(Avatar).execute())
        self._files.release_files_of(avatars)
        AvatarGeneration.delete().where(AvatarGeneration.project == project_id).execute()
        AvatarProject.delete().where(AvatarProject.id == project_id).execute()
        for row, _ in abandoned:
            spending.settle(row.id, row.price_micros)
        # In a fixed order, in which a concurrent deletion of the same user reaches the same rows.
        for row, price_micros in sorted(abandoned, key=lambda each: each[0].app_id):
            spending.spend(caller.user_id, row.app_id, price_micros, now)
        statistics.count_gone(caller.user_id, avatars, Counter(row.state for row in generations))
        stopped = sum(row.state == GenerationState.PROCESSING for row in generations)
        return [row.id for row in generations], stopped
