"""The commands that run the service. Each imports what it needs, so that the other commands start fast."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from avatar_creator_server.operations.file_audit import FileAudit
    from avatar_creator_server.operations.listening import Ports
    from avatar_creator_server.settings import Settings

commands = typer.Typer()

_PANEL = "Running the service"

_output = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)

_LONGEST_TOKEN_SECONDS = 100 * 365 * 86_400

_SERVE_PROCESS = "serve-process"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Role = Literal["ops"]
T = TypeVar("T")


@commands.command(rich_help_panel=_PANEL, epilog="Example: avatar-creator serve --processes 4")
def serve(
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Processes that share the port, for as many cores; with PostgreSQL only.",
            show_default="SERVER_PROCESSES, or 1",
        ),
    ] = None,
) -> None:
    """Start the gRPC server on LISTEN_ADDRESS; without DATABASE_URL and REDIS_URL it includes a worker."""
    from avatar_creator_server.operations.private_files import tighten_permissions
    from avatar_creator_server.shared.memory import keep_few_arenas

    keep_few_arenas()
    settings = _settings(**({} if processes is None else {"server_processes": processes}))
    tighten_permissions(settings)
    # Each case imports what it needs: the supervisor needs no gRPC.
    if settings.server_processes > 1:
        from avatar_creator_server.operations.supervisor import supervise

        # The working folder of the service has no modules.
        command = (sys.executable, "-P", "-m", "avatar_creator_server.cli", _SERVE_PROCESS)
        code = _run_until_signal(
            lambda finish: supervise(
                settings, command, os.environ, finish, on_ready=partial(_say_next, settings)
            )
        )
        raise typer.Exit(code)
    from avatar_creator_server.api.server import serve as serve_until

    _run_until_signal(lambda finish: serve_until(settings, finish, on_ready=partial(_say_next, settings)))


@commands.command(_SERVE_PROCESS, hidden=True)
def serve_process(number: int) -> None:
    """Serve as one of several processes; `serve` starts it."""
    from avatar_creator_server.operations.server_process import ServerProcess

    process = ServerProcess(number)  # before the import of the server, which imports the metrics

    from avatar_creator_server.api.server import serve as serve_until
    from avatar_creator_server.shared.memory import keep_few_arenas

    keep_few_arenas()
    settings = _settings(process=number)
    _run_until_signal(lambda finish: serve_until(settings, finish, process))


@commands.command(rich_help_panel=_PANEL, epilog="Example: avatar-creator worker")
def worker() -> None:
    """Start a worker: it draws up to two pictures at a time and does the background jobs of the servers."""
    from avatar_creator_server.core import Core
    from avatar_creator_server.operations.private_files import tighten_permissions
    from avatar_creator_server.settings import SettingsError
    from avatar_creator_server.shared.memory import keep_few_arenas
    from avatar_creator_tasks.worker import work

    keep_few_arenas()
    settings = _settings()
    # First, so that a worker refuses invalid settings with the same message as a server.
    core = Core.wire(settings)
    if settings.embedded:
        raise SettingsError(
            "the embedded service already runs a worker inside `serve`: to run separate workers, "
            "set DATABASE_URL and REDIS_URL"
        )
    tighten_permissions(settings)
    _run_until_signal(lambda finish: work(core, finish))


@commands.command(rich_help_panel=_PANEL, epilog="Example: avatar-creator migrate")
def migrate(as_json: AsJson = False) -> None:
    """Update the database to this version's schema; it is safe to run at any time."""
    from avatar_creator_server.database.connection import open_database
    from avatar_creator_server.database.migrator import migrate as migrate_database
    from avatar_creator_server.database.pooling import require_direct

    settings = _settings()
    url = settings.migrate_database
    if settings.migrate_database_url:
        require_direct(url)
    applied = migrate_database(open_database(url))
    if as_json:
        typer.echo(json.dumps({"applied": applied}))
        return
    for name in applied:
        _output.print(f"applied {name}")
    _output.print(f"The schema is up to date ({len(applied)} migration(s) applied now).")


