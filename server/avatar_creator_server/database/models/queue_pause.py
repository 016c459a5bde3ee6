"""The table of pauses of the queue."""

from __future__ import annotations

from peewee import TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField

WHOLE_QUEUE = ""
"""Value of `QueuePause.route` that pauses all routes."""


class QueuePause(BaseModel):
    """A pause of the queue or of one route by an operator. Workers claim none of its generations."""

    route = TextField(primary_key=True)
    """Name of the route; `WHOLE_QUEUE` for all routes."""
    pause_time = UtcDateTimeField()
    paused_by = TextField()
    """Id of the operator."""
    note = TextField()
    """The operator's note for users; empty if there is none."""

    class Meta:
        table_name = "queue_pauses"
