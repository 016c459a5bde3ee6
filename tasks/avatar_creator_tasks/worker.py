"""The worker: slots for generations and for background jobs, woken by messages and by its own sweeper."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

import structlog
from taskiq import AsyncBroker
from taskiq.acks import AcknowledgeType
from taskiq.receiver import Receiver

import avatar_creator_server
from avatar_creator_server.core import Core
from avatar_creator_server.generations.workers import WorkerIdentity
from avatar_creator_server.operations.metrics_exporter import serve_metrics
from avatar_creator_server.shared.worker_notifier import GENERATION_TASK, JOB_TASK, InProcessNotifier
from avatar_creator_tasks.brokers import InProcessBroker, RedisBroker
from avatar_creator_tasks.generation_runner import STORAGE_SECONDS, GenerationRunner
from avatar_creator_tasks.job_runner import JobRunner
from avatar_creator_tasks.mapping_reader import MappingReader
from avatar_creator_tasks.picture_moderation import make_moderator
from avatar_creator_tasks.presence import Presence
from avatar_creator_tasks.providers.base import Provider
from avatar_creator_tasks.providers.factory import make_provider
from avatar_creator_tasks.slots import Slots
from avatar_creator_tasks.sweeper import Sweeper

log = structlog.get_logger()

GENERATION_SLOTS = 2
"""Generations that a worker runs at the same time, unless its provider draws fewer."""
JOB_SLOTS = 2
"""Background jobs that a worker runs at the same time."""


class Worker:
    """The slots, listeners and sweeper of one process."""

    def __init__(
        self, core: Core, provider: Provider | None = None, *, storage_seconds: float = STORAGE_SECONDS
    ) -> None:
        """Create the worker.

        Args:
            core: The parts that all processes share.
            provider: Draws the pictures; None means the provider of the settings.
            storage_seconds: Time for which a worker repeats to store a picture while the storage is away.
        """
        self._core = core
        self._provider = provider or make_provider(core.settings, core.decoders)
        host = socket.gethostname()
        self._name = f"{host}-{os.getpid()}-{os.urandom(3).hex()}"
        self._moderator = make_moderator(core.settings)
        runner = GenerationRunner(
            self._name, core, self._provider, self._moderator, storage_seconds=storage_seconds
        )
        job_runner = JobRunner(
            core.background_jobs,
            core.avatars,
            core.files,
            core.decoders,
            core.project_deletion,
            core.bus,
            self._provider,
        )
        self._generation_slots = min(GENERATION_SLOTS, self._provider.max_concurrency)
        self._generations = Slots("generation", self._generation_slots, runner.run_one)
        self._background_jobs = Slots("background_job", JOB_SLOTS, job_runner.run_one)
        identity = WorkerIdentity(
            name=self._name,
            version=avatar_creator_server.__version__,
            host=host,
            provider=core.current_routes.if_all_offered.from_text.provider,
            slots=self._generation_slots,
        )
        self._presence = Presence(core.workers, identity)
        self.ready = asyncio.Event()
        """Set when the worker runs and its row is written."""

    async def run(self, finish: asyncio.Event) -> None:
        """Run jobs until `finish` is set, then stop.

        Running jobs get the grace period to finish; the others go back to the queue.

        Raises:
            SettingsError: The classifier that checks the pictures cannot be used.
        """
        if self._core.settings.missing_key:
            # The worker starts all the same, because fakes and open endpoints need no key.
            log.warning("provider_key_missed", variable=self._core.settings.missing_key)
        # Before the first claim: a picture that cannot be checked would have to be withheld.
        await self._moderator.load()
        # Before the first claim, so that a server never shows a running generation without its worker.
        await self._presence.start()
        sweeper = Sweeper(
            self._core.database, self._core.files, self._name, self._generations, self._background_jobs
        )
        generations, background_jobs = self._broker(GENERATION_TASK), self._broker(JOB_TASK)
        background = [
            asyncio.create_task(sweeper.run(), name="sweeper"),
            asyncio.create_task(
                _listen(generations, GENERATION_TASK, self._generations, self._generation_slots)
            ),
            asyncio.create_task(_listen(background_jobs, JOB_TASK, self._background_jobs, JOB_SLOTS)),
        ]
        # Not in `background`: this one ends if the service does not draw through the router.
        mapping_reader = MappingReader(self._core.current_routes, self._core.settings.huggingface_hub_url)
        reading = asyncio.create_task(mapping_reader.run(), name="mapping-reader")
        self.ready.set()
        log.info(
            "worker_ready",
            version=avatar_creator_server.__version__,
            worker=self._name,
            provider=self._core.current_routes.if_all_offered.from_text.provider,
        )
        finished = asyncio.create_task(finish.wait())
        try:
            ended, _ = await asyncio.wait({finished, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                # A background task ends only with an error, which ends the worker too.
                task.result()
        finally:
            log.info("worker_stopping", worker=self._name)
            for task in (finished, reading, *background):
                task.cancel()
            await asyncio.gather(finished, reading, *background, return_exceptions=True)
            grace_seconds = self._core.settings.shutdown_grace_seconds
            await asyncio.gather(
                self._presence.stop(),
                self._generations.stop(grace_seconds),
                self._background_jobs.stop(grace_seconds),
            )
            await self._provider.close()
            await self._moderator.close()
            # Last, because Taskiq's receiver leaves a task that still reads.
            await asyncio.gather(generations.shutdown(), background_jobs.shutdown())
            log.info("worker_stopped", worker=self._name)

    def _broker(self, task: str) -> AsyncBroker:
        notifier = self._core.notifier
        if isinstance(notifier, InProcessNotifier):
            return InProcessBroker(task, notifier.wake_ups[task])
        return RedisBroker(task, self._core.settings.redis)


async def _listen(broker: AsyncBroker, task: str, slots: Slots, size: int) -> None:
    """Let Taskiq's receiver turn messages into wake-ups until cancelled."""

    async def wake_up() -> None:
        # Without this, Taskiq logs an error whenever a worker stops while its slots are busy.
        with contextlib.suppress(asyncio.CancelledError):
            await slots.wake()

    broker.register_task(wake_up, task_name=task)
    receiver = Receiver(
        broker,
        max_async_tasks=size,
        ack_type=AcknowledgeType.WHEN_RECEIVED,
        validate_params=False,
    )
    await receiver.listen(asyncio.Event())


async def work(core: Core, finish: asyncio.Event) -> None:
    """Run a worker process until `finish` is set.

    Raises:
        SchemaError: The database does not have the schema that this code needs.
        SettingsError: The worker cannot use a library or a folder that the settings need.
    """
    try:
        if not await core.database.wait_for_free_connection(finish):
            return
        core.ensure_schema()
        core.files.create_folder()
        worker = Worker(core)
        serve_metrics(core.settings.metrics_address)
        await core.bus.start()
        await worker.run(finish)
    finally:
        await core.close()
