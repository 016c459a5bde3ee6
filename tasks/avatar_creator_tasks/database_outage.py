"""Retries while the database is unavailable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from avatar_creator_server.errors import UnavailableError

log = structlog.get_logger()

_RETRY_SECONDS = 1.0

T = TypeVar("T")


async def retry_through_outage(access: Callable[[], Awaitable[T]]) -> T:
    """Run an operation that needs the database, and repeat it until the database answers.

    A worker keeps a drawn picture through an outage, because the picture may have been charged. The lease may
    expire during the outage, but no other worker can claim the generation without the database. A task that
    goes on after a cancellation, to report its end, does not wait: its worker is stopping.
    """
    while True:
        try:
            return await access()
        except UnavailableError as error:
            task = asyncio.current_task()
            if error.reason != "DATABASE_UNAVAILABLE" or (task and task.cancelling()):
                raise
            log.warning("database_access_retried", error=error.message)
        await asyncio.sleep(_RETRY_SECONDS)
