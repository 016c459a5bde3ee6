"""Wake-ups: empty messages to workers that there may be work. A lost or doubled wake-up does no harm.

The database has the work. Without a wake-up, a worker finds it one or two seconds later.
"""

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

from avatar_creator_server.metrics import WAKE_UPS_NOT_SENT
from avatar_creator_server.shared.redis_options import keepalive

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

log = structlog.get_logger()

GENERATION_TASK = "avatar-creator:generation"
"""Task name and Redis stream of wake-ups for the slots that run generations."""
JOB_TASK = "avatar-creator:background-job"
"""Task name and Redis stream of wake-ups for background jobs."""

_SEND_SECONDS = 0.5
_BLOCK_SECONDS = 2.0
"""Time that Redis waits for a message before it answers a reader that there is none."""
_SILENCE_SECONDS = 5.0
"""Time without any answer after which a reader connects to Redis again."""
_RECONNECT_SECONDS = (0.1, 2.0)
_STREAM_LENGTH = 1000


class InProcessBroker(AsyncBroker):
    """The broker of the embedded service: an `asyncio.Queue` that Taskiq's receiver reads."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()

    async def kick(self, message: BrokerMessage) -> None:
        """Put a message into the queue."""
        self._messages.put_nowait(message.message)

    async def listen(self) -> AsyncGenerator[bytes | AckableMessage, None]:
        """Take messages out of the queue."""
        while True:
            yield await self._messages.get()


class RedisBroker(RedisStreamBroker):
    """The broker between processes: a Redis stream from which a reader deletes each message.

    A message is only a wake-up, so no message is acknowledged, reclaimed or delivered again. A Redis that
    restarts or loses its data costs only a reconnection.
    """

    connection_pool: BlockingConnectionPool

    def __init__(self, url: str, stream: str) -> None:
        super().__init__(
            url,
            queue_name=stream,
            consumer_group_name="workers",
            consumer_id="0",
            maxlen=_STREAM_LENGTH,
            xread_block=round(_BLOCK_SECONDS * 1000),
            socket_timeout=None,
            socket_connect_timeout=_SEND_SECONDS,
            **keepalive(url),
        )
        self._redis = Redis(connection_pool=self.connection_pool)

    async def kick(self, message: BrokerMessage) -> None:
        """Add a message to the stream. The base class makes a client for each message."""
        await self._redis.xadd(
            self.queue_name,
            {b"data": message.message},
            maxlen=self.maxlen,
            approximate=self.approximate,
        )

    async def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            RedisError, OSError: Redis does not answer.
        """
        await self._redis.ping()

    async def startup(self) -> None:
        """Start without a connection, so that a process can start while Redis is unavailable."""
        await AsyncBroker.startup(self)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Yield one message at a time, so that the workers share the messages, until the process ends."""
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._declare_consumer_group()
                # Anything may have written the one in the stream.
                wake_up = _wake_up(self, self.queue_name)
                async for _ in self._read():
                    yield AckableMessage(data=wake_up.message, ack=_nothing_to_acknowledge)
            except (RedisError, OSError) as error:
                log.warning("wake_up_stream_disconnected", stream=self.queue_name, error=repr(error))
            await asyncio.sleep(random.uniform(*_RECONNECT_SECONDS))

    async def shutdown(self) -> None:
        """Leave the consumer group and disconnect."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_SEND_SECONDS):
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


def _wake_up(broker: AsyncBroker, task_name: str) -> BrokerMessage:
    """Return the message that stands for each wake-up of a task."""
    message = TaskiqMessage(task_id="wake-up", task_name=task_name, labels={}, args=[], kwargs={})
    return broker.formatter.dumps(message)


async def _nothing_to_acknowledge() -> None:
    """Do nothing: the reader deletes the message."""


class WorkerNotifier:
    """Sends wake-ups by task name. Never raises and never takes longer than half a second."""

    def __init__(self, generations: AsyncBroker, background_jobs: AsyncBroker) -> None:
        self.generations = generations.with_serializer(JSONSerializer())
        self.background_jobs = background_jobs.with_serializer(JSONSerializer())
        # Made once, because all wake-ups of a task are equal.
        self._for_generation = _wake_up(self.generations, GENERATION_TASK)
        self._for_job = _wake_up(self.background_jobs, JOB_TASK)

    @classmethod
    def in_process(cls) -> WorkerNotifier:
        """Create a notifier within this process."""
        return cls(InProcessBroker(), InProcessBroker())

    @classmethod
    def over_redis(cls, url: str) -> WorkerNotifier:
        """Create a notifier for the workers that use this Redis."""
        return cls(RedisBroker(url, GENERATION_TASK), RedisBroker(url, JOB_TASK))

    async def notify_generation(self) -> None:
        """Wake a worker up, because a generation may be due."""
        await self._send(self.generations, self._for_generation)

    async def notify_job(self) -> None:
        """Wake a worker up, because a background job may be due."""
        await self._send(self.background_jobs, self._for_job)

    async def ping(self) -> None:
        """Check that Redis answers. A notifier within one process needs no check.

        Raises:
            RedisError, OSError, TimeoutError: Redis does not answer.
        """
        if isinstance(self.generations, RedisBroker):
            async with asyncio.timeout(_SEND_SECONDS):
                await self.generations.ping()

    async def close(self) -> None:
        """Disconnect."""
        await self.generations.shutdown()
        await self.background_jobs.shutdown()

    async def _send(self, broker: AsyncBroker, message: BrokerMessage) -> None:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await broker.kick(message)
        except Exception as error:  # of any type: the sweeper finds the work
            WAKE_UPS_NOT_SENT.inc()
            log.warning("wake_up_send_failed", task=message.task_name, error=repr(error))
