"""The table of open circuit breakers."""

from __future__ import annotations

from peewee import IntegerField, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class RouteCircuit(BaseModel):
    """A route whose provider refused the service itself. A route that works has no row."""

    route = TextField(primary_key=True)
    reason = TextField()
    """Name of the `ErrorReason` of the last refusal."""
    message = TextField()
    failure_count = IntegerField()
    """Number of refusals in a row."""
    open_time = UtcDateTimeField()
    """Time at which the circuit breaker opened."""
    probe_time = UtcDateTimeField()
    """Time from which one attempt may use the route again."""

    class Meta:
        table_name = "route_circuits"
