"""The table of running workers."""

from __future__ import annotations

from peewee import IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class RunningWorker(BaseModel):
    """A worker that runs, or that ended without a clean stop. A worker deletes its row when it stops."""

    name = TextField(primary_key=True)
    """Host, process id and a random part, as in the attempts of the worker."""
    version = TextField()
    """Version of the service that the worker runs."""
    host = TextField()
    provider = TextField()
    """Provider that the worker draws with."""
    slots = IntegerField()
    """Number of generations that the worker runs at once."""
    start_time = UtcDateTimeField()
    last_seen_time = UtcDateTimeField()
    """Time of the last renewal."""
    drain_time = UtcDateTimeField(null=True)
    """Time since which the worker takes no more generations; null unless an operator drains it."""

    class Meta:
        table_name = "workers"
