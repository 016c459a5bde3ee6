"""The commands `queue`: show the queue, pause it and resume it. They need a token with role ops."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.session import Session, client_command

commands = typer.Typer(help="Show, pause and resume the queue. For operators.", no_args_is_help=True)

Route = Annotated[str, typer.Option(metavar="NAME", help="Only this route; `queue show` lists the routes.")]


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
    session.print_result(session.client.operations.pause_queue(route, note=note), tables.queue)


@client_command(commands, "resume", example="queue resume --route fal-ai")
def resume_queue(session: Session, route: Route = "") -> None:
    """End the pause of the whole queue, or of one route."""
    session.print_result(session.client.operations.resume_queue(route), tables.queue)
