"""Background jobs: short jobs that must run because of a committed transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import BackgroundJob
from avatar_creator_server.database.models.states import JobKind

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


def enqueue_job(kind: JobKind, subject_id: str, now: datetime) -> None:
    """Add a job, in the current transaction."""
    BackgroundJob.create(kind=kind, subject_id=subject_id, due_time=now, create_time=now)


class BackgroundJobQueue:
    """Hands out background jobs, the job that has been due longest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self) -> ClaimedJob | None:
        """Claim a due job for 30 seconds, or return None if no job is due.

        The job becomes due again if it is not done by then.
        """
        return await self._database.write(self._claim)

    async def done(self, job: ClaimedJob) -> None:
        """Delete a job that has succeeded."""
        await self._database.write(lambda: BackgroundJob.delete().where(BackgroundJob.id == job.id).execute())

    async def failed(self, job: ClaimedJob) -> None:
        """Postpone a job that has failed: by 1 s, then twice as long each time, at most by 5 minutes.

        A job that cancels a request is deleted if it is older than one hour.
        """
        await self._database.write(self._postpone, job.id)

    def _claim(self) -> ClaimedJob | None:
        now = self._database.now()
        query = (
            BackgroundJob.select()
            .where(BackgroundJob.due_time <= now)
            .order_by(BackgroundJob.due_time)
            .limit(1)
        )
        row: BackgroundJob | None = self._database.locked(query, skip_locked=True).first()
        if row is None:
            return None
        BackgroundJob.update(due_time=now + _LEASE, try_count=BackgroundJob.try_count + 1).where(
            BackgroundJob.id == row.id
        ).execute()
        return ClaimedJob(row.id, row.kind, row.subject_id)

    def _postpone(self, job_id: str) -> None:
        row: BackgroundJob | None = BackgroundJob.get_or_none(BackgroundJob.id == job_id)
        if row is None:
            return
        now = self._database.now()
        if row.kind == JobKind.CANCEL_REQUEST and row.create_time < now - _CANCEL_WITHIN:
            row.delete_instance()
            return
        wait = min(timedelta(seconds=2 ** min(row.try_count - 1, 10)), _MAX_DELAY)
        BackgroundJob.update(due_time=now + wait).where(BackgroundJob.id == job_id).execute()
