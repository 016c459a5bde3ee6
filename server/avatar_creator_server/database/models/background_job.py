"""The table of quick work."""

from __future__ import annotations

from peewee import IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField


class BackgroundJob(BaseModel):
    """A short job that must happen, recorded in the transaction that makes it necessary.

    The row goes when the job is done. Claiming moves `due_time` to the end of a lease, so a lost worker's
    job simply falls due again.
    """

    id = IdField()
    kind = TextField()
    subject_id = TextField()
    """What it is about: an avatar's id for `thumbnail`, a file's id for `remove_file`,
    a provider's request for `cancel_request`."""
    try_count = IntegerField(default=0)
    due_time = UtcDateTimeField()
    create_time = UtcDateTimeField()

    class Meta:
        table_name = "quick_work"


BackgroundJob.add_index(BackgroundJob.index(BackgroundJob.due_time, name="quick_work_due"))
