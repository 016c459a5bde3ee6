"""The commands `presets` and `personas`: the gallery entries that a generation can start from."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.session import LARGEST_PAGE, PANEL, Session, client_command

commands = typer.Typer()

Category = Annotated[str, typer.Option(metavar="CATEGORY", help="List only this category.")]


@client_command(commands, "presets", example="presets --category business", panel=PANEL)
def presets(
    session: Session,
    category: Category = "",
    query: Annotated[
        str,
        typer.Option(metavar="WORDS", help="List only presets with all these words in name or description."),
    ] = "",
) -> None:
    """List the presets that `generate` can start from, most popular first."""
    found = session.client.presets.list(category=category, query=query, page_size=LARGEST_PAGE)
    session.print_list(list(found), tables.presets)


@client_command(commands, "personas", example="personas --category education", panel=PANEL)
def personas(session: Session, category: Category = "") -> None:
    """List the persona examples that `generate` can start from, most used first."""
    found = session.client.personas.list(category=category, page_size=LARGEST_PAGE)
    session.print_list(list(found), tables.personas)
