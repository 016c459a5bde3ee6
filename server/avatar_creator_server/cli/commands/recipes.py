"""The commands `recipe` and `reproduce`: what made a picture, and making it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.commands.avatars import Force
from avatar_creator_server.cli.errors import Refusal
from avatar_creator_server.cli.format import label
from avatar_creator_server.cli.output_paths import require_free
from avatar_creator_server.cli.progress import Watch, answer_started, see_through
from avatar_creator_server.cli.session import Session, client_command

commands = typer.Typer()

GenerationId = Annotated[str, typer.Argument(metavar="GENERATION_ID", help="The generation's id.")]


@client_command(commands, "recipe")
def recipe(session: Session, generation_id: GenerationId) -> None:
    """Show what made the picture of a generation."""
    kept = session.client.generations.recipe(generation_id)
    if kept is None:
        state = label(session.client.generations.get(generation_id), "state")
        why = (
            "it was made before recipes were kept"
            if state == "completed"
            else f"it is {state}, not completed"
        )
        raise Refusal(f"generation {generation_id} has no recipe: {why}")
    session.answer(kept, tables.recipe)


@client_command(commands, "reproduce")
def reproduce(
    session: Session,
    generation_id: GenerationId,
    project: Annotated[
        str, typer.Option(metavar="ID", help="The project it goes to; absent: that of the original.")
    ] = "",
    name: Annotated[str, typer.Option(help="The avatar's name; absent: the original's.")] = "",
    watch: Watch = False,
    to: Annotated[
        Path | None, typer.Option(help="Watch, and then download the picture to this file.")
    ] = None,
    force: Force = False,
) -> None:
    """Run the recipe of a completed generation again, as a new avatar; --watch compares the two."""
    if to:
        require_free(to, force=force)
    started = session.client.generations.reproduce(
        generation_id,
        project_id=project or session.client.generations.get(generation_id).project_id,
        avatar_name=name,
    )
    if watch or to:
        see_through(session, [started], [to] if to else [])
    else:
        answer_started(session, [started])
