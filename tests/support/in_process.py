"""The service in the process of the test, for tests that control the provider.

Clients reach it over a real socket, and its database, Redis and files are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from avatar_creator import AsyncAvatarCreator
from avatar_creator_server.api.server import AvatarServer
from avatar_creator_server.core import Core
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.generation_runner import STORAGE_SECONDS
from avatar_creator_tasks.providers.base import Provider
from avatar_creator_tasks.worker import Worker
from tests.support.service import Deployment
from tests.support.sqlite_template import create_tables

_NO_GRACE = 0.0
_STOP_SECONDS = 30.0


class InProcessService:
    """A server and its workers. Only one at a time: a process has one database."""

    def __init__(self, deployment: Deployment, core: Core) -> None:
        self.deployment = deployment
        """Access to the database and the files. No process of the deployment runs."""
        self._core = core

    @classmethod
    @asynccontextmanager
    async def serving(cls, deployment: Deployment, **settings: str) -> AsyncIterator[InProcessService]:
        """Run a server without a worker while the context is open, with additional `settings`."""
        if deployment.is_embedded:
            create_tables(deployment)
        core = Core.wire(
            _settings(
                {
                    **deployment.settings,
                    "LISTEN_ADDRESS": deployment.target,
                    "WEB_ADDRESS": deployment.web_target,
                    **settings,
                }
            )
        )
        try:
            core.ensure_schema()
            core.files.create_folder()
            server = AvatarServer(core)
            await server.start()
            try:
                yield cls(deployment, core)
            finally:
                async with asyncio.timeout(_STOP_SECONDS):
                    await server.stop()
        finally:
            async with asyncio.timeout(_STOP_SECONDS):
                await core.close()

    def client(self, user: str) -> AsyncAvatarCreator:
        """Create a client for `user`. The caller must close it."""
        return AsyncAvatarCreator(self.deployment.target, token=self.deployment.token(user))

    async def wake_workers(self) -> None:
        """Make the workers look for due generations now, instead of within two seconds."""
        await self._core.notifier.notify_generation()

    @asynccontextmanager
    async def working(
        self,
        provider: Provider | None = None,
        *,
        grace_seconds: float = _NO_GRACE,
        storage_seconds: float = STORAGE_SECONDS,
    ) -> AsyncIterator[None]:
        """Run a worker while the context is open. Then stop it and wait for its end.

        Its provider is `provider`, or the one that the settings name.

        Raises:
            TimeoutError: The worker did not end within 30 s, and was cancelled.
        """
        finish = asyncio.Event()
        settings = self._core.settings.model_copy(update={"shutdown_grace_seconds": grace_seconds})
        core = replace(self._core, settings=settings)
        worker = asyncio.create_task(Worker(core, provider, storage_seconds=storage_seconds).run(finish))
        try:
            yield
        finally:
            finish.set()
            async with asyncio.timeout(_STOP_SECONDS):
                await worker


def _settings(environment: dict[str, str]) -> Settings:
    # Set every field, so that a developer's environment variables do not change the test.
    fields = Settings.model_fields.items()
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields}
    return Settings(**{**defaults, **{name.lower(): value for name, value in environment.items()}})
