"""The event bus: notifies other parts of the service, and other processes, of changes.

The bus may lose messages, and anything with access to Redis can forge them. So a message is a hint without a
state: its subscribers read the database, at once after a hint and every few seconds without one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from avatar_creator_server import metrics
from avatar_creator_server.shared.redis_options import connection_options

log = structlog.get_logger()

GENERATION_CHANGED = "avatar-creator:generation-changed"
"""Topic. Payload: a `ChangeHint`."""
PROJECT_DELETED = "avatar-creator:project-deleted"
"""Topic. Payload: the id of the project, then the ids of its generations, one per line."""
GENERATION_CANCELLED = "avatar-creator:generation-cancelled"
"""Topic. Payload: the id of the generation.

It is separate from `GENERATION_CHANGED`, because workers need cancellations and no other changes.
"""
THUMBNAIL_READY = "avatar-creator:thumbnail-ready"
"""Topic. Payload: the id of the avatar."""

Handler = Callable[[bytes], None]

_SLICE_SECONDS = 0.005
"""Time for messages until a pause, which is as long as they took: a flood of messages takes half of the loop.
Redis disconnects a subscriber that falls far behind, and then the re-reads find the changes."""
_MAX_ERROR_CHARACTERS = 200
MAX_IDS = 501
"""Maximum number of ids in a payload: a project, and a batch of its generations."""
_MAX_PAYLOAD_BYTES = MAX_IDS * (len(str(UUID(int=0))) + len("\n"))
"""Size of the longest payload."""
_PUBLISH_TIMEOUT_SECONDS = 0.5
_CONNECT_TIMEOUT_SECONDS = 5.0
_SILENCE_SECONDS = 2.0
"""Time without a message until the bus sends a ping, and without an answer to it until the bus reconnects."""
_RECONNECT_SECONDS = (0.1, 2.0)
"""Minimum and maximum of the random delay before the bus reconnects."""


def encode_ids(*ids: str) -> bytes:
    """Return the payload with these ids.

    Raises:
        ValueError: There are more than `MAX_IDS`, so every subscriber would refuse the payload.
    """
    if len(ids) > MAX_IDS:
        raise ValueError(f"a payload has at most {MAX_IDS} ids (got {len(ids):,})")
    return "\n".join(ids).encode()


def decode_ids(payload: bytes) -> list[str]:
    """Return the ids in a payload.

    Raises:
        ValueError: There are more than this service publishes, or the payload is not text.
    """
    lines = payload.count(b"\n") + 1
    if lines > MAX_IDS:
        raise ValueError(f"a payload has at most {MAX_IDS} ids (got {lines:,})")
    return payload.decode().split("\n")


class EventBus(Protocol):
    """Delivers payloads to the subscribers of their topic, in this process and in others."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a payload. Never raises, because the database has the change too."""

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler` with each payload, on the event loop. Must be called before `start`."""

    async def start(self) -> None:
        """Start to receive."""

    async def close(self) -> None:
        """Stop receiving and close the connections."""


class _Subscribers:
    """The handlers of each topic."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler]] = defaultdict(list)

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler` with each payload, on the event loop."""
        self._handlers[topic].append(handler)

    def _deliver(self, topic: str, payload: bytes) -> None:
        for handler in self._handlers[topic]:
            try:
                if len(payload) > _MAX_PAYLOAD_BYTES:
                    raise ValueError(f"a payload of {len(payload):,} bytes")
                handler(payload)
            except ValueError as error:
                # Not by this service. It must not end the subscription, or fill the log.
                metrics.EVENTS_NOT_READ.labels(topic).inc()
                log.debug("event_not_read", topic=topic, error=str(error)[:_MAX_ERROR_CHARACTERS])
            except Exception:
                # A defect must not end the call or the subscription that delivers the payload.
                log.exception("event_not_handled", topic=topic)


class InProcessBus(_Subscribers):
    """The bus of the embedded service."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Call every handler of the topic now."""
        self._deliver(topic, payload)

    async def start(self) -> None:
        """Do nothing: there is no connection."""

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class RedisBus(_Subscribers):
    """The bus between processes. Each process has one Redis subscription, and renews it when it breaks."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._publisher: Redis = Redis.from_url(
            url, socket_connect_timeout=_PUBLISH_TIMEOUT_SECONDS, **connection_options(url)
        )
        self._subscriber: Redis = Redis.from_url(url, **connection_options(url))
        self._reader: asyncio.Task[None] | None = None

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a payload. Give up after half a second."""
        try:
            async with asyncio.timeout(_PUBLISH_TIMEOUT_SECONDS):
                await self._publisher.publish(topic, payload)
        except (RedisError, OSError, TimeoutError) as error:
            metrics.EVENTS_NOT_PUBLISHED.inc()
            log.warning("event_not_published", topic=topic, error=repr(error))

    async def start(self) -> None:
        """Start to receive. If Redis is unavailable, keep trying in the background."""
        self._reader = asyncio.create_task(self._read_forever(), name="event-bus")

    async def close(self) -> None:
        """Stop receiving and disconnect."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._publisher.aclose()
        await self._subscriber.aclose()

    async def _read_forever(self) -> None:
        while True:
            try:
                await self._read()
            except (RedisError, OSError) as error:
                metrics.BUS_RECONNECTS.inc()
                log.warning("event_bus_disconnected", error=repr(error))
            await asyncio.sleep(random.uniform(*_RECONNECT_SECONDS))

    async def _read(self) -> None:
        async with self._subscriber.pubsub() as subscription:
            async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                await subscription.subscribe(*self._handlers)
            pinged = False
            loop = asyncio.get_running_loop()
            busy_seconds = 0.0
            while True:
                if busy_seconds >= _SLICE_SECONDS:
                    await asyncio.sleep(busy_seconds)
                    busy_seconds = 0.0
                waited = asyncio.Event()
                turn = loop.call_soon(waited.set)
                begin = loop.time()
                message = await subscription.get_message(timeout=_SILENCE_SECONDS)
                turn.cancel()
                if waited.is_set():
                    # The loop has run other work, so this was not all time for messages.
                    begin = loop.time()
                if message is not None:
                    pinged = False
                    if message["type"] == "message":
                        self._deliver(message["channel"].decode(), message["data"])
                    busy_seconds += loop.time() - begin
                elif pinged:
                    # A dead connection can stay open forever and carry nothing.
                    raise TimeoutError("Redis does not answer")
                else:
                    await subscription.ping()
                    pinged = True


class EventWaiter:
    """Lets a task wait for the next event about one subject, for example the thumbnail of one avatar.

    It works for the topics with a payload of ids, one per line.
    """

    def __init__(self, bus: EventBus, *topics: str) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        for topic in topics:
            bus.subscribe(topic, self._wake)

    @asynccontextmanager
    async def expect(self, subject_id: str) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Listen while the context is open.

        The yielded function waits for the next event, up to a number of seconds, and returns whether one
        arrived.
        """
        arrived = asyncio.Event()
        self._waiting[subject_id].add(arrived)

        async def wait(seconds: float) -> bool:
            try:
                async with asyncio.timeout(seconds):
                    await arrived.wait()
            except TimeoutError:
                return False
            arrived.clear()
            return True

        try:
            yield wait
        finally:
            self._waiting[subject_id].discard(arrived)
            if not self._waiting[subject_id]:
                del self._waiting[subject_id]

    def _wake(self, payload: bytes) -> None:
        for subject_id in decode_ids(payload):
            for arrived in self._waiting.get(subject_id, ()):
                arrived.set()
