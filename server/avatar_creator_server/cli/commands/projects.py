"""The commands `projects`: list and create projects."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command

commands = typer.Typer(help="List and create projects, the folders of your avatars.", no_args_is_help=True)


@client_command(commands, "list")
def list_projects(session: Session) -> None:
    """List your projects, newest first."""
    session.print_list(list(session.client.projects.list(page_size=LARGEST_PAGE)), tables.projects)


@client_command(commands, "create")
def create_project(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project's name, 1 to 120 characters.")],
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="The project's description, at most 2,000 characters.")
    ] = "",
) -> None:
    """Create a project."""
    session.print_result(
        session.client.projects.create(name, description),
        lambda project: f"Created project {project.name} ({project.id}).",
    )
