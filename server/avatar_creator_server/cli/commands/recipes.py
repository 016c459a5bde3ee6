"""The commands `recipe` and `reproduce`: show how a picture was made, and make it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.format import label
from avatar_creator_server.cli.options import Force, Watch
from avatar_creator_server.cli.output_paths import require_new_file
from avatar_creator_server.cli.progress import report
from avatar_creator_server.cli.session import PANEL, Session, client_command

commands = typer.Typer()

GenerationId = Annotated[str, typer.Argument(metavar="GENERATION_ID", help="The generation's id.")]


@client_command(commands, "recipe", example="recipe 01a204d9-6a10-7d3f-b9d4-6c1c2f0e9a55", panel=PANEL)
def recipe(session: Session, generation_id: GenerationId) -> None:
    """Show how the picture of a generation was made: model, seed, prompt and options."""
    found = session.client.generations.recipe(generation_id)
    if found is None:
        state = label(session.client.generations.get(generation_id).state)
        cause = (
            "it was created before recipes were stored"
            if state == "completed"
            else f"its state is {state}, not completed"
        )
        raise CommandError(f"generation {generation_id} has no recipe: {cause}")
    session.print_result(found, tables.recipe)


@client_command(commands, "reproduce", example="reproduce 01a204d9-… --watch", panel=PANEL)
def reproduce(
    session: Session,
    generation_id: GenerationId,
    project: Annotated[
        str,
        typer.Option(
            metavar="PROJECT_ID", help="Project of the new avatar.", show_default="the original's project"
        ),
    ] = "",
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the new avatar.", show_default="the original's name")
    ] = "",
    watch: Watch = False,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Show the progress, and then download the picture to this file."),
    ] = None,
    force: Force = False,
) -> None:
    """Run a completed generation's recipe again as a new avatar; --watch compares the two pictures."""
    if to:
        require_new_file(to, force=force)
    started = session.client.generations.reproduce(
        generation_id,
        project=project or session.client.generations.get(generation_id).project_id,
        avatar_name=name,
    )
    report(session, [started.generation], watch=watch, files=[to] if to else [])
