"""The command `generate`: draw portraits from a prompt, preset or picture, or estimate their price."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from avatar_creator.enums import GenerationPriority
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.options import Force, Watch
from avatar_creator_server.cli.output_paths import numbered_paths, require_new_file
from avatar_creator_server.cli.person_options import PersonOptions
from avatar_creator_server.cli.progress import report
from avatar_creator_server.cli.session import PANEL, Session, client_command
from avatar_creator_server.cli.words import word_option

_DEFAULT_PROJECT = "Avatars"
_LARGEST_SEED = 2**32 - 1
_LARGEST_INT32 = 2**31 - 1
"""Largest number that the fields of the contract hold; the service checks their limits."""
_MAX_VARIATIONS = 8

commands = typer.Typer()

Side = Annotated[
    int,
    typer.Option(
        metavar="PIXELS", help="256 to 1,440 in steps of 16.", show_default="1024", max=_LARGEST_INT32
    ),
]


@client_command(
    commands,
    "generate",
    example='generate "reading a book in the garden" --gender female --hair-style curly --to portrait.png',
    panel=PANEL,
)
def generate(
    session: Session,
    person: PersonOptions,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What to draw. Optional with --preset.")
    ] = "",
    project: Annotated[
        str,
        typer.Option(
            metavar="PROJECT_ID",
            help="Project of the new avatar.",
            show_default=f"your newest, or a new one named {_DEFAULT_PROJECT}",
        ),
    ] = "",
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Name of the new avatar.",
            show_default="the persona's name, or the first words of the prompt",
        ),
    ] = "",
    preset: Annotated[
        str, typer.Option(metavar="PRESET_ID", help="Start from this preset; `presets` lists them.")
    ] = "",
    persona_example: Annotated[
        str, typer.Option(metavar="PERSONA_ID", help="Use this persona; `personas` lists them.")
    ] = "",
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AVATAR_ID|FILE",
            help="Start from the picture of this avatar of yours, or of this file, which is uploaded first. "
            "Several pictures of a person: repeat it.",
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="How much the result may differ from the --reference picture: above 0, at most 1.",
            show_default="0.6",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="Number that fixes all random choices: the same seed and options give the same picture.",
            show_default="a random number",
            min=0,
            max=_LARGEST_SEED,
        ),
    ] = None,
    width: Side = 0,
    height: Side = 0,
    steps: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            help="Denoising steps, 1 to 50: more steps give more detail and take longer.",
            show_default="the model's",
            max=_LARGEST_INT32,
        ),
    ] = 0,
    guidance: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="How closely the model follows the prompt, 1 to 20.",
            show_default="the model's",
        ),
    ] = 0.0,
    negative: Annotated[str, typer.Option(metavar="WORDS", help="What the picture must not show.")] = "",
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail if an option is not supported, instead of printing a note."),
    ] = False,
    omit_recipe: Annotated[
        bool, typer.Option("--no-recipe", help="Do not write the recipe into the picture file.")
    ] = False,
    variations: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            help="Number of pictures, with consecutive seeds.",
            min=1,
            max=_MAX_VARIATIONS,
        ),
    ] = 1,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Print the estimated price and time without creating anything."),
    ] = False,
    priority: Annotated[
        str, word_option(GenerationPriority, help="How urgent it is, most urgent first.")
    ] = "normal",
    watch: Watch = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Show the progress, and then download the picture to this file. "
            "With --variations the files are numbered: name-1.png.",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Generate a portrait as a new avatar."""
    if not prompt and not preset:
        raise typer.BadParameter("give a prompt, or choose a preset with --preset", param_hint="PROMPT")
    if estimate and (watch or to):
        raise typer.BadParameter("it creates nothing that --watch or --to could use", param_hint="--estimate")
    if strength is not None and not 0 < strength <= 1:
        raise typer.BadParameter(f"must be above 0 and at most 1 (got {strength:g})", param_hint="--strength")
    if strength is not None and not reference:
        raise typer.BadParameter("it needs a --reference", param_hint="--strength")
    parameters: dict[str, Any] = {
        "prompt": prompt,
        "avatar_name": name,
        **person.fields,
        "preset": preset,
        "persona_example": persona_example,
        "reference": reference or [],
        "reference_strength": strength or 0.0,
        "seed": seed,
        "width": width,
        "height": height,
        "steps": steps,
        "guidance_scale": guidance,
        "negative_prompt": negative,
        "strict": strict,
        "omit_recipe": omit_recipe,
        "priority": priority,
    }
    if estimate:
        _print_estimate(session, project, variations, parameters)
        return
    files = _output_files(to, variations, force=force)
    started = session.client.generations.create_variations(
        project or _newest_project(session) or _new_project(session), count=variations, **parameters
    )
    report(session, [each.generation for each in started], watch=watch, files=files)


def _print_estimate(session: Session, project: str, variations: int, parameters: dict[str, Any]) -> None:
    project_id = project or _newest_project(session)
    if not project_id:
        raise CommandError(
            "an estimate needs a project, and you have none: create one with "
            "`avatar-creator projects create NAME`"
        )
    estimate = session.client.generations.estimate(project_id, variation_count=variations, **parameters)
    session.print_result(estimate, tables.estimate)
    if not session.as_json:
        for warning in estimate.warnings:
            session.note(warning)


def _output_files(to: Path | None, variations: int, *, force: bool) -> list[Path]:
    """Return one path for each picture; none without `to`."""
    files = numbered_paths(to, variations) if to else []
    for file in files:
        require_new_file(file, force=force)
    return files


def _newest_project(session: Session) -> str:
    """Return the id of the caller's newest project; empty if there is none."""
    newest = next(session.client.projects.list(page_size=1), None)
    if newest is None:
        return ""
    session.note(f"using your newest project, {newest.name} ({newest.id})")
    return newest.id


def _new_project(session: Session) -> str:
    created = session.client.projects.create(_DEFAULT_PROJECT)
    session.note(f"created project {created.name} ({created.id})")
    return created.id
