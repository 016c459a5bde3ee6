"""Deletion of a project with everything in it: in this package, because generations build on projects.

A call marks the project as deleted, which hides all its contents, and corrects the user's numbers. A
background job then removes the rows in batches. Each batch is a short transaction of its own, so the job can
be killed at any time, and no other transaction waits long for a lock.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peewee import OP, Case, Expression, Tuple

from avatar_creator_server import metrics
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import (
    Avatar,
    AvatarAppAction,
    AvatarAppUsage,
    AvatarGeneration,
    AvatarProject,
    AvatarUsage,
)
from avatar_creator_server.database.models.states import (
    ACTIVE_STATES,
    AttemptOutcome,
    GenerationState,
    JobKind,
)
from avatar_creator_server.generations import spending
from avatar_creator_server.generations.attempts import abandon
from avatar_creator_server.images.store import Files
from avatar_creator_server.projects.removal import SubtractedNumbers
from avatar_creator_server.projects.service import ProjectLock, lock_project
from avatar_creator_server.shared.background_jobs import enqueue_jobs
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.event_bus import PROJECT_DELETED, EventBus, encode_ids
from avatar_creator_server.shared.worker_notifier import WorkerNotifier
from avatar_creator_server.statistics import counters as statistics

BATCH_ROWS = 500
"""Maximum number of avatars, generations or uses that one transaction removes."""


@dataclass(frozen=True, slots=True)
class _EndedWork:
    """Generations of a deleted project that were waiting or running."""

    ids: list[str]
    stopped: int
    """Number of attempts that were stopped."""
    prices: dict[str, int]
    """Prices of the generations, by id."""
    spent: list[tuple[str, int]]
    """App and price of each attempt that was stopped."""


class ProjectDeletion:
    """Deletes projects."""

    def __init__(self, database: Database, files: Files, bus: EventBus, notifier: WorkerNotifier) -> None:
        self._database = database
        self._files = files
        self._bus = bus
        self._notifier = notifier

    async def delete(self, caller: Caller, project_id: str) -> None:
        """Delete a project with its avatars and generations. Background jobs remove their rows and files.

        Raises:
            NotFoundError: The user has no such project.
        """
        ended = await self._database.write(self._delete, caller, project_id)
        metrics.ATTEMPTS.labels(AttemptOutcome.CANCELLED, "").inc(ended.stopped)
        await asyncio.gather(
            self._notifier.notify_job(),
            self._bus.publish(PROJECT_DELETED, encode_ids(project_id, *ended.ids)),
        )

    async def remove_batch(self, project_id: str) -> bool:
        """Remove a batch of the rows of a deleted project; return False once the project itself is gone."""
        return await self._database.write(self._remove_batch, project_id)

    def _delete(self, caller: Caller, project_id: str) -> _EndedWork:
        lock_project(self._database, caller.user_id, project_id, ProjectLock.DELETE)
        now = self._database.now()
        ended = self._end_work(caller.user_id, project_id)
        numbers = statistics.read_project_numbers(self._database, project_id)
        project = AvatarProject.get_by_id(project_id)
        project.delete_time = now
        project.subtracted = SubtractedNumbers(numbers.usages, numbers.generations).to_json()
        project.save(only=[AvatarProject.delete_time, AvatarProject.subtracted])
        if max(numbers.avatars, numbers.usages, sum(numbers.generations.values())) <= BATCH_ROWS:
            while self._remove_rows(project):
                pass
        else:
            enqueue_jobs(JobKind.REMOVE_PROJECT, caller.user_id, [project_id], now)
        self._settle(caller.user_id, ended)
        statistics.count_project_gone(caller.user_id, numbers)
        return ended

    def _remove_batch(self, project_id: str) -> bool:
        query = AvatarProject.select().where(
            AvatarProject.id == project_id, AvatarProject.delete_time.is_null(False)
        )
        # Locked, because the job of a worker that is only slow may run a second time.
        project = self._database.locked(query).first()
        return project is not None and self._remove_rows(project)

    def _remove_rows(self, project: AvatarProject) -> bool:
        """Remove the next batch of rows; return False once the project itself is gone.

        Work goes first, then what refers to other rows, then those rows.
        """
        ended = self._end_work(project.user_id, project.id)
        if ended.ids:
            self._settle(project.user_id, ended)
            return True
        avatar_ids = [
            row.id for row in Avatar.select(Avatar.id).where(Avatar.project == project.id).limit(BATCH_ROWS)
        ]
        if avatar_ids:
            if _remove_uses(avatar_ids):
                self._remove_avatars(project, avatar_ids)
            return True
        if self._remove_generations(project):
            return True
        project.delete_instance()
        # Differences arise if a use was recorded, or a generation moved, at the moment of the deletion.
        left = SubtractedNumbers.from_json(project.subtracted)
        generations = {state: number for state, number in left.generations.items() if number}
        if generations or left.usages:
            statistics.count(project.user_id, usages=left.usages, generations=generations)
        return False

    def _end_work(self, user_id: str, project_id: str) -> _EndedWork:
        """End up to a batch of waiting and running generations, running ones first.

        Their state stays, because no query finds them and the statistics no longer include them. The new
        epoch makes their workers stop.
        """
        row = AvatarGeneration
        query = (
            row.select(row.id, row.state, row.app_id, row.price_micros)
            .where(
                row.user_id == user_id,  # An index has the states of each user's generations.
                row.state.in_(ACTIVE_STATES),
                row.due_time.is_null(False),
                row.project == project_id,
            )
            .order_by(Case(None, [(row.state == GenerationState.PROCESSING, 0)], 1), row.id)
            .limit(BATCH_ROWS)
        )
        rows = list(self._database.locked(query))
        if not rows:
            return _EndedWork([], 0, {}, [])
        ids = [each.id for each in rows]
        row.update(due_time=None, epoch=row.epoch + 1).where(row.id.in_(ids)).execute()
        running = abandon(self._database, user_id, ids, self._database.now())
        return _EndedWork(
            ids=ids,
            stopped=sum(each.state == GenerationState.PROCESSING for each in rows),
            prices={each.id: each.price_micros for each in rows},
            spent=[(each.app_id, running[each.id]) for each in rows if each.id in running],
        )

    def _settle(self, user_id: str, ended: _EndedWork) -> None:
        spending.settle_all(ended.prices)
        spending.spend_all(user_id, ended.spent, self._database.now())

    def _remove_avatars(self, project: AvatarProject, avatar_ids: Sequence[str]) -> None:
        # The deletion returns the files: a thumbnail may have been added a moment ago.
        removed = list(Avatar.delete().where(Avatar.id.in_(avatar_ids)).returning(Avatar).execute())
        self._files.release_files_of(project.user_id, removed)
        _account(project, SubtractedNumbers(usages=sum(avatar.usage_count for avatar in removed)))

    @staticmethod
    def _remove_generations(project: AvatarProject) -> bool:
        """Remove a batch of generations with their attempts and recipes; return False if there are none."""
        row = AvatarGeneration
        ids = [each.id for each in row.select(row.id).where(row.project == project.id).limit(BATCH_ROWS)]
        if not ids:
            return False
        removed = list(row.delete().where(row.id.in_(ids)).returning(row.state).execute())
        _account(project, SubtractedNumbers(generations=Counter(each.state for each in removed)))
        return True


def _account(project: AvatarProject, removed: SubtractedNumbers) -> None:
    """Subtract removed rows from the numbers that the deletion subtracted from the statistics."""
    project.subtracted = SubtractedNumbers.from_json(project.subtracted).without(removed).to_json()
    project.save(only=[AvatarProject.subtracted])


def _remove_uses(avatar_ids: Sequence[str]) -> bool:
    """Remove a batch of the uses of avatars and of their sums; return True if none remain."""
    left = BATCH_ROWS
    use = AvatarUsage
    ids = [row.id for row in use.select(use.id).where(use.avatar.in_(avatar_ids)).limit(left)]
    if ids:
        use.delete().where(use.id.in_(ids)).execute()
    left -= len(ids)
    for table, key in (
        (AvatarAppAction, (AvatarAppAction.avatar, AvatarAppAction.app_id, AvatarAppAction.action)),
        (AvatarAppUsage, (AvatarAppUsage.avatar, AvatarAppUsage.app_id)),
    ):
        if left <= 0:
            return False
        of_avatars = table.avatar.in_(avatar_ids)
        rows: list[Any] = list(table.select(*key).where(of_avatars).order_by(*key).limit(left).tuples())
        if rows:
            table.delete().where(of_avatars, Expression(Tuple(*key), OP.LTE, Tuple(*rows[-1]))).execute()
        left -= len(rows)
    return left > 0
