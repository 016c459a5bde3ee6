"""All commands, in the order in which `--help` lists them."""

from __future__ import annotations

import typer

from avatar_creator_server.cli.commands import avatars, generate, recipes, service
from avatar_creator_server.cli.commands import library as people
from avatar_creator_server.cli.session import PANEL

app = typer.Typer(
    help="Make, keep and share avatars: the gRPC service Avatar Creator.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(service.commands)
app.add_typer(generate.commands)
app.add_typer(recipes.commands)
app.add_typer(people.commands)
app.add_typer(people.projects, name="projects", rich_help_panel=PANEL)
app.add_typer(avatars.commands, name="avatars", rich_help_panel=PANEL)
