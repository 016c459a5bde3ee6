"""The checks of `avatar-creator doctor`: the setup of the service, and a fix for each problem.

`start_up.py` has those without which `serve` does not start. The others are here: what a server
and its workers need later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

import httpx
import peewee
import structlog
from peewee import PeeweeException
from redis.exceptions import RedisError

import avatar_creator_server
from avatar_creator_server.core import Core
from avatar_creator_server.database.migrator import SchemaError, later_migrations, require_current
from avatar_creator_server.database.models import File
from avatar_creator_server.database.pooling import Pooling, allowed_connections, missing_timeouts
from avatar_creator_server.database.pooling import detect as detect_pooling
from avatar_creator_server.database.postgresql import TIMEOUTS
from avatar_creator_server.database.problems import database_problem, has_no_free_connection
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.pauses import Pauses, RouteNames, read_pauses
from avatar_creator_server.generations.queue_metrics import count_wrong_queues, read_queue_figures
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.generations.workers import WorkerRecord, WorkerState
from avatar_creator_server.operations.apps_check import check_apps
from avatar_creator_server.operations.checks import (
    ANSWER_SECONDS,
    CheckResult,
    advice_apart,
    unknown,
    within_limit,
)
from avatar_creator_server.operations.model_check import describe_license, describe_memory
from avatar_creator_server.operations.moderation_check import check_picture_moderation
from avatar_creator_server.operations.redis_problems import redis_problem
from avatar_creator_server.operations.resume_advice import end_of_drains, end_of_pauses
from avatar_creator_server.operations.setting_sources import describe_sources
from avatar_creator_server.operations.start_up import StartUp, StartUpCheck, has_database
from avatar_creator_server.operations.unused_settings import unused_settings
from avatar_creator_server.operations.versions import installed_versions
from avatar_creator_server.settings import NO_LORA, Settings, SettingsError, system_reason
from avatar_creator_server.shared.http import http_problem, open_http_client

log = structlog.get_logger()

_MAX_IDLE_SECONDS = 10.0
"""An idle worker claims a due generation within two seconds."""
_OF_ROWS = ("workers", "generations")
"""Checks that only read rows."""


async def run_checks(
    settings: Settings,
    start_up_checks: Sequence[StartUpCheck],
    *,
    ask_own_server: Callable[[Settings, str], Awaitable[bool]],
    require_installed: Callable[[Settings], None],
    try_classifier: Callable[[Settings], Awaitable[None]],
) -> list[CheckResult]:
    """Check what `serve` checks before it starts, and every part of the service that the settings name.

    Nothing is created. The check of a bucket writes a small object and deletes it.

    Args:
        settings: The settings of a server or a worker.
        start_up_checks: The checks of a server with these settings, in order.
        ask_own_server: See `StartUp`.
        require_installed: Raises a SettingsError if the provider's libraries are missing on this machine.
        try_classifier: Raises a SettingsError if the classifier of pictures cannot be used on this machine,
            and an UnavailableError if its service gives no usable answer.
    """
    start = StartUp(
        settings,
        connect=lambda database: within_limit(database.ping),
        ask_own_server=ask_own_server,
    )
    try:
        results = {"version": _version(), "sources": describe_sources(settings, os.environ)}
        for check in start_up_checks:
            earlier = results.get(check.name)
            if earlier is None or earlier.passed:
                result = await _guarded(check.name, partial(_start_up_result, check, start))
                if result.found:
                    results[check.name] = result
            if not results["settings"].passed:
                # All other checks need a service.
                return list(results.values())
        core, database = start.core, results["database"]
        if database.passed:
            database = results["database"] = await _guarded("database", partial(_check_database, core))
        has_tables = database.passed
        checks: dict[str, Callable[[], Awaitable[CheckResult]]] = {
            "queue": partial(_check_queue, core),
            "workers": partial(_check_workers, core),
            "generations": partial(_check_generations, core),
            "storage": partial(_check_storage, core, has_tables=has_tables),
            "provider": partial(_check_provider, core, require_installed, has_tables=has_tables),
        }
        if core.current_routes.depend_on_mapping:
            checks["apps"] = partial(check_apps, core, stores=has_tables)
        for name, examine in checks.items():
            if name in _OF_ROWS and not has_tables:
                results[name] = unknown(name, "unknown until the check database passes", database.fix)
            elif name not in results:  # `serve` accepts what it checks of this part
                results[name] = await _guarded(name, examine)
        moderation = partial(check_picture_moderation, settings, try_classifier)
        return [
            *results.values(),
            *await _check_model(core),
            *_check_prices(core.current_routes.if_all_offered.from_text),
            *_check_unused(settings),
            await _guarded("moderation", moderation),
        ]
    finally:
        await start.close()


def refused_settings(error: SettingsError) -> list[CheckResult]:
    """Return the results if a setting is invalid: the other checks need valid ones."""
    found, fix = advice_apart(str(error))
    return [_version(), describe_sources(None, os.environ), CheckResult("settings", False, found, fix)]


async def _guarded(name: str, check: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
    """Return the result of a check. One that ends with an error has not passed, and the others go on."""
    try:
        return await check()
    except (AvatarCreatorError, TimeoutError, PeeweeException) as error:
        cause = error.__cause__ or error
        log.warning("check_failed", check=name, error=repr(cause))
        found = f"unknown, because the database does not return its rows: {database_problem(cause)}"
        return unknown(name, found, "check the database, and run this again")
    except Exception as error:  # of any type: a report of all other checks is worth more than a traceback
        log.error("check_defective", check=name, exc_info=error)
        return unknown(
            name,
            f"this check has a defect ({type(error).__name__})",
            "report it with the log entry check_defective",
        )


async def _start_up_result(check: StartUpCheck, start: StartUp) -> CheckResult:
    """Run a check of `serve`, and return its finding, or the error with which `serve` ends."""
    try:
        return CheckResult(check.name, True, await check.require(start))
    except (SettingsError, SchemaError) as error:
        return CheckResult(check.name, False, *advice_apart(str(error), check.fix))
    except OSError as error:
        if not isinstance(error, TimeoutError):
            found = f"{error.filename or 'the operating system'}: {system_reason(error)}"
            return CheckResult(check.name, False, found, "give the user of the service access to it")
        return _database_refusal(start, check.name, error)
    except (AvatarCreatorError, PeeweeException) as error:
        return _database_refusal(start, check.name, error)


def _database_refusal(start: StartUp, name: str, error: Exception) -> CheckResult:
    cause = error.__cause__ or error
    log.warning("check_failed", check=name, error=repr(cause))
    embedded = start.settings.embedded
    found = f"{'SQLite' if embedded else 'PostgreSQL'} cannot be used: {database_problem(cause)}"
    if has_no_free_connection(cause):
        return CheckResult(name, False, found, _more_connections(start.settings))
    fix = (
        "make DATA_PATH a writable folder with an intact database"
        if embedded
        else "start PostgreSQL, and check DATABASE_URL"
    )
    return CheckResult(name, False, found, fix)


def _version() -> CheckResult:
    return CheckResult("version", True, installed_versions())


async def _check_database(core: Core) -> CheckResult:
    """Describe a database that `serve` accepts."""
    settings = core.settings
    if not settings.embedded:
        return await _check_pooling(core)
    if not has_database(settings):
        return unknown(
            "database",
            f"no service has run in {settings.data_path.absolute()} yet: `serve` would start a new one",
            "run this in the folder of the service, or set DATA_PATH to its folder; for a new service, run "
            "`avatar-creator serve`",
        )
    try:
        await within_limit(core.database.ping)
        later = await asyncio.to_thread(_require_current, core.database.peewee)
    except SchemaError:
        # Its rows cannot be read before.
        return unknown(
            "database",
            "SQLite, with the schema of an older version: `serve` will update it",
            "run `avatar-creator serve`",
        )
    state, advice = _schema_state(later)
    return CheckResult("database", True, f"SQLite in {settings.data_path.absolute()}, {state}", advice)


def _require_current(database: peewee.Database) -> list[str]:
    """Refuse the schema of an older version, and return the migrations of a newer one."""
    require_current(database)
    return later_migrations(database)


def _schema_state(later: Sequence[str]) -> tuple[str, str]:
    """Return what to say about a schema that has these migrations of a newer version, and advice."""
    if not later:
        return "schema up to date", ""
    return (
        f"with the schema of a newer version than this program (it has {later[-1]}, which this program does "
        "not know)",
        "finish the upgrade: install here the version that made this schema",
    )


async def _check_pooling(core: Core) -> CheckResult:
    settings = core.settings
    try:
        pooling = await asyncio.to_thread(detect_pooling, settings.database)
        role, missing = await core.database.read(missing_timeouts, core.database)
        later = await asyncio.to_thread(later_migrations, core.database.peewee)
    except (AvatarCreatorError, PeeweeException):
        found = "PostgreSQL does not accept a second connection"
        return CheckResult("database", False, found, _more_connections(settings))
    through = "" if pooling is Pooling.NONE else f" through {pooling.value}"
    connections, more_advice = await _describe_connections(core, pooling)
    state, advice = _schema_state(later)
    advice = "; ".join(filter(None, (advice, more_advice)))
    found = f"PostgreSQL{through}, {state}{connections}"
    if settings.pooled and missing:
        statements = "; ".join(f"ALTER ROLE {role} SET {name} = '{TIMEOUTS[name]}'" for name in missing)
        return CheckResult(
            "database",
            True,
            f"{found}; the role {role} has no {' and no '.join(missing)}, so nothing stops a slow read",
            f"run the SQL {statements}; then run RECONNECT in the pooler's console",
        )
    if pooling is Pooling.TRANSACTION and not settings.pooled:
        return CheckResult(
            "database",
            False,
            f"{found}; DATABASE_POOLER is not set, so this service changes the timeouts of other clients",
            "set DATABASE_POOLER=transaction, and MIGRATE_DATABASE_URL for `avatar-creator migrate`",
        )
    return CheckResult("database", True, found, advice)


async def _describe_connections(core: Core, pooling: Pooling) -> tuple[str, str]:
    """Return what is remarkable about the connections of this server and all workers, and advice."""
    settings = core.settings
    try:
        allowed, workers = await core.database.read(
            lambda: (allowed_connections(core.database), core.workers.read_all())
        )
    except (AvatarCreatorError, PeeweeException):
        return "", ""
    processes, live = settings.server_processes, sum(not worker.lost for worker in workers)
    # The supervisor of several processes has a connection too, for the metrics of the queue.
    own = 1 if processes > 1 and settings.metrics_address else 0
    needed = (processes + live) * _connections_of_process(settings) + own
    found = (
        f"; {processes:,} process(es) of this server and {live:,} worker(s) open up to {needed:,} connections"
    )
    if pooling is not Pooling.NONE:
        # Its limit, such as PgBouncer's max_client_conn, is visible only in its own console.
        return f"{found} to the pooler, which must allow so many clients" if processes > 1 else "", ""
    if needed <= allowed:
        return "", ""
    return (
        f"{found}, and PostgreSQL allows {allowed:,}",
        "lower DATABASE_CONNECTIONS or SERVER_PROCESSES, raise PostgreSQL's max_connections, or use a pooler",
    )


def _connections_of_process(settings: Settings) -> int:
    # One more than there are threads, because the health has a connection of its own.
    return settings.database_connections + 1


def _more_connections(settings: Settings) -> str:
    needed = _connections_of_process(settings)
    server = "server" if settings.server_processes == 1 else "process of a server"
    return (
        "allow more connections in PostgreSQL or its pooler, or lower DATABASE_CONNECTIONS: "
        f"each {server} and each worker needs up to {needed:,}"
    )


async def _check_queue(core: Core) -> CheckResult:
    if core.settings.embedded:
        return CheckResult("queue", True, "inside the `serve` process")
    try:
        await within_limit(core.notifier.ping)
    except (RedisError, OSError, TimeoutError) as error:
        fix = "start Redis, and check REDIS_URL; without Redis, each job starts up to a second late"
        log.warning("check_failed", check="queue", error=repr(error))
        return CheckResult("queue", False, f"Redis cannot be used: {redis_problem(error)}", fix)
    return CheckResult("queue", True, "Redis answers")


async def _check_workers(core: Core) -> CheckResult:
    workers = await within_limit(core.workers.list_all)
    pauses = await within_limit(lambda: core.database.read(read_pauses))
    provider = core.current_routes.if_all_offered.from_text.provider
    lost = [worker for worker in workers if worker.lost]
    live = [worker for worker in workers if not worker.lost]
    drained = [worker for worker in live if worker.state == WorkerState.DRAINING]
    others = [worker for worker in live if worker.provider != provider]
    taking = [worker for worker in live if worker.state == WorkerState.LIVE and worker not in others]
    stopped = [f"an operator drains {worker.name}" for worker in drained]
    stopped += [pause.sentence for pause in pauses]
    fixes = [end_of_pauses(pause.route for pause in pauses)] if pauses else []
    if drained:
        fixes.append(end_of_drains(worker.name for worker in drained))
    if core.settings.embedded:
        state = f"one inside the `serve` process, {_embedded_state(live, lost)}"
        return CheckResult("workers", not drained, "; ".join([state, *stopped]), "; ".join(fixes))
    version = avatar_creator_server.__version__
    none_is_alive = len(live) == len(others)
    found = [f"{len(taking):,} alive with {sum(worker.slots for worker in taking):,} slots"]
    if not taking:
        state = "is alive" if none_is_alive else "takes generations"
        found = [f"none that draws with {provider} {state}"]
    found += [f"{worker.name} draws with {worker.provider}" for worker in others]
    found += [f"{worker.name} has version {worker.version}" for worker in live if worker.version != version]
    found += [f"{worker.name} was lost {_ago(worker.unseen)}" for worker in lost]
    found += stopped
    if none_is_alive:
        fixes.append("start `avatar-creator worker` with these settings")
    if others:
        fixes.append("give all servers and workers the same PROVIDER")
    if any(worker.version != version for worker in live):
        fixes.append("finish the upgrade: restart the workers of another version")
    if taking and lost:
        fixes.append("look in the logs of the lost workers and of their hosts for the cause")
    return CheckResult("workers", bool(taking), "; ".join(found), "; ".join(fixes))


def _embedded_state(live: Sequence[WorkerRecord], lost: Sequence[WorkerRecord]) -> str:
    if live:
        return "which runs"
    if lost:
        return f"which ended without a clean stop {_ago(lost[0].unseen)}"
    return "which does not run"


def _ago(unseen: timedelta) -> str:
    seconds = round(unseen.total_seconds())
    if seconds < 120:
        return f"{seconds} seconds ago"
    return f"{seconds // 60} minutes ago" if seconds < 7200 else f"{seconds // 3600} hours ago"


async def _check_generations(core: Core) -> CheckResult:
    figures = await within_limit(lambda: core.database.read(read_queue_figures, core.database))
    wrong_queues = await within_limit(lambda: core.database.read(count_wrong_queues))
    due, waiting = (
        sum(number for (_, state), number in figures.depth.items() if state == counted)
        for counted in ("due", "waiting_to_retry")
    )
    found = (
        f"{due:,} due, {waiting:,} waiting to retry, {figures.live_leases:,} running, "
        f"{figures.expired_leases:,} with a lost worker"
    )
    idle_seconds = max(figures.oldest_due_seconds.values(), default=0.0)
    is_idle = due and not figures.live_leases and idle_seconds > _MAX_IDLE_SECONDS
    # Due generations of a stopped service wait as they should. The check of the workers says who stopped it.
    if is_idle and not await within_limit(lambda: core.database.read(_is_stopped, core)):
        found += f"; no worker has claimed one for {idle_seconds:,.0f} s"
        fix = (
            "look for errors in the log of `serve`"
            if core.settings.embedded
            else "check that `avatar-creator worker` is running"
        )
        return CheckResult("generations", False, found, fix)
    if wrong_queues:
        found += f"; {wrong_queues:,} queue(s) of users have another length than their generations"
        fix = "fill the table user_queues again, with the SQL under Restores in the operations guide"
        return CheckResult("generations", False, found, fix)
    return CheckResult("generations", True, found)


def _is_stopped(core: Core) -> bool:
    """Return whether operators have paused a route of the service or drained all its workers."""
    live = [worker for worker in core.workers.read_all() if not worker.lost]
    names = RouteNames.of(core.current_routes.if_all_offered)
    is_paused = bool(Pauses.among(read_pauses(), names).pauses)
    return is_paused or (bool(live) and all(worker.state == WorkerState.DRAINING for worker in live))


async def _check_storage(core: Core, *, has_tables: bool) -> CheckResult:
    settings = core.settings
    if not settings.storage_url:
        folder = settings.upload_path.absolute()
        # The check of the settings has found that the folder is writable.
        if folder.exists():
            return CheckResult("storage", True, f"{folder}: files can be written")
        if has_tables and await within_limit(lambda: core.database.read(File.select().exists)):
            found = f"{folder} does not exist, but the database has files in it"
            return CheckResult(
                "storage", False, found, "mount it, or set UPLOAD_PATH to the folder of the service"
            )
        return CheckResult("storage", True, f"{folder} does not exist yet: `serve` and `worker` create it")
    place = settings.storage_url
    try:
        await within_limit(core.files.check)
    except (AvatarCreatorError, TimeoutError) as error:
        problem = error.message if isinstance(error, AvatarCreatorError) else "no answer in time"
        fix = "check STORAGE_URL and the AWS_… variables, and that the bucket exists"
        return CheckResult("storage", False, f"{place}: {problem}", fix)
    return CheckResult("storage", True, f"{place}: a test object was written, read and deleted")


async def _check_provider(
    core: Core, require_installed: Callable[[Settings], None], *, has_tables: bool
) -> CheckResult:
    settings, route = core.settings, core.current_routes.if_all_offered.from_text
    if route.provider == "sketch":
        return CheckResult("provider", True, "sketch, which draws on this machine and needs no key")
    # If the database does not answer, its own check says so.
    with contextlib.suppress(AvatarCreatorError, TimeoutError, PeeweeException):
        async with asyncio.timeout(ANSWER_SECONDS):
            for circuit in await core.circuit_breakers.list_open() if has_tables else ():
                return CheckResult(
                    "provider",
                    False,
                    f"{circuit.reason} since {circuit.open_time:%Y-%m-%d %H:%M:%S} UTC on the route "
                    f"{circuit.route}: {circuit.message}",
                    "fix the API key or top up the credit; "
                    f"the next automatic retry is at {circuit.probe_time:%H:%M:%S} UTC",
                )
    lora = f" with {route.lora.repository}" if route.lora else ""
    model = f"{route.provider}, route {route.name}: {route.model}{lora}"
    if route.provider == "diffusers":
        try:
            require_installed(settings)
        except SettingsError as error:
            found, fix = advice_apart(str(error))
            return CheckResult("provider", False, found, f"{fix} (only workers need these libraries)")
        return CheckResult("provider", True, f"{model}; a worker loads the model for its first picture")
    if route.provider == "replicate":
        if not settings.replicate_api_token.get_secret_value():
            return CheckResult(
                "provider",
                False,
                f"{model}; REPLICATE_API_TOKEN is not set",
                "set REPLICATE_API_TOKEN for the workers; servers need only PROVIDER=replicate",
            )
        return await _check_reachable(model, settings.replicate_base_url, "REPLICATE_BASE_URL")
    if not settings.huggingface_api_key.get_secret_value():
        return CheckResult(
            "provider",
            False,
            f"{model}; HUGGINGFACE_API_KEY is not set",
            "set HUGGINGFACE_API_KEY for the workers; servers need only PROVIDER=huggingface",
        )
    if settings.huggingface_route == "endpoint":
        return await _check_reachable(model, settings.huggingface_endpoint_url, "HUGGINGFACE_ENDPOINT_URL")
    return await _check_reachable(model, settings.huggingface_base_url, "HUGGINGFACE_BASE_URL")


async def _check_model(core: Core) -> list[CheckResult]:
    """Return the check of the model, or nothing for a provider without one."""
    routes = list(core.current_routes.if_all_offered.named().values())
    if not routes[0].model:
        return []
    licenses, advice = describe_license(routes)
    found, fixes = [licenses], [advice]
    if routes[0].lora_dropped:
        found.append(f"the route {routes[0].name} draws without the LoRA {core.settings.chosen_lora}")
        fixes.append(f"set LORA_REPOSITORY={NO_LORA}, because the LoRA has no effect")
    if routes[0].provider == "diffusers":
        memory, fix = await describe_memory(core.settings)
        found.append(memory)
        fixes.append(fix)
    return [CheckResult("model", True, "; ".join(filter(None, found)), "; ".join(filter(None, fixes)))]


def _check_prices(route: Route) -> list[CheckResult]:
    if route.price_warning is None:
        return []
    return [
        CheckResult(
            "prices",
            True,
            f"{route.price_warning}, so SPEND_LIMIT_PER_DAY has no effect",
            f'set the price in US dollars per megapixel, as in PRICES_PER_MEGAPIXEL={{"{route.name}": 0.03}}',
        )
    ]


def _check_unused(settings: Settings) -> list[CheckResult]:
    unused = unused_settings(settings)
    if not unused:
        return []
    names = " and ".join(unused)
    return [CheckResult("unused", True, f"{settings.chosen_provider} ignores {names}", f"unset {names}")]


async def _check_reachable(model: str, url: str, variable: str) -> CheckResult:
    """Check that the URL, which comes from this variable, answers.

    The key is not sent, because only drawing shows whether it is valid.
    """
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            open_http_client(timeout=ANSWER_SECONDS) as http,
            # The body is not read: it may be endless.
            http.stream("GET", url),
        ):
            pass
    except SettingsError as error:
        return CheckResult("provider", False, *advice_apart(str(error)))
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        log.warning("check_failed", check="provider", error=repr(error))
        fix = f"check the network and {variable}"
        found = f"{model}; {url} does not answer: {http_problem(error)}"
        return CheckResult("provider", False, found, fix)
    return CheckResult("provider", True, f"{model}; {url} answers; the key was not tested")
