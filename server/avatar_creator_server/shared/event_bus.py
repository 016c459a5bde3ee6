"""The event bus: tells other parts and processes that something changed. It may drop messages."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from avatar_creator_server import metrics

log = structlog.get_logger()

GENERATION_CHANGED = "avatar-creator:generation-changed"
"""Payload: the whole `avatar_creator.v1.Generation`, encoded."""
PROJECT_DELETED = "avatar-creator:project-deleted"
"""Payload: the project's id, then those of its generations, a line each."""
GENERATION_CANCELLED = "avatar-creator:generation-cancelled"
"""Payload: the generation's id. Apart from its change, because workers need not hear of every change."""
THUMBNAIL_READY = "avatar-creator:thumbnail-ready"
"""Payload: the avatar's id."""

Handler = Callable[[bytes], None]

_PUBLISH_SECONDS = 0.5
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 2.0
"""After so long without a message Redis is asked for an answer, and after as long again given up."""
_RECONNECT_SECONDS = (0.1, 2.0)


class EventBus(Protocol):
    """Carries payloads to whoever subscribed to their topic, in this process and in others."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a payload. Never raises: what is published is always in the database too."""

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler` with each payload, on the event loop. To be called before `start`."""

    async def start(self) -> None:
        """Begin to receive."""

    async def close(self) -> None:
        """Stop receiving and let go of connections."""


class _Subscribers:
    """Who is to be called with what comes in."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = defaultdict(list)

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler` with each payload, on the event loop."""
        self._handlers[topic].append(handler)

    def _deliver(self, topic: str, payload: bytes) -> None:
        for handler in self._handlers[topic]:
            try:
                handler(payload)
            except Exception:  # one payload that makes no sense must end neither a call nor a subscription
                log.exception("event_not_handled", topic=topic)


class InProcessBus(_Subscribers):
    """The bus of the embedded service."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Call every subscriber now."""
        self._deliver(topic, payload)

    async def start(self) -> None:
        """Nothing to connect."""

    async def close(self) -> None:
        """Nothing to disconnect."""


class RedisBus(_Subscribers):
    """The bus between processes: one Redis subscription a process, re-made whenever it breaks."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._publisher: Redis = Redis.from_url(
            url, socket_timeout=_PUBLISH_SECONDS, socket_connect_timeout=_PUBLISH_SECONDS
        )
        self._subscriber: Redis = Redis.from_url(url, socket_timeout=None, socket_keepalive=True)
        self._reader: asyncio.Task[None] | None = None

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a payload, giving up after half a second."""
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await self._publisher.publish(topic, payload)
        except (RedisError, OSError, TimeoutError) as error:
            metrics.EVENTS_NOT_PUBLISHED.inc()
            log.warning("event_not_published", topic=topic, error=repr(error))

    async def start(self) -> None:
        """Begin to receive; a Redis that is away is tried again until it is back."""
        self._reader = asyncio.create_task(self._read_for_ever(), name="event-bus")

    async def close(self) -> None:
        """Stop receiving and disconnect."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._publisher.aclose()
        await self._subscriber.aclose()

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self._read()
            except (RedisError, OSError) as error:
                metrics.BUS_RECONNECTS.inc()
                log.warning("event_bus_disconnected", error=repr(error))
            await asyncio.sleep(random.uniform(*_RECONNECT_SECONDS))

    async def _read(self) -> None:
        async with self._subscriber.pubsub() as subscription:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await subscription.subscribe(*self._handlers)
            asked = False
            while True:
                message = await subscription.get_message(timeout=_SILENCE_SECONDS)
                if message is not None:
                    asked = False
                    if message["type"] == "message":
                        self._deliver(message["channel"].decode(), message["data"])
                elif asked:
                    # The connection may be open for ever where nothing passes through any more.
                    raise TimeoutError("Redis does not answer")
                else:
                    await subscription.ping()
                    asked = True


class EventWaiter:
    """Lets a task wait for the next event about one thing, for example one avatar's thumbnail.

    For topics whose payload is ids, a line each.
    """

    def __init__(self, bus: EventBus, *topics: str) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        for topic in topics:
            bus.subscribe(topic, self._arrived)

    @asynccontextmanager
    async def expect(self, subject_id: str) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Listen from here on; what is yielded waits up to some seconds and tells whether one came."""
        arrival = asyncio.Event()
        self._waiting[subject_id].add(arrival)

        async def wait(seconds: float) -> bool:
            try:
                async with asyncio.timeout(seconds):
                    await arrival.wait()
            except TimeoutError:
                return False
            arrival.clear()
            return True

        try:
            yield wait
        finally:
            self._waiting[subject_id].discard(arrival)
            if not self._waiting[subject_id]:
                del self._waiting[subject_id]

    def _arrived(self, payload: bytes) -> None:
        for subject_id in payload.decode().splitlines():
            for arrival in self._waiting.get(subject_id, ()):
                arrival.set()
