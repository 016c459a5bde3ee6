"""How generations that a command has started are followed to their ends, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from avatar_creator import Generation, GenerationEndedError, GenerationStage
from avatar_creator.watching import completed
from avatar_creator_server.cli.errors import Refusal, refusal_of
from avatar_creator_server.cli.format import dollars, label, plain, size
from avatar_creator_server.cli.session import Session

Watch = Annotated[
    bool, typer.Option("--watch", help="Follow it to its end; with --json a line for each state.")
]


def answer_started(session: Session, started: Sequence[Generation]) -> None:
    """Answer with generations that go on by themselves."""
    if len(started) == 1:
        session.answer(started[0], _started)
    else:
        session.answer(started, lambda several: Group(*(Text(plain(_started(each))) for each in several)))
    _warn(session, _warnings(started))


def see_through(session: Session, started: Sequence[Generation], files: Sequence[Path]) -> None:
    """Follow generations to their ends, say what was made, and save the pictures.

    Args:
        session: the command's.
        started: the generations.
        files: where the picture of each goes; empty: nowhere.

    Raises:
        GenerationEndedError: the only one made no avatar.
        Refusal: some of several made none; says which and why.
    """
    warned = _warnings(started)
    _warn(session, warned)
    ended = _followed(session, started)
    _warn(session, (warning for warning in _warnings(ended) if warning not in warned))
    failures: list[tuple[Generation, GenerationEndedError]] = []
    for number, generation in enumerate(ended):
        try:
            made = completed(generation)
        except GenerationEndedError as error:
            failures.append((generation, error))
            continue
        if not session.as_json:
            session.say(_made(made))
            if made.reproduce_of:
                session.say(_compared(made))
        if files:
            _save(session, made, files[number])
    if failures and len(ended) == 1:
        raise failures[0][1]
    if failures:
        told = "; ".join(f"{_which(generation)}: {refusal_of(error)}" for generation, error in failures)
        raise Refusal(f"{len(failures)} of {len(ended)} were not made: {told}")


def _started(generation: Generation) -> str:
    told = [label(generation, "state"), _outlook(generation)]
    return f"Started generation {generation.id}: {', '.join(filter(None, told))}."


def _made(generation: Generation) -> str:
    price = f" for {dollars(generation.price_micros)}" if generation.price_micros else ""
    return (
        f"Made {generation.avatar_name} ({generation.avatar_id}), "
        f"drawn by {generation.provider} with {_which(generation)}{price}."
    )


def _compared(generation: Generation) -> str:
    """How a picture compares with the one that it reproduces."""
    found = generation.reproduction
    if not generation.HasField("reproduction"):
        return "It cannot be compared with the original, whose recipe is gone."
    if found.identical_pixels:
        return "It is the original, pixel for pixel."
    if not found.HasField("colour_difference"):
        return (
            "It is not the original pixel for pixel; by how much it differs cannot be said, for that is gone."
        )
    return (
        f"It differs from the original by a mean colour difference of {found.colour_difference:.2f}; "
        "about 2.3 is just noticeable."
    )


def _save(session: Session, made: Generation, file: Path) -> None:
    session.client.avatars.download(made.avatar_id, to=file)
    if not session.as_json:
        image = session.client.avatars.get(made.avatar_id).image
        session.say(f"Saved the {size(image)} picture to {file}.")


def _warnings(generations: Iterable[Generation]) -> list[str]:
    """What their users are warned of, once each."""
    return list(dict.fromkeys(warning for generation in generations for warning in generation.warnings))


def _warn(session: Session, warnings: Iterable[str]) -> None:
    # A script finds them in the answer.
    if not session.as_json:
        for warning in warnings:
            session.note(warning)


def _followed(session: Session, started: Sequence[Generation]) -> list[Generation]:
    """The last state of each generation; all before them are shown as they come."""
    columns = (
        *([TextColumn("{task.fields[which]}", markup=False)] if len(started) > 1 else []),
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[outlook]}", markup=False),
    )
    last = {generation.id: generation for generation in started}
    with (
        Progress(*columns, console=session.notes, disable=not session.shows_progress) as progress,
        closing(session.client.generations.watch_many(list(last))) as states,
    ):
        bars = {
            generation.id: progress.add_task(
                _doing(generation), total=100, outlook=_outlook(generation), which=_which(generation)
            )
            for generation in started
        }
        for state in states:
            last[state.id] = state
            if session.as_json:
                session.line(state)
            progress.update(
                bars[state.id],
                completed=state.progress_percent,
                description=_doing(state),
                outlook=_outlook(state),
            )
    return list(last.values())


def _which(generation: Generation) -> str:
    """What tells a variation from the others."""
    return f"seed {generation.seed_used}"


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