@commands.command(
    rich_help_panel=_PANEL, epilog="Example: avatar-creator token --user sarah --expires-in 3600"
)
def token(
    user: Annotated[str, typer.Option(metavar="USER_ID", help="The user whose token it is.")],
    expires_in: Annotated[
        int,
        typer.Option(
            metavar="SECONDS", help="How long the token is valid.", min=1, max=_LONGEST_TOKEN_SECONDS
        ),
    ] = 86_400,
    app_id: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="APP_ID",
            help="Limit the token to this app: it can record usage of no other app.",
        ),
    ] = None,
    role: Annotated[
        Role | None,
        typer.Option(help="Allow reading all users' data, and cancelling and retrying their generations."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a token for a user, signed with JWT_SECRET or with the embedded service's own secret."""
    from avatar_creator_server.api.tokens import mint_token
    from avatar_creator_server.api.validation import NAME
    from avatar_creator_server.cli.errors import CommandError
    from avatar_creator_server.shared.caller import is_user_id

    settings = _settings()
    if not is_user_id(user):
        raise CommandError(
            "--user must have 1 to 128 letters, digits and . _ @ | : + -, and begin with a letter, a digit, "
            f"_ or -; - alone is not a user id (got {user})"
        )
    if app_id is not None and (problem := NAME(app_id)) is not None:
        raise CommandError(f"--app {problem}")
    new_secret = settings.embedded and not settings.jwt_secret and not settings.secret_file.exists()
    token = mint_token(settings, user, expires_in, app_id=app_id or "", role=role or "")
    typer.echo(json.dumps({"token": token}) if as_json else token)
    if new_secret:
        _errors.print(
            f"note: no service has run in {escape(str(settings.data_path.absolute()))} yet; "
            "this token is valid only for a service with this DATA_PATH",
            soft_wrap=True,
        )


@commands.command(rich_help_panel=_PANEL, epilog="Example: avatar-creator demo --folder avatar-creator-demo")
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for the service's data and the pictures.",
            show_default="a new temporary folder",
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Serve what the demo has made until Ctrl-C, and print a link that opens it."
        ),
    ] = False,
) -> None:
    """Start an embedded service, upload a photograph, generate a portrait, and show the progress."""
    import uvloop

    from avatar_creator_server.cli.interrupts import TerminatedError
    from avatar_creator_server.demo.run import run_demo
    from avatar_creator_server.logs import configure_logging
    from avatar_creator_server.redaction import Redactor

    async def until_sigterm() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await run_demo(data, _output, keep=keep)

    configure_logging("warning", Redactor(os.environ))
    data = folder or Path(tempfile.mkdtemp(prefix="avatar-creator-demo-"))
    data.mkdir(parents=True, exist_ok=True)
    try:
        uvloop.run(until_sigterm())
    except (KeyboardInterrupt, asyncio.CancelledError) as interrupt:
        _errors.print(
            f"note: the demo and its service have stopped; their data is in {escape(str(data))}",
            soft_wrap=True,
        )
        if isinstance(interrupt, asyncio.CancelledError):
            raise TerminatedError from None
        raise


@commands.command(rich_help_panel=_PANEL, epilog="Example: avatar-creator doctor")
def doctor(
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="Compare every stored file with the database instead, in both directions."
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="With --files: remove files that no row knows, and make local files private."
        ),
    ] = False,
    remove: Annotated[
        int | None,
        typer.Option(
            "--remove",
            metavar="NUMBER",
            help="With --repair: confirm the number of files that no row knows, if they are many.",
            min=1,
        ),
    ] = None,
    older_than_hours: Annotated[
        int,
        typer.Option(
            "--older-than",
            metavar="HOURS",
            help="With --files: leave out younger files without a row.",
            min=1,
        ),
    ] = 24,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ask this running server instead; https://HOST:PORT connects with TLS. The workers need a "
            "token with role ops.",
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="With --target: connect with TLS.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Check what `serve` checks and all that the settings point to, or a running server; suggest fixes."""
    from avatar_creator_server.cli.errors import CommandError

    if remove is not None and not (files and repair):
        raise CommandError("--remove works only together with --files --repair")
    if files and target is not None:
        raise CommandError("--files reads the storage and the database of the settings: leave out --target")
    if tls and target is None:
        raise CommandError("--tls works only together with --target")
    if files:
        _check_files(
            repair=repair,
            older_than_seconds=older_than_hours * 3600.0,
            confirmed=remove,
            as_json=as_json,
        )
        return
    if repair:
        raise CommandError("--repair works only together with --files")
    passed = _check_service(as_json) if target is None else _check_target(target, tls=tls, as_json=as_json)
    if not passed:
        raise typer.Exit(1)


