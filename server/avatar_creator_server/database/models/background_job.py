"""The table of background jobs."""

from __future__ import annotations

from peewee import SQL, BigIntegerField, IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField


class BackgroundJob(BaseModel):
    """A short job, inserted in the transaction that makes it necessary.

    The row is deleted when the job is done. A claim moves `due_time` to the end of a lease, so the job of a
    lost worker becomes due again.
    """

    id = IdField()
    kind = TextField()
    subject_id = TextField()
    """Id of the job's subject, which depends on its kind: see `JobKind`."""
    user_id = TextField(default="", constraints=[SQL("DEFAULT ''")])
    """User whose data the job is about. Users take turns."""
    priority = IntegerField(default=1, constraints=[SQL("DEFAULT 1")])
    """A job with a lower number is claimed sooner: see `avatar_creator_server.shared.background_jobs`."""
    turn = BigIntegerField(default=0, constraints=[SQL("DEFAULT 0")])
    """Place within the priority: the next jobs of all users have nearly the same number, and each further job
    of a user has a higher one."""
    try_count = IntegerField(default=0)
    due_time = UtcDateTimeField()
    create_time = UtcDateTimeField()

    class Meta:
        table_name = "quick_work"


BackgroundJob.add_index(BackgroundJob.index(BackgroundJob.due_time, name="quick_work_due"))
BackgroundJob.add_index(
    BackgroundJob.index(BackgroundJob.priority, BackgroundJob.turn, name="quick_work_turns")
)
BackgroundJob.add_index(
    BackgroundJob.index(
        BackgroundJob.user_id, BackgroundJob.priority, BackgroundJob.turn, name="quick_work_user"
    )
)
