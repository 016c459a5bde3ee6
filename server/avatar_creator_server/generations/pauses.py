"""Pauses: operators stop the claims of the whole queue, or of one route, until they resume it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from peewee import SQL, Case, fn

from avatar_creator_server.database.compiled_queries import CompiledQuery, compiled, parameter
from avatar_creator_server.database.models import WHOLE_QUEUE, QueuePause
from avatar_creator_server.generations.routes import Routes


@dataclass(frozen=True, slots=True)
class RouteNames:
    """The names of a process's routes."""

    from_text: str
    from_reference: str
    """The same as `from_text` if the service has no route for references."""

    @classmethod
    def of(cls, routes: Routes) -> RouteNames:
        """Return the names of these routes."""
        reference = routes.from_reference or routes.from_text
        return cls(routes.from_text.name, reference.name)

    def route(self, *, has_reference: bool) -> str:
        """Return the name of the route that a generation with or without a reference takes."""
        return self.from_reference if has_reference else self.from_text

    def values(self) -> dict[str, str]:
        """Return the values of the parameters of `is_not_paused`."""
        return {"text_route": self.from_text, "reference_route": self.from_reference}


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of the queue or of a route."""

    route: str
    """Name of the route; `WHOLE_QUEUE` for all routes."""
    pause_time: datetime
    paused_by: str
    """Id of the operator."""
    note: str
    """The operator's note for users; empty if there is none."""

    @property
    def sentence(self) -> str:
        """The warning for users whose generations wait for the end of the pause."""
        subject = "the queue" if self.route == WHOLE_QUEUE else f"the route {self.route}"
        note = f" ({self.note})" if self.note else ""
        since = f"{self.pause_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"{subject} has been paused since {since}{note}; generations wait until an operator resumes it"


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses that concern the routes of one service."""

    pauses: tuple[Pause, ...]
    names: RouteNames

    @classmethod
    def among(cls, pauses: Sequence[Pause], names: RouteNames) -> Pauses:
        """Return those of all pauses that concern these routes."""
        ours = {WHOLE_QUEUE, names.from_text, names.from_reference}
        return cls(tuple(pause for pause in pauses if pause.route in ours), names)

    def pause_of(self, *, has_reference: bool) -> Pause | None:
        """Return the pause that a generation with or without a reference waits for; None if none."""
        stopping = (WHOLE_QUEUE, self.names.route(has_reference=has_reference))
        return next((pause for pause in self.pauses if pause.route in stopping), None)


def read_pauses() -> list[Pause]:
    """Read all pauses, that of the whole queue first, in a database job."""
    return _pauses().rows()


@compiled
def _pauses() -> CompiledQuery[Pause]:
    row = QueuePause
    return CompiledQuery(row.select().order_by(row.route), lambda columns: columns.reader(Pause, row))


def is_not_paused(row: Any) -> Any:
    """Return the condition that a generation waits for no pause.

    Its parameters are `RouteNames.values`.

    Args:
        row: `AvatarGeneration` or an alias of it.
    """
    # The subqueries do not refer to the generation, so each runs once for a statement.
    is_text = row.reference_avatar_id == SQL("''")
    return ~Case(None, [(is_text, _is_paused("text_route"))], _is_paused("reference_route"))


def is_a_route_open() -> Any:
    """Return the condition that a route is not paused, so that a worker need not look for one of its rows.

    Its parameters are `RouteNames.values`.
    """
    return ~(_is_paused("text_route") & _is_paused("reference_route"))


def _is_paused(route: str) -> Any:
    pause = QueuePause
    stops = (pause.route == SQL(f"'{WHOLE_QUEUE}'")) | (pause.route == parameter(route))
    return fn.EXISTS(pause.select(SQL("1")).where(stops))
