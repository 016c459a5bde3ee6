"""Background jobs: short jobs that must run because of a committed transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import Select, fn

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import BackgroundJob, new_id
from avatar_creator_server.database.models.states import JobKind

BULK_PRIORITY = 2
"""Priority of jobs that do a lot of work in batches and that no caller waits for."""

_PRIORITIES: Mapping[JobKind, int] = {
    JobKind.THUMBNAIL: 0,
    JobKind.CANCEL_REQUEST: 1,
    JobKind.REMOVE_FILES: BULK_PRIORITY,
    JobKind.REMOVE_FILE: BULK_PRIORITY,
    JobKind.REMOVE_PROJECT: BULK_PRIORITY,
}

_CANCEL_WITHIN = timedelta(hours=1)
"""Maximum age of a job that cancels a provider's request. An older request has ended."""

_LEASE = timedelta(seconds=30)
_MAX_DELAY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A background job that a worker has claimed."""

    id: str
    kind: str
    subject_id: str
    is_bulk: bool
    """True if the job has `BULK_PRIORITY`."""


def enqueue_jobs(kind: JobKind, user_id: str, subject_ids: Collection[str], now: datetime) -> None:
    """Add jobs of one user, in the current transaction, with one statement for all."""
    if not subject_ids:
        return
    priority = _PRIORITIES[kind]
    turn = _next_turn(user_id, priority, now)
    BackgroundJob.insert_many(
        [
            {
                "id": new_id(),
                "kind": kind,
                "subject_id": subject_id,
                "user_id": user_id,
                "priority": priority,
                "turn": turn + number,
                "due_time": now,
                "create_time": now,
            }
            for number, subject_id in enumerate(subject_ids)
        ]
    ).execute()


def delete_jobs(kind: JobKind, subject_ids: Collection[str]) -> None:
    """Delete jobs that have nothing to do any longer, in the current transaction."""
    BackgroundJob.delete().where(
        BackgroundJob.kind == kind, BackgroundJob.subject_id.in_(list(subject_ids))
    ).execute()


class BackgroundJobQueue:
    """Hands out background jobs by priority. Users take turns within a priority."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, *, with_bulk: bool) -> ClaimedJob | None:
        """Claim the next due job for 30 seconds, or return None if no job is due.

        The job becomes due again if it is not done by then.

        Args:
            with_bulk: False to leave out the jobs with `BULK_PRIORITY`.
        """
        return await self._database.write(self._claim, with_bulk)

    async def done(self, job: ClaimedJob) -> None:
        """Delete a job that has succeeded."""
        await self._database.write(lambda: BackgroundJob.delete().where(BackgroundJob.id == job.id).execute())

    async def again(self, job: ClaimedJob) -> None:
        """Return a job whose next batch remains to be done. It goes behind the other jobs of its user."""
        await self._database.write(self._return, job.id)

    async def failed(self, job: ClaimedJob) -> bool:
        """Postpone a job that has failed: by 1 s, then twice as long each time, at most by 5 minutes.

        A job that cancels a request is deleted if it is older than one hour.

        Returns:
            False if the job was deleted.
        """
        return await self._database.write(self._postpone, job.id)

    def _claim(self, with_bulk: bool) -> ClaimedJob | None:
        now = self._database.now()
        query = (
            BackgroundJob.select()
            .where(BackgroundJob.due_time <= now)
            .order_by(BackgroundJob.priority, BackgroundJob.turn, BackgroundJob.due_time)
            .limit(1)
        )
        if not with_bulk:
            query = query.where(BackgroundJob.priority < BULK_PRIORITY)
        row: BackgroundJob | None = self._database.locked(query, skip_locked=True).first()
        if row is None:
            return None
        BackgroundJob.update(due_time=now + _LEASE, try_count=BackgroundJob.try_count + 1).where(
            BackgroundJob.id == row.id
        ).execute()
        return ClaimedJob(row.id, row.kind, row.subject_id, is_bulk=row.priority >= BULK_PRIORITY)

    def _return(self, job_id: str) -> None:
        row: BackgroundJob | None = BackgroundJob.get_or_none(BackgroundJob.id == job_id)
        if row is not None:
            now = self._database.now()
            # A new time, because the age of the oldest job shows whether jobs make progress.
            self._requeue(row, now, due_time=now, create_time=now, try_count=0)

    def _postpone(self, job_id: str) -> bool:
        row: BackgroundJob | None = BackgroundJob.get_or_none(BackgroundJob.id == job_id)
        if row is None:
            return True
        now = self._database.now()
        if row.kind == JobKind.CANCEL_REQUEST and row.create_time < now - _CANCEL_WITHIN:
            row.delete_instance()
            return False
        wait = min(timedelta(seconds=2 ** min(row.try_count - 1, 10)), _MAX_DELAY)
        self._requeue(row, now, due_time=now + wait)
        return True

    @staticmethod
    def _requeue(row: BackgroundJob, now: datetime, **changes: Any) -> None:
        BackgroundJob.update(turn=_next_turn(row.user_id, row.priority, now), **changes).where(
            BackgroundJob.id == row.id
        ).execute()


def _next_turn(user_id: str, priority: int, now: datetime) -> int:
    """Return the turn of a user's new job: behind the user's own jobs, but next to those of other users."""
    of_priority = BackgroundJob.priority == priority
    own_last = BackgroundJob.select(fn.MAX(BackgroundJob.turn)).where(
        of_priority, BackgroundJob.user_id == user_id
    )
    # Without the jobs that are running or postponed, which may have been first long ago.
    first = BackgroundJob.select(fn.MIN(BackgroundJob.turn)).where(of_priority, BackgroundJob.due_time <= now)
    query: Any = Select(columns=[own_last, first]).tuples()
    ((last, lowest),) = query.execute(BackgroundJob._meta.database)
    return max(-1 if last is None else last, (lowest or 0) - 1) + 1
