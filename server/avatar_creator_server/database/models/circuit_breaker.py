"""The table of routes that are not to be used for a while."""

from __future__ import annotations

from peewee import IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class RouteCircuit(BaseModel):
    """A route whose provider refused the service itself. There is no row for a route that works."""

    route = TextField(primary_key=True)
    reason = TextField()
    """Name of an `ErrorReason`."""
    message = TextField()
    failure_count = IntegerField()
    """How often in a row it was refused."""
    open_time = UtcDateTimeField()
    """Since when."""
    probe_time = UtcDateTimeField()
    """When one attempt may try it again."""

    class Meta:
        table_name = "route_circuits"