def _check_service(as_json: bool) -> bool:
    """Print the checks of a service with these settings, and return whether all passed."""
    import uvloop

    from avatar_creator_server.api.server import start_up_checks
    from avatar_creator_server.cli.check_report import checks_as_json, print_checks, without_secrets
    from avatar_creator_server.cli.own_server import ask_own_server
    from avatar_creator_server.operations.doctor import refused_settings, run_checks
    from avatar_creator_server.operations.setting_sources import used_settings
    from avatar_creator_server.settings import SettingsError
    from avatar_creator_tasks.picture_moderation import try_classifier
    from avatar_creator_tasks.providers.factory import require_installed

    settings = None
    try:
        settings = _settings()
    except SettingsError as error:
        results = refused_settings(error)
    else:
        results = uvloop.run(
            run_checks(
                settings,
                start_up_checks(settings),
                ask_own_server=ask_own_server,
                require_installed=require_installed,
                try_classifier=try_classifier,
            )
        )
    results = without_secrets(results)
    if as_json:
        used = used_settings(settings, os.environ)
        typer.echo(checks_as_json(results, settings=[asdict(each) for each in used]))
    else:
        print_checks(results, _output)
    return all(result.passed for result in results)


def _check_target(target: str, *, tls: bool, as_json: bool) -> bool:
    """Print what a running server says, and return whether all is well."""
    from avatar_creator.targets import choose_target
    from avatar_creator.tokens import TOKEN_VARIABLE
    from avatar_creator_server.cli.check_report import checks_as_json, print_checks, without_secrets
    from avatar_creator_server.cli.errors import CommandError
    from avatar_creator_server.cli.target_report import examine_target

    try:
        chosen = choose_target(target, tls or None, os.environ, argument="--target")
    except ValueError as error:
        raise CommandError(str(error)) from None
    report = examine_target(chosen, os.environ.get(TOKEN_VARIABLE, "").strip())
    results = without_secrets(report.results)
    if as_json:
        workers = [worker.to_dict() for worker in report.workers]
        typer.echo(checks_as_json(results, target=chosen.name, workers=workers))
    else:
        print_checks(results, _output)
    return all(result.passed for result in results)


def _check_files(*, repair: bool, older_than_seconds: float, confirmed: int | None, as_json: bool) -> None:
    import uvloop

    from avatar_creator_server.cli.errors import CommandError
    from avatar_creator_server.errors import AvatarCreatorError
    from avatar_creator_server.operations.file_audit import audit_files

    try:
        audit = uvloop.run(
            audit_files(
                _settings(), repair=repair, older_than_seconds=older_than_seconds, confirmed=confirmed
            )
        )
    except AvatarCreatorError as error:
        raise CommandError(error.message) from error
    if as_json:
        document = asdict(audit) | {"is_clean": audit.is_clean}
        typer.echo(json.dumps(document, indent=2))
    else:
        _print_audit(audit)
    if audit.refusal:
        raise CommandError(audit.refusal)
    if not audit.is_clean:
        raise typer.Exit(1)


def _print_audit(audit: FileAudit) -> None:
    table = Table("", "found", "number", "bytes", "repaired", show_lines=False)
    for name, finding in audit.findings.items():
        mark = "[green]ok[/]" if finding.count == finding.repaired else "[red]failed[/]"
        numbers = (f"{number:,}" for number in (finding.count, finding.size_bytes, finding.repaired))
        table.add_row(mark, name, *numbers)
    _output.print(table)
    for name, finding in audit.findings.items():
        for key in finding.examples:
            # Whole, so that it can be copied.
            _output.print(f"{name}: {escape(key)}", soft_wrap=True)
    _output.print(
        f"Compared {audit.files:,} files with their rows and {audit.rows:,} rows with their files; "
        f"left out {audit.recent:,} younger files without a row.",
        soft_wrap=True,
    )


def _say_next(settings: Settings, ports: Ports) -> None:
    """Print the next steps for a person at a terminal. A log has nothing of them."""
    if not sys.stderr.isatty():
        return
    from avatar_creator_server.cli.next_steps import next_steps

    # The log has written its own line at once.
    sys.stderr.write(next_steps(settings, ports))
    sys.stderr.flush()


def _settings(*, process: int | None = None, **replacements: Any) -> Settings:
    from avatar_creator_server.logs import configure_logging
    from avatar_creator_server.operations.private_files import create_private_files
    from avatar_creator_server.redaction import Redactor
    from avatar_creator_server.settings import Settings

    create_private_files()
    settings = Settings.load(**replacements)
    configure_logging(settings.log_level, Redactor(os.environ), process=process)
    return settings


def _run_until_signal(run: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    import uvloop

    async def until_signal() -> T:
        finish = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, finish.set)
        return await run(finish)

    return uvloop.run(until_signal())
