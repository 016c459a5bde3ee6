"""Wake-ups: empty messages to workers that there may be work. A lost or doubled wake-up does no harm.

The database has the work. Without a wake-up, a worker finds it one or two seconds later. Workers read the
messages with Taskiq (`avatar_creator_tasks.brokers`). A server only adds them, and does without Taskiq: that
would cost each server 8 MB of memory.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import structlog
from redis.asyncio import BlockingConnectionPool, Redis

from avatar_creator_server.metrics import WAKE_UPS_NOT_SENT
from avatar_creator_server.shared.redis_options import connection_options

log = structlog.get_logger()

GENERATION_TASK = "avatar-creator:generation"
"""Task name and Redis stream of wake-ups for the slots that run generations."""
JOB_TASK = "avatar-creator:background-job"
"""Task name and Redis stream of wake-ups for background jobs."""

WAKE_UP_SECONDS = 0.5
"""Maximum time to send a wake-up, and to connect to Redis."""
STREAM_LENGTH = 1000
"""Number of wake-ups that a stream keeps, approximately."""


class WorkerNotifier(ABC):
    """Sends wake-ups by task name. Never raises and never takes longer than half a second."""

    async def notify_generation(self) -> None:
        """Wake a worker up, because a generation may be due."""
        await self._send(GENERATION_TASK)

    async def notify_job(self) -> None:
        """Wake a worker up, because a background job may be due."""
        await self._send(JOB_TASK)

    @abstractmethod
    async def ping(self) -> None:
        """Check that Redis answers. A notifier within one process needs no check.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer.
        """

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""

    @abstractmethod
    async def _add(self, task: str) -> None:
        """Add a wake-up to the others of a task."""

    async def _send(self, task: str) -> None:
        try:
            async with asyncio.timeout(WAKE_UP_SECONDS):
                await self._add(task)
        except Exception as error:  # of any type: the sweeper finds the work
            WAKE_UPS_NOT_SENT.inc()
            log.warning("wake_up_send_failed", task=task, error=repr(error))


class InProcessNotifier(WorkerNotifier):
    """Wakes the worker in this process up."""

    def __init__(self) -> None:
        self.wake_ups: dict[str, asyncio.Queue[None]] = {
            task: asyncio.Queue() for task in (GENERATION_TASK, JOB_TASK)
        }
        """The wake-ups that the worker has not taken yet, by task name."""

    async def ping(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def _add(self, task: str) -> None:
        self.wake_ups[task].put_nowait(None)


class RedisNotifier(WorkerNotifier):
    """Wakes up the workers that use the same Redis."""

    def __init__(self, url: str) -> None:
        """Create the notifier without a connection."""
        pool: Any = BlockingConnectionPool.from_url(
            url, socket_connect_timeout=WAKE_UP_SECONDS, **connection_options(url)
        )
        self._redis = Redis(connection_pool=pool)

    async def ping(self) -> None:
        """Check that Redis answers."""
        async with asyncio.timeout(WAKE_UP_SECONDS):
            await self._redis.ping()

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.connection_pool.disconnect()

    async def _add(self, task: str) -> None:
        # Without content, because workers trust nothing in a stream that anything may have written.
        await self._redis.xadd(task, {b"data": b""}, maxlen=STREAM_LENGTH)
