"""The conditions without which the worker of an embedded service does not start."""

from __future__ import annotations

from avatar_creator_server.operations.start_up import StartUp, StartUpCheck
from avatar_creator_tasks.picture_moderation import make_moderator
from avatar_creator_tasks.providers.factory import make_provider


async def _require_provider(start: StartUp) -> str:
    provider = make_provider(start.settings, start.core.decoders)
    await provider.close()
    return ""


async def _require_moderator(start: StartUp) -> str:
    moderator = make_moderator(start.settings)
    await moderator.close()
    return ""


WORKER_CHECKS = (StartUpCheck("settings", _require_provider), StartUpCheck("settings", _require_moderator))
"""Each loads nothing: a worker loads its models later."""
