"""The commands of those who run the service. Each imports what it needs, so that the others start fast."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from avatar_creator_server.settings import Settings

commands = typer.Typer()
console = Console()
error_console = Console(stderr=True)

UNTIL_SIGNAL = Callable[[asyncio.Event], Coroutine[Any, Any, None]]

_PANEL = "Running the service"

Role = Literal["ops"]


@commands.command(rich_help_panel=_PANEL)
def serve() -> None:
    """Serve gRPC on LISTEN_ADDRESS. Without DATABASE_URL and REDIS_URL all runs in this process."""
    from avatar_creator_server.api.server import serve as serve_until

    settings = _settings()
    _run_until_signal(lambda finish: serve_until(settings, finish))


@commands.command(rich_help_panel=_PANEL)
def worker() -> None:
    """Run a worker beside `serve`: two generations at a time, and the quick work."""
    from avatar_creator_server.core import Core
    from avatar_creator_server.settings import SettingsError
    from avatar_creator_tasks.worker import work

    settings = _settings()
    if settings.embedded:
        raise SettingsError(
            "the embedded service runs its worker inside `serve`: set DATABASE_URL and REDIS_URL "
            "to run workers of their own"
        )
    core = Core.wire(settings)
    _run_until_signal(lambda finish: work(core, finish))


@commands.command(rich_help_panel=_PANEL)
def migrate() -> None:
    """Bring the database at DATABASE_URL to this version's schema. Safe to run at any time."""
    from avatar_creator_server.database.connection import open_database
    from avatar_creator_server.database.migrator import migrate as migrate_database

    applied = migrate_database(open_database(_settings().database))
    for name in applied:
        console.print(f"applied {name}")
    console.print(f"The schema is up to date ({len(applied)} migration(s) applied now).")


@commands.command(rich_help_panel=_PANEL)
def token(
    user: Annotated[str, typer.Option(help="User id the token names.")],
    expires_in: Annotated[int, typer.Option(help="Seconds it is valid.", min=1)] = 86_400,
    app_id: Annotated[
        str | None,
        typer.Option("--app", metavar="APP_ID", help="App it is for: it records that app's uses only."),
    ] = None,
    role: Annotated[
        Role | None, typer.Option(help="Read all users' things, cancel and retry their work.")
    ] = None,
) -> None:
    """Print a token for a user, signed with JWT_SECRET or the embedded service's own secret."""
    from avatar_creator_server.api.tokens import mint_token
    from avatar_creator_server.api.validation import NAME
    from avatar_creator_server.settings import SettingsError
    from avatar_creator_server.shared.caller import is_user_id

    settings = _settings()
    if not is_user_id(user):
        raise SettingsError(
            f"{user!r} is not a user id: letters, digits and . _ @ | : + -, at most 128, "
            "the first a letter or digit"
        )
    if app_id is not None and NAME(app_id) is not None:
        raise SettingsError(
            f"{app_id!r} is not an app's id: 1 to 120 characters, no control characters, not only blanks"
        )
    new_secret = settings.embedded and not settings.jwt_secret and not settings.secret_file.exists()
    typer.echo(mint_token(settings, user, expires_in, app_id=app_id or "", role=role or ""))
    if new_secret:
        error_console.print(
            f"note: no service has run in {escape(str(settings.data_path.absolute()))} before; "
            "this token is good only for one that will",
            soft_wrap=True,
        )


@commands.command(rich_help_panel=_PANEL)
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to put service and pictures; absent: a temporary one."),
    ] = None,
) -> None:
    """Start an embedded service, upload a photograph, generate a portrait, and watch it appear."""
    import uvloop

    from avatar_creator_server.demo.tour import tour
    from avatar_creator_server.logs import configure_logging

    configure_logging("warning")
    folder = folder or Path(tempfile.mkdtemp(prefix="avatar-creator-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    uvloop.run(tour(folder, console))


@commands.command(rich_help_panel=_PANEL)
def doctor() -> None:
    """Check settings, database, queue, storage and provider, and say how to mend what does not work."""
    import uvloop

    from avatar_creator_server.operations.doctor import examine

    findings = uvloop.run(examine(_settings()))
    table = Table("", "check", "found", "to do", show_lines=False)
    for finding in findings:
        mark = "[green]ok[/]" if finding.works else "[red]no[/]"
        table.add_row(mark, finding.subject, escape(finding.report), escape(finding.remedy))
    console.print(table)
    if not all(finding.works for finding in findings):
        raise typer.Exit(1)


def _settings() -> Settings:
    from avatar_creator_server.logs import configure_logging
    from avatar_creator_server.settings import Settings

    settings = Settings()
    configure_logging(settings.log_level)
    return settings


def _run_until_signal(run: UNTIL_SIGNAL) -> None:
    import uvloop

    async def until_signal() -> None:
        finish = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, finish.set)
        await run(finish)

    uvloop.run(until_signal())
