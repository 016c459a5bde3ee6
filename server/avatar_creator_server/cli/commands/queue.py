"""The commands `queue`: show the queue, pause it and resume it. They need a token with role ops."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from avatar_creator import Queue
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.options import given
from avatar_creator_server.cli.session import Session, client_command

commands = typer.Typer(help="Show, pause and resume the queue. For operators.", no_args_is_help=True)

Route = Annotated[
    str,
    typer.Option(metavar="NAME", help="Only this route; `queue show` lists the routes.", callback=given),
]


@client_command(commands, "show", example="queue show")
def show_queue(session: Session) -> None:
    """Show how much waits and runs, what is paused, and what failed in the last hour."""
    session.print_result(session.client.operations.get_queue(), tables.queue)


@client_command(commands, "pause", example='queue pause --route fal-ai --note "the provider is down"')
def pause_queue(
    session: Session,
    route: Route = "",
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="Note for the users who wait, at most 200 characters.")
    ] = "",
) -> None:
    """Let no worker claim generations until `queue resume`. What runs goes on."""
    ending = f"avatar-creator queue resume{f' --route {shlex.quote(route)}' if route else ''}"
    session.print_result(
        session.client.operations.pause_queue(route, note=note),
        lambda queue: (
            f"No worker claims generations of {_subject(route)} until `{ending}{session.connection}`; "
            f"{queue.running_count:,} that run go on."
        ),
    )


@client_command(commands, "resume", example="queue resume --route fal-ai")
def resume_queue(session: Session, route: Route = "") -> None:
    """End the pause of the whole queue, or of one route. Without a pause, nothing changes."""
    operations = session.client.operations
    was_paused = any((pause.route or "") == route for pause in operations.get_queue().pauses)
    session.print_result(
        operations.resume_queue(route), lambda queue: _resumed(route, queue, was_paused=was_paused)
    )


def _resumed(route: str, queue: Queue, *, was_paused: bool) -> str:
    subject = f"Route {route}" if route else "The whole queue"
    before = "" if was_paused else f"{subject} was not paused. "
    if not queue.pauses:
        return f"{before}Workers claim all generations."
    others = ", ".join(f"route {pause.route}" if pause.route else "the whole queue" for pause in queue.pauses)
    return f"{before}Still paused: {others}."


def _subject(route: str) -> str:
    return f"route {route}" if route else "the whole queue"
