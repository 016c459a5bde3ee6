"""Taskiq's brokers: they give the wake-ups of `shared.worker_notifier` to Taskiq's receiver."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from taskiq import AckableMessage, AsyncBroker, BrokerMessage, TaskiqMessage
from taskiq.serializers import JSONSerializer
from taskiq_redis import RedisStreamBroker

from avatar_creator_server.shared.redis_options import connection_options
from avatar_creator_server.shared.worker_notifier import STREAM_LENGTH, WAKE_UP_SECONDS

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

log = structlog.get_logger()

_BLOCK_SECONDS = 2.0
"""Time that Redis waits for a message before it answers a reader that there is none."""
_SILENCE_SECONDS = 5.0
"""Time without any answer after which a reader connects to Redis again."""
_RECONNECT_SECONDS = (0.1, 2.0)


class InProcessBroker(AsyncBroker):
    """The broker of the embedded service: a queue of this process."""

    def __init__(self, task: str, wake_ups: asyncio.Queue[None]) -> None:
        """Take the queue to which `InProcessNotifier` adds the wake-ups of a task."""
        super().__init__()
        self.with_serializer(JSONSerializer())
        self._wake_ups = wake_ups
        self._message = _wake_up(self, task).message

    async def kick(self, message: BrokerMessage) -> None:
        """Refuse a message: wake-ups come from `InProcessNotifier` only."""
        raise NotImplementedError

    async def listen(self) -> AsyncGenerator[bytes | AckableMessage, None]:
        """Take wake-ups out of the queue."""
        while True:
            await self._wake_ups.get()
            yield self._message


class RedisBroker(RedisStreamBroker):
    """The broker between processes: a Redis stream from which a reader deletes each message.

    A message is only a wake-up, so no message is acknowledged, reclaimed or delivered again. A Redis that
    restarts or loses its data costs only a reconnection.
    """

    connection_pool: BlockingConnectionPool

    def __init__(self, task: str, url: str) -> None:
        """Take the Redis to whose stream `RedisNotifier` adds the wake-ups of a task."""
        super().__init__(
            url,
            queue_name=task,
            consumer_group_name="workers",
            consumer_id="0",
            maxlen=STREAM_LENGTH,
            xread_block=round(_BLOCK_SECONDS * 1000),
            socket_connect_timeout=WAKE_UP_SECONDS,
            **connection_options(url),
        )
        self.with_serializer(JSONSerializer())
        self._redis = Redis(connection_pool=self.connection_pool)
        # Anything may have written the one in the stream.
        self._message = _wake_up(self, task).message

    async def startup(self) -> None:
        """Start without a connection, so that a process can start while Redis is unavailable."""
        await AsyncBroker.startup(self)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Yield one message at a time, so that the workers share the messages, until the process ends."""
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._declare_consumer_group()
                async for _ in self._read():
                    yield AckableMessage(data=self._message, ack=_nothing_to_acknowledge)
            except (RedisError, OSError) as error:
                log.warning("wake_up_stream_disconnected", stream=self.queue_name, error=repr(error))
            await asyncio.sleep(random.uniform(*_RECONNECT_SECONDS))

    async def shutdown(self) -> None:
        """Leave the consumer group and disconnect."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(WAKE_UP_SECONDS):
                await self._redis.xgroup_delconsumer(
                    self.queue_name, self.consumer_group_name, self.consumer_name
                )
        await super().shutdown()

    async def _read(self) -> AsyncGenerator[None, None]:
        while True:
            # A broken connection can stay open although no data passes through it.
            async with asyncio.timeout(_SILENCE_SECONDS):
                streams: Any = await self._redis.xreadgroup(
                    self.consumer_group_name,
                    self.consumer_name,
                    {self.queue_name: ">"},
                    count=1,
                    block=self.block,
                    noack=True,
                )
            for _stream, messages in streams:
                for message_id, _fields in messages:
                    yield
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        await self._redis.xdel(self.queue_name, message_id)


def _wake_up(broker: AsyncBroker, task: str) -> BrokerMessage:
    """Return the message that stands for each wake-up of a task."""
    message = TaskiqMessage(task_id="wake-up", task_name=task, labels={}, args=[], kwargs={})
    return broker.formatter.dumps(message)


async def _nothing_to_acknowledge() -> None:
    """Do nothing: the reader deletes the message."""
