"""The command `generate`: portraits from a prompt, a preset or another picture, or what they would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from avatar_creator import GenerationPriority
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.commands.avatars import Force
from avatar_creator_server.cli.errors import Refusal
from avatar_creator_server.cli.output_paths import numbered, require_free
from avatar_creator_server.cli.progress import Watch, answer_started, see_through
from avatar_creator_server.cli.session import Session, client_command

_DEFAULT_PROJECT = "Avatars"
_LARGEST_SEED = 2**32 - 1
_MOST_VARIATIONS = 8

commands = typer.Typer()

Priority = Literal["interactive", "normal", "bulk"]
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
    reference: Annotated[
        str, typer.Option(metavar="AVATAR_ID", help="Start from the picture of this avatar of yours.")
    ] = "",
    strength: Annotated[
        float,
        typer.Option(help="How far it may go from that picture, above 0 to 1.", show_default="0.6"),
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option(help="Draw the same picture again.", min=0, max=_LARGEST_SEED)
    ] = None,
    width: Side = 0,
    height: Side = 0,
    steps: Annotated[
        int, typer.Option(help="Denoising steps, 1 to 50: more are finer and slower.", show_default="28")
    ] = 0,
    guidance: Annotated[
        float,
        typer.Option(help="How closely the model follows the prompt, 1 to 20.", show_default="3.5"),
    ] = 0.0,
    negative: Annotated[str, typer.Option(metavar="WORDS", help="What is to be kept out.")] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse what cannot be honoured, instead of warning of it.")
    ] = False,
    omit_recipe: Annotated[
        bool, typer.Option("--no-recipe", help="Keep the recipe out of the picture's file.")
    ] = False,
    variations: Annotated[
        int,
        typer.Option(help="How many to make, with seeds one after the other.", min=1, max=_MOST_VARIATIONS),
    ] = 1,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would cost and take, and create nothing.")
    ] = False,
    priority: Annotated[Priority, typer.Option(help="How urgent it is.")] = "normal",
    watch: Watch = False,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Watch, and then download the picture to this file; variations are numbered: name-1.png."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Generate a portrait as a new avatar."""
    if not prompt and not preset:
        raise typer.BadParameter("say what to draw, or name a preset with --preset", param_hint="PROMPT")
    if estimate and (watch or to):
        raise typer.BadParameter("creates nothing to watch or to download", param_hint="--estimate")
    wishes: dict[str, Any] = {
        "prompt": prompt,
        "avatar_name": name,
        "preset_id": preset,
        "persona_example_id": persona_example,
        "reference_avatar_id": reference,
        "reference_strength": strength,
        "seed": seed,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance_scale": guidance,
        "negative_prompt": negative,
        "strict": strict,
        "omit_recipe": omit_recipe,
        "priority": GenerationPriority.Value(f"GENERATION_PRIORITY_{priority.upper()}"),
    }
    if estimate:
        _estimate(session, project or _newest_project(session), variations, wishes)
        return
    files = numbered(to, variations) if to else []
    for file in files:
        require_free(file, force=force)
    started = session.client.generations.create_variations(
        project or _newest_project(session) or _new_project(session), count=variations, **wishes
    )
    if watch or to:
        see_through(session, started, files)
    else:
        answer_started(session, started)


def _estimate(session: Session, project: str, variations: int, wishes: dict[str, Any]) -> None:
    if not project:
        raise Refusal("you have no project to estimate for: `avatar-creator projects create NAME` makes one")
    estimated = session.client.generations.estimate(project, variation_count=variations, **wishes)
    session.answer(estimated, tables.estimate)
    if not session.as_json:
        for warning in estimated.warnings:
            session.note(warning)


def _newest_project(session: Session) -> str:
    """Its id; empty if there is none."""
    newest = next(session.client.projects.list(page_size=1), None)
    if newest is None:
        return ""
    session.note(f"in your newest project, {newest.name} ({newest.id})")
    return newest.id


def _new_project(session: Session) -> str:
    created = session.client.projects.create(_DEFAULT_PROJECT)
    session.note(f"created project {created.name} ({created.id})")
    return created.id
