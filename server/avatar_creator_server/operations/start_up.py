"""The conditions without which a server does not start: one list, in order.

`serve` runs it and refuses to start at the first failure. `doctor` runs all of it and reports each check. So
`doctor` reports each refusal of `serve` with the same sentence. A check creates and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import peewee
from redis.exceptions import RedisError

from avatar_creator_server.addresses import reachable
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.migrator import (
    migration_lock_of,
    refuse_foreign_tables,
    require_current,
)
from avatar_creator_server.images.picture_links import PictureLinks, Variant
from avatar_creator_server.operations.checks import ANSWER_SECONDS, NO_ADVICE
from avatar_creator_server.operations.database_lock import address_of_service, in_use, is_locked
from avatar_creator_server.operations.listening import (
    listen_error,
    require_own_address,
    require_probe_socket,
    require_shared_ports,
)
from avatar_creator_server.operations.redis_problems import redis_problem, refuses
from avatar_creator_server.settings import Settings, SettingsError, system_reason
from avatar_creator_server.settings.database_urls import sqlite_path
from avatar_creator_server.settings.folders import require_lockable, require_writable_folder

if TYPE_CHECKING:
    from avatar_creator_server.core import Core

ALIVE_PATH = "/healthz"
"""Path of the web port that a running server answers."""
ALIVE_TEXT = "avatar-creator is alive"
_OWN_METRIC = b"avatar_creator_"
_STORAGE_SECONDS = 3.0
"""Maximum time for which a start waits for the storage, which may be away."""
_MOST_METRICS_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StartUpCheck:
    """A condition without which `serve` does not start."""

    name: str
    """Name of the check in the report of `doctor`. Several checks may share one."""
    require: Callable[[StartUp], Awaitable[str]]
    """Returns what it found, for a person; empty if that says nothing new. It raises the error with which
    `serve` ends."""
    fix: str = NO_ADVICE
    """Advice if the error has none of its own."""


class StartUp:
    """One start, or the examination of one."""

    def __init__(
        self,
        settings: Settings,
        *,
        shares_address: bool = False,
        connect: Callable[[Database], Awaitable[None]] = Database.ping,
        ask_own_server: Callable[[Settings, str], Awaitable[bool]] | None = None,
    ) -> None:
        """Begin without a check.

        Args:
            settings: The settings of the server.
            shares_address: True for one of several processes: their supervisor has the address.
            connect: Returns when the database accepts a connection.
            ask_own_server: Returns whether a server that accepts this service's tokens has an address.
                Raises a SettingsError if that server is not healthy. None refuses any server in the way.
        """
        self.settings = settings
        self.shares_address = shares_address
        self.connect = connect
        self._ask_own_server = ask_own_server
        self._core: Core | None = None
        self.running_at = ""
        """Address of this service's own server; empty unless one was found and is healthy."""

    @property
    def core(self) -> Core:
        """The parts of the process, wired at the first use.

        Raises:
            SettingsError: The settings do not form a service.
        """
        if self._core is None:
            # The supervisor of several processes needs no core, and its imports cost memory.
            from avatar_creator_server.core import Core

            self._core = Core.wire(self.settings)
        return self._core

    @property
    def database_file(self) -> Path | None:
        """The file of the embedded service's database; None with PostgreSQL."""
        return Path(sqlite_path(self.settings.database)) if self.settings.embedded else None

    async def find_own_server(self) -> bool:
        """Return whether this service's own server runs, and remember its address.

        The server of an embedded service may have another address than these settings.

        Raises:
            SettingsError: That server is not healthy.
        """
        if self._ask_own_server is None:
            return False
        address, path = self.settings.listen_address, self.database_file
        if path is not None:
            if not is_locked(path):
                return False  # A server at the address would have another folder.
            address = address_of_service(path) or address
        if await self._ask_own_server(self.settings, address):
            self.running_at = address
        return bool(self.running_at)

    async def close(self) -> None:
        """Disconnect from everything."""
        if self._core is not None:
            await self._core.close()


async def require_all(start: StartUp, checks: Sequence[StartUpCheck]) -> None:
    """Run the checks in their order.

    Raises:
        SettingsError, SchemaError, PeeweeException, OSError: The first check that fails says why.
    """
    for check in checks:
        await check.require(start)


def has_database(settings: Settings) -> bool:
    """Return whether an embedded service has a database already. PostgreSQL must say so itself."""
    if not settings.embedded:
        return True
    path = Path(sqlite_path(settings.database))
    return path.exists() and path.stat().st_size > 0


def require_existing_database(settings: Settings) -> None:
    """Refuse the folder of an embedded service that has never run: what reads its database would create it.

    Raises:
        SettingsError: There is no database.
    """
    if not has_database(settings):
        raise SettingsError(
            f"no service has run in {settings.data_path.absolute()} yet: run this in the folder of the "
            "service, or set DATA_PATH to its folder"
        )


async def _require_combination(start: StartUp) -> str:
    settings = start.settings
    settings.require_legal_combination()
    settings.require_signing_secret()
    mode = "embedded" if settings.embedded else "distributed"
    return f"{mode} service on {settings.listen_address}"


async def _require_address(start: StartUp) -> str:
    address = start.settings.listen_address
    if start.shares_address:
        return f"the supervisor has {address}"
    require_own_address("LISTEN_ADDRESS", address)
    if start.settings.server_processes > 1:
        require_shared_ports()
    error = listen_error("LISTEN_ADDRESS", address)
    if error is None and not start.settings.embedded:
        return f"{address} is free"
    if await start.find_own_server():
        if reachable(start.running_at) == reachable(address):
            return f"{address} is held by this service's own server, which is healthy"
        return f"this service's own server runs on {start.running_at} instead of {address}, and is healthy"
    if error is not None:
        raise error
    return f"{address} is free"


