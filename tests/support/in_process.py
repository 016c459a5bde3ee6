"""The service inside the test's own process, for tests that play the provider themselves.

Clients still reach it over a socket, and its database, Redis and files are as real as elsewhere.
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
from avatar_creator_tasks.providers.base import Provider
from avatar_creator_tasks.worker import Worker
from tests.support.service import Deployment

_NO_GRACE = 0.0


class InProcessService:
    """A server, and the workers a test starts beside it. One at a time: a process has one database."""

    def __init__(self, deployment: Deployment, core: Core) -> None:
        self.deployment = deployment
        """Where database and files are looked at; none of its processes run."""
        self._core = core

    @classmethod
    @asynccontextmanager
    async def serving(cls, deployment: Deployment, **settings: str) -> AsyncIterator[InProcessService]:
        """A server with the settings of `deployment` and these, while the context is open; no worker."""
        core = Core.wire(_settings({**deployment.settings, "LISTEN_ADDRESS": deployment.target, **settings}))
        try:
            core.ensure_schema()
            server = AvatarServer(core)
            await server.start()
            try:
                yield cls(deployment, core)
            finally:
                await server.stop()
        finally:
            await core.close()

    def client(self, user: str) -> AsyncAvatarCreator:
        """A client that calls as `user`. To be closed by the caller."""
        return AsyncAvatarCreator(self.deployment.target, token=self.deployment.token(user))

    async def wake_workers(self) -> None:
        """Let workers look for due generations at once rather than within a second or two."""
        await self._core.notifier.notify_generation()

    @asynccontextmanager
    async def working(self, provider: Provider, *, grace_seconds: float = _NO_GRACE) -> AsyncIterator[None]:
        """A worker that draws with `provider`. When the context closes it is told to stop, and waited for."""
        finish = asyncio.Event()
        settings = self._core.settings.model_copy(update={"shutdown_grace_seconds": grace_seconds})
        core = replace(self._core, settings=settings)
        worker = asyncio.create_task(Worker(core, provider).run(finish))
        try:
            yield
        finally:
            finish.set()
            await worker


def _settings(environment: dict[str, str]) -> Settings:
    # A developer's own variables must not change what is tested, so none is left to the environment.
    fields = Settings.model_fields.items()
    defaults = {name: field.get_default(call_default_factory=True) for name, field in fields}
    return Settings(**{**defaults, **{name.lower(): value for name, value in environment.items()}})
