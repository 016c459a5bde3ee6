"""All commands, in the order in which `--help` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator_server.cli.commands import (
    avatars,
    generate,
    generations,
    limits,
    presets,
    projects,
    queue,
    recipes,
    service,
    top,
    usage,
    users,
    workers,
)
from avatar_creator_server.cli.session import OPERATORS_PANEL, PANEL

app = typer.Typer(
    help="Create, store and share avatars with the gRPC service Avatar Creator.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(service.commands)
app.add_typer(generate.commands)
app.add_typer(recipes.commands)
app.add_typer(usage.commands)
app.add_typer(presets.commands)
app.add_typer(projects.commands, name="projects", rich_help_panel=PANEL)
app.add_typer(avatars.commands, name="avatars", rich_help_panel=PANEL)
app.add_typer(usage.group, name="usage", rich_help_panel=PANEL)
app.add_typer(generations.commands, name="generations", rich_help_panel=PANEL)
app.add_typer(top.commands)
app.add_typer(queue.commands, name="queue", rich_help_panel=OPERATORS_PANEL)
app.add_typer(workers.commands, name="workers", rich_help_panel=OPERATORS_PANEL)
app.add_typer(users.commands, name="users", rich_help_panel=OPERATORS_PANEL)
app.add_typer(limits.commands, name="limits", rich_help_panel=OPERATORS_PANEL)


def _print_version(requested: bool) -> None:
    if requested:
        from avatar_creator_server.operations.versions import installed_versions

        typer.echo(installed_versions())
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass
