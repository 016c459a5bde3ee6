"""Reads the list of offered models from the hub in the background, once an hour for all workers together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import structlog

from avatar_creator_server.generations.current_routes import CurrentRoutes
from avatar_creator_server.generations.offered_apps import NoMappingError, read_offered_apps

log = structlog.get_logger()

INTERVAL = timedelta(hours=1)
"""Age of the stored list at which a worker reads it again."""
RETRY_SECONDS = 300.0
"""Delay after a reading that failed."""
JITTER_SECONDS = 300.0
"""Maximum random delay of a reading. The first worker to read it stores it for all others."""


class MappingReader:
    """Keeps the stored list young."""

    def __init__(
        self, routes: CurrentRoutes, hub_url: str, *, jitter: Callable[[], float] = random.random
    ) -> None:
        """Create a reader.

        Args:
            routes: The routes of the process, which store the list.
            hub_url: URL of the hub.
            jitter: Returns the part of the maximum random delay to wait, 0 to 1.
        """
        self._routes = routes
        self._hub_url = hub_url
        self._jitter = jitter

    async def run(self) -> None:
        """Read the list when it is due, until cancelled. An error never ends this."""
        while self._routes.depend_on_mapping:
            try:
                seconds = await self.read_if_due()
            except NoMappingError as error:
                problem = f"the hub does not list the apps that the router offers: {error.problem}"
                log.warning("model_mapping_refused", problem=problem)
                seconds = RETRY_SECONDS
            # For example, the database is unavailable. The next reading may succeed.
            except Exception as error:
                log.warning("model_mapping_not_read", error=repr(error))
                seconds = RETRY_SECONDS
            await asyncio.sleep(seconds + JITTER_SECONDS * self._jitter())

    async def read_if_due(self) -> float:
        """Read and store the list if the stored one is old; return the seconds until it is due again.

        Raises:
            NoMappingError: The hub gave no usable list. The stored one stays.
        """
        stored = await self._routes.stored()
        if stored is not None and stored.age < INTERVAL:
            return (INTERVAL - stored.age).total_seconds()
        apps = await read_offered_apps(self._hub_url)
        await self._routes.store(apps)
        log.info("model_mapping_stored", apps=len(apps))
        return INTERVAL.total_seconds()
