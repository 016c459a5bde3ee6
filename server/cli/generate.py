"""The command `generate`: a portrait from a prompt or a preset, watched until it is there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from avatar_creator import Generation, GenerationStage
from avatar_creator.watching import completed
from server.cli.avatars import Force
from server.cli.picture_files import require_free
from server.cli.session import Session, client_command
from server.cli.words import label, plain, size

_DEFAULT_PROJECT = "Avatars"
_LARGEST_SEED = 2**32 - 1

commands = typer.Typer()

Side = Annotated[int, typer.Option(help="Pixels, 256 to 1,440 in steps of 16.", show_default="1024")]


@client_command(commands, "generate")
def generate(
    session: Session,
    prompt: Annotated[str, typer.Argument(help="What to draw; may be left out with --preset.")] = "",
    project: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help=f"The project it goes to; absent: your newest, or a new one named {_DEFAULT_PROJECT}.",
        ),
    ] = "",
    name: Annotated[
        str, typer.Option(help="The avatar's name; absent: the persona's, or the prompt's first words.")
    ] = "",
    preset: Annotated[str, typer.Option(metavar="ID", help="Start from this preset.")] = "",
    persona_example: Annotated[str, typer.Option(metavar="ID", help="Take this persona.")] = "",
    seed: Annotated[
        int | None, typer.Option(help="Draw the same picture again.", min=0, max=_LARGEST_SEED)
    ] = None,
    width: Side = 0,
    height: Side = 0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow it to its end; with --json a line for each state.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="Watch, and then download the picture to this file.")
    ] = None,
    force: Force = False,
) -> None:
    """Generate a portrait as a new avatar."""
    if not prompt and not preset:
        raise typer.BadParameter("say what to draw, or name a preset with --preset", param_hint="PROMPT")
    if to:
        require_free(to, force=force)
    generation = session.client.generations.create(
        project or _default_project(session),
        prompt,
        avatar_name=name,
        preset_id=preset,
        persona_example_id=persona_example,
        seed=seed,
        width=width,
        height=height,
    )
    if not (watch or to):
        session.answer(generation, _started)
        return
    made = completed(_followed(session, generation))
    if not session.as_json:
        session.say(
            f"Made {made.avatar_name} ({made.avatar_id}), "
            f"drawn by {made.provider} with seed {made.seed_used}."
        )
    for warning in made.warnings:
        session.note(warning)
    if to:
        session.client.avatars.download(made.avatar_id, to=to)
        if not session.as_json:
            image = session.client.avatars.get(made.avatar_id).image
            session.say(f"Saved the {size(image)} picture to {to}.")


def _default_project(session: Session) -> str:
    newest = next(session.client.projects.list(page_size=1), None)
    if newest is not None:
        session.note(f"in your newest project, {newest.name} ({newest.id})")
        return newest.id
    created = session.client.projects.create(_DEFAULT_PROJECT)
    session.note(f"created project {created.name} ({created.id})")
    return created.id


def _started(generation: Generation) -> str:
    told = [label(generation, "state"), _outlook(generation)]
    return f"Started generation {generation.id}: {', '.join(filter(None, told))}."


def _followed(session: Session, generation: Generation) -> Generation:
    """The last state of a generation; all before it are shown as they come."""
    columns = (
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[outlook]}", markup=False),
    )
    with (
        Progress(*columns, console=session.notes, disable=not session.shows_progress) as progress,
        closing(session.client.generations.watch(generation.id)) as states,
    ):
        bar = progress.add_task(_doing(generation), total=100, outlook=_outlook(generation))
        for state in states:
            generation = state
            if session.as_json:
                session.line(state)
            progress.update(
                bar,
                completed=state.progress_percent,
                description=_doing(state),
                outlook=_outlook(state),
            )
    return generation


def _doing(state: Generation) -> str:
    ended = state.stage == GenerationStage.GENERATION_STAGE_ENDED
    return label(state, "state" if ended else "stage")


def _outlook(state: Generation) -> str:
    """What is known of how long it will take, and why it takes longer."""
    told = []
    if state.HasField("queue_position"):
        told.append(f"{state.queue_position} before it" if state.queue_position else "next in the queue")
    if state.HasField("expected_seconds"):
        told.append(f"about {state.expected_seconds} s in all")
    if state.HasField("error"):
        told.append(plain(state.error.message))
    return ", ".join(told)
