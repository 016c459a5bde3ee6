"""The table of background jobs."""

from __future__ import annotations

from peewee import IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField


class BackgroundJob(BaseModel):
    """A short job, inserted in the transaction that makes it necessary.

    The row is deleted when the job is done. A claim moves `due_time` to the end of a lease, so the job of a
    lost worker becomes due again.
    """

    id = IdField()
    kind = TextField()
    subject_id = TextField()
    """Id of the job's subject: an avatar for `thumbnail`, a file for `remove_file`, a provider's request for
    `cancel_request`."""
    try_count = IntegerField(default=0)
    due_time = UtcDateTimeField()
    create_time = UtcDateTimeField()

    class Meta:
        table_name = "quick_work"


BackgroundJob.add_index(BackgroundJob.index(BackgroundJob.due_time, name="quick_work_due"))
