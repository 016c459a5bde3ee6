"""`avatar-creator doctor`: what works, what does not, and how to mend it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
from peewee import PeeweeException
from redis.exceptions import RedisError

from avatar_creator_server.core import Core
from avatar_creator_server.database.migrator import SchemaError, require_current
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.queue_metrics import read_queue_figures
from avatar_creator_server.settings import Settings, SettingsError

_ANSWER_SECONDS = 10.0
_TAKEN_WITHIN_SECONDS = 10.0
"""An idle worker takes what is due within two seconds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    subject: str
    works: bool
    report: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty if it works."""


async def examine(settings: Settings) -> list[Finding]:
    """Check settings, database, queue, storage and provider, each as far as it can be reached."""
    try:
        core = Core.wire(settings)
        mode = "embedded" if settings.embedded else "distributed"
        if not settings.embedded:
            settings.signing_secret()
    except SettingsError as error:
        return [Finding("settings", False, str(error), "change the settings as said")]
    try:
        return [
            Finding("settings", True, f"{mode} service on {settings.listen_address}"),
            await _database(core),
            await _queue(core),
            await _generations(core),
            await _storage(core),
            await _provider(core),
        ]
    finally:
        await core.close()


async def _database(core: Core) -> Finding:
    embedded = core.settings.embedded
    kind = "SQLite" if embedded else "PostgreSQL"
    try:
        await _within_limit(core.database.ping)
    except (AvatarCreatorError, TimeoutError, PeeweeException) as error:
        cause = _first_line(error.__cause__ or error)
        remedy = "make DATA_PATH a writable folder" if embedded else "start it, and check DATABASE_URL"
        return Finding("database", False, f"{kind} does not answer: {cause}", remedy)
    try:
        await asyncio.to_thread(require_current, core.database.peewee)
    except SchemaError as error:
        if embedded:
            return Finding("database", True, f"{kind}; `serve` will create its tables")
        return Finding("database", False, str(error), "run `avatar-creator migrate`")
    return Finding("database", True, f"{kind}, schema up to date")


async def _queue(core: Core) -> Finding:
    if core.settings.embedded:
        return Finding("queue", True, "in the process of `serve`")
    try:
        await _within_limit(core.notifier.ping)
    except (RedisError, OSError, TimeoutError) as error:
        remedy = "start Redis, and check REDIS_URL; until then work starts a second late"
        return Finding("queue", False, f"Redis does not answer: {_first_line(error)}", remedy)
    return Finding("queue", True, "Redis answers")


async def _generations(core: Core) -> Finding:
    try:
        figures = await _within_limit(lambda: core.database.read(read_queue_figures, core.database))
    except (AvatarCreatorError, TimeoutError, PeeweeException):
        return Finding("generations", True, "unknown without the database's tables")
    due, waiting = (
        sum(number for (_, state), number in figures.depth.items() if state == wanted)
        for wanted in ("due", "waiting")
    )
    report = (
        f"{due:,} due, {waiting:,} waiting to be tried again, {figures.live_leases:,} being made, "
        f"{figures.expired_leases:,} whose worker is gone"
    )
    idle_seconds = max(figures.oldest_due_seconds.values(), default=0.0)
    if due and not figures.live_leases and idle_seconds > _TAKEN_WITHIN_SECONDS:
        where = "in the log of `serve`" if core.settings.embedded else "whether `avatar-creator worker` runs"
        return Finding(
            "generations", False, f"{report}; none was taken for {idle_seconds:,.0f} s", f"see {where}"
        )
    return Finding("generations", True, report)


async def _storage(core: Core) -> Finding:
    settings = core.settings
    place = settings.storage_url or str(settings.upload_path.absolute())
    try:
        await _within_limit(core.files.check)
    except (AvatarCreatorError, TimeoutError) as error:
        remedy = (
            "check STORAGE_URL and the AWS_… variables"
            if settings.storage_url
            else "make UPLOAD_PATH a writable folder"
        )
        return Finding("storage", False, f"{place}: {_first_line(error)}", remedy)
    return Finding("storage", True, f"{place} takes, gives and removes files")


async def _provider(core: Core) -> Finding:
    settings, route = core.settings, core.routes.from_text
    if route.provider == "sketch":
        return Finding("provider", True, "sketch: draws on this machine and needs nothing")
    with contextlib.suppress(
        AvatarCreatorError, TimeoutError, PeeweeException
    ):  # told by the database's finding
        async with asyncio.timeout(_ANSWER_SECONDS):
            for circuit in await core.circuit_breakers.list_open():
                return Finding(
                    "provider",
                    False,
                    f"{circuit.reason} since {circuit.open_time:%Y-%m-%d %H:%M:%S} UTC on the route "
                    f"{circuit.route}: {circuit.message}",
                    f"mend the key or the credit; tried again from {circuit.probe_time:%H:%M:%S} UTC on",
                )
    lora = f" with {route.lora.repository}" if route.lora else ""
    model = f"{route.provider}, route {route.name}: {route.model}{lora}"
    if route.provider == "diffusers":
        return Finding("provider", True, f"{model}; a worker loads it when it first draws")
    if not settings.huggingface_api_key.get_secret_value():
        return Finding(
            "provider",
            False,
            f"{model}; no HUGGINGFACE_API_KEY",
            "set it for the workers; servers need only PROVIDER=huggingface",
        )
    return await _reachable(model, settings.huggingface_endpoint_url or settings.huggingface_base_url)


async def _reachable(model: str, url: str) -> Finding:
    """Whether anything answers there. The key is not sent: only drawing shows whether it is good."""
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as http:
            await http.get(url)
    except httpx.HTTPError as error:
        remedy = "check the network, HUGGINGFACE_BASE_URL and HUGGINGFACE_ENDPOINT_URL"
        return Finding("provider", False, f"{url} does not answer: {type(error).__name__}", remedy)
    return Finding("provider", True, f"{model}; {url} answers")


async def _within_limit(check: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(_ANSWER_SECONDS):
        return await check()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