async def _require_metrics_address(start: StartUp) -> str:
    address = start.settings.metrics_address
    if not address:
        return ""
    require_own_address("METRICS_ADDRESS", address)
    error = listen_error("METRICS_ADDRESS", address)
    if error is None:
        return f"{address} is free"
    if not (start.running_at and await _has_own_metrics(address)):
        raise error
    return f"{address} is held by this service's own server"


async def _require_web_address(start: StartUp) -> str:
    address = start.settings.web_listen_address
    if not address:
        return "there is no web port"
    if start.shares_address:
        return f"the supervisor has {address}"
    require_own_address("WEB_ADDRESS", address)
    error = listen_error("WEB_ADDRESS", address)
    if error is None:
        return f"{address} is free"
    if start.running_at and await _has_own_web_port(start.settings):
        return f"{address} is held by this service's own server"
    if start.settings.web_address:
        raise error
    return f"another program has {address}, so there is no web port: set WEB_ADDRESS to a free address"


async def _has_own_web_port(settings: Settings) -> bool:
    """Return whether a server of this service answers at the web port: it has our secret."""
    # Imported only here, as below.
    import httpx

    scheme = "http" if settings.tls_certificate_file is None else "https"
    address = f"{scheme}://{reachable(settings.web_listen_address)}"
    links = PictureLinks(settings.signing_secret)
    links.serve_at(address)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS, verify=False) as http:
            alive = await http.get(f"{address}{ALIVE_PATH}")
            if alive.text.strip() != ALIVE_TEXT:
                return False
            # No avatar has this id. A server with another secret refuses the link before it looks for one.
            picture = await http.get(links.make("none", Variant.THUMBNAIL))
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return bool(picture.status_code != httpx.codes.FORBIDDEN)


async def _has_own_metrics(address: str) -> bool:
    """Return whether a process of this service answers with metrics."""
    # Imported only here: a server never asks, and httpx takes 5 MB of memory.
    import httpx

    from avatar_creator_server.shared.http import NO_COMPRESSION

    content = b""
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as http,
            http.stream("GET", f"http://{reachable(address)}/metrics", headers=NO_COMPRESSION) as response,
        ):
            async for chunk in response.aiter_raw():
                content += chunk
                if _OWN_METRIC in content or len(content) > _MOST_METRICS_BYTES:
                    break
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return False
    return _OWN_METRIC in content


async def _require_parts(start: StartUp) -> str:
    settings, _ = start.settings, start.core
    require_probe_socket()
    if settings.embedded and not settings.jwt_secret and not settings.secret_file.exists():
        # The service will generate one there.
        _require_folder("DATA_PATH", settings.data_path)
    if settings.spool_path is not None:
        if not settings.spool_path.is_dir():
            raise SettingsError(
                f"SPOOL_PATH must be a folder: {settings.spool_path} is none: create it, or unset SPOOL_PATH"
            )
        _require_folder("SPOOL_PATH", settings.spool_path)
    return ""


def _require_folder(variable: str, folder: Path) -> None:
    try:
        require_writable_folder(folder)
    except OSError as error:
        raise SettingsError(
            f"{variable} must be a folder that the service can write to: {folder}: {system_reason(error)}"
        ) from error


async def _require_queue(start: StartUp) -> str:
    settings = start.settings
    if settings.embedded:
        return ""
    try:
        await start.core.notifier.ping()
    except (RedisError, OSError, TimeoutError) as error:
        if refuses(error):
            raise SettingsError(
                f"Redis cannot be used: {redis_problem(error)}: check {settings.redis_variable}"
            ) from error
        # A server works without Redis, and finds it when it is back.
    return ""


async def _require_storage(start: StartUp) -> str:
    if start.settings.storage_url:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STORAGE_SECONDS):
                await start.core.files.require_accepted()
    return ""


async def _require_database(start: StartUp) -> str:
    database, path = start.core.database, start.database_file
    if path is None:
        await start.connect(database)
        # On the connection of this thread, which `serve` has just waited for.
        require_current(database.peewee)
        return "PostgreSQL, schema up to date"
    require_lockable(migration_lock_of(path))
    if is_locked(path) and not start.running_at:
        raise in_use(path)
    if not has_database(start.settings):
        return "SQLite; the first `serve` creates it"
    await asyncio.to_thread(_require_own_tables, path)
    return "SQLite"


def _require_own_tables(path: Path) -> None:
    # Not by the service's own connection, which changes the journal of a database that is not ours.
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    except sqlite3.DatabaseError as error:
        raise peewee.DatabaseError(str(error)) from error
    refuse_foreign_tables({str(name) for (name,) in rows})


SETTINGS_CHECKS = (
    StartUpCheck("settings", _require_combination),
    StartUpCheck(
        "address",
        _require_address,
        "stop the program that has the port (`ss -ltnp` names it), or set LISTEN_ADDRESS to a free "
        "address of this machine",
    ),
    StartUpCheck(
        "metrics",
        _require_metrics_address,
        "stop the program that has the port (`ss -ltnp` names it), or set METRICS_ADDRESS to a free "
        "address of this machine",
    ),
    StartUpCheck(
        "web",
        _require_web_address,
        "stop the program that has the port (`ss -ltnp` names it), set WEB_ADDRESS to a free address of this "
        "machine, or set it to none",
    ),
)
"""Checks that the supervisor of several processes also makes, before it starts them."""

SERVER_CHECKS = (
    *SETTINGS_CHECKS,
    StartUpCheck("settings", _require_parts),
    StartUpCheck("database", _require_database),
    StartUpCheck("queue", _require_queue),
    StartUpCheck("storage", _require_storage),
)
"""Checks of every server."""
