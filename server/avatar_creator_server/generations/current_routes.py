"""The routes of the service at this moment: those of its settings that Hugging Face's router offers.

Workers and `doctor` read the list of the hub and store it as one row. All processes read that row.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from peewee import PeeweeException

from avatar_creator_server.database.call_limits import start_shared
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models import ModelMapping
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Routes
from avatar_creator_server.model_table import FAL
from avatar_creator_server.settings import Settings

log = structlog.get_logger()

MAX_AGE = timedelta(days=7)
"""Age of the stored list after which it counts for nothing, so that everything counts as offered."""

_FRESH_SECONDS = 30.0
"""Age after which a process refreshes its cached routes, while its callers still use them."""
_STALE_SECONDS = 300.0
"""Age after which callers wait for fresh routes, because no call has refreshed them for so long."""


@dataclass(frozen=True, slots=True)
class StoredMapping:
    """The stored list."""

    apps: frozenset[str]
    read_time: datetime
    age: timedelta
    """Time since it was read from the hub, by the database's clock."""


class CurrentRoutes:
    """The routes of one process's settings, with a cache of what the router offers."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self.if_all_offered = routes_of(settings)
        """The routes if the router offers all apps."""
        self._cached: _Cached | None = None
        self._refreshing: asyncio.Task[_Cached] | None = None

    @property
    def depend_on_mapping(self) -> bool:
        """True if the service draws through Hugging Face's router, with the apps of fal."""
        return self.if_all_offered.from_text.name == FAL

    async def current(self) -> Routes:
        """Return the routes of this moment.

        Callers share one read of the row. They do not wait for it, except for the first read and the first
        one after minutes without a caller. If the row cannot be read, the cached routes count.
        """
        if not self.depend_on_mapping:
            return self.if_all_offered
        cached = self._cached
        age = time.monotonic() - cached.read_at if cached else _STALE_SECONDS
        if age >= _FRESH_SECONDS:
            refreshing = self._start_refresh()
            if age >= _STALE_SECONDS:
                cached = await asyncio.shield(refreshing)
        return cached.routes if cached else self.if_all_offered

    async def stored(self) -> StoredMapping | None:
        """Return the stored list, however old it is; None if there is none."""
        return await self._database.read(self._read)

    async def store(self, apps: frozenset[str]) -> None:
        """Store a list that the hub has just given. This process uses it at once, others within seconds."""
        await self._database.write(self._write, apps)
        self._cached = self._routes_with(apps)

    def _start_refresh(self) -> asyncio.Task[_Cached]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = start_shared(self._refresh(), name="model-mapping")
        return self._refreshing

    async def _refresh(self) -> _Cached:
        read_at = time.monotonic()
        try:
            stored = await self.stored()
        except (AvatarCreatorError, PeeweeException) as error:
            log.warning("model_mapping_unreadable", error=repr(error))
            return self._cached or _Cached(read_at, self.if_all_offered)
        self._cached = self._routes_with(stored.apps if stored and stored.age <= MAX_AGE else None)
        return self._cached

    def _routes_with(self, apps: frozenset[str] | None) -> _Cached:
        return _Cached(time.monotonic(), routes_of(self._settings, apps))

    def _read(self) -> StoredMapping | None:
        row: ModelMapping | None = ModelMapping.get_or_none(
            ModelMapping.provider == FAL, ModelMapping.hub_url == self._settings.huggingface_hub_url
        )
        if row is None:
            return None
        return StoredMapping(frozenset(row.apps), row.read_time, self._database.now() - row.read_time)

    def _write(self, apps: frozenset[str]) -> None:
        stored = {
            ModelMapping.hub_url: self._settings.huggingface_hub_url,
            ModelMapping.apps: sorted(apps),
            ModelMapping.read_time: self._database.now(),
        }
        ModelMapping.insert({ModelMapping.provider: FAL, **stored}).on_conflict(
            conflict_target=[ModelMapping.provider], update=stored
        ).execute()


@dataclass(frozen=True, slots=True)
class _Cached:
    """The routes by one read of the row."""

    read_at: float
    """Time of the read, by `time.monotonic`."""
    routes: Routes
