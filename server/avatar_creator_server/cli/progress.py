"""Generations that a command has started: their progress, their results and their pictures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from avatar_creator import Generation, GenerationEndedError, GenerationStage, GenerationState
from avatar_creator.handles import avatar_id_of
from avatar_creator_server.cli.errors import CommandError, error_message
from avatar_creator_server.cli.format import (
    dimensions,
    dollars,
    label,
    local_time,
    moderation_label,
    printable,
)
from avatar_creator_server.cli.interrupts import TerminatedError
from avatar_creator_server.cli.session import Session


def report(session: Session, started: Sequence[Generation], *, watch: bool, files: Sequence[Path]) -> None:
    """Print what was started, or follow it to the end if it should be watched or downloaded.

    Args:
        session: the command's session.
        started: the generations.
        watch: whether to follow them even if no picture is downloaded.
        files: one path for the picture of each generation; empty to download none.

    Raises:
        GenerationEndedError: the only generation created no avatar.
        CommandError: some of several generations created none; the message names them and says why.
    """
    if watch or files:
        last = {generation.id: generation for generation in started}
        try:
            _follow_to_end(session, started, last, files)
        except (KeyboardInterrupt, TerminatedError):
            _note_running(session, [state.id for state in last.values() if not state.ended])
            raise
    else:
        _print_started(session, started)


def print_changes(session: Session, states: Iterable[Generation]) -> None:
    """Print each state as one line, as it arrives."""
    for state in states:
        if session.as_json:
            session.print_json_line(state)
            continue
        progress = f" {state.progress_percent} %" if state.state == GenerationState.PROCESSING else ""
        facts = [f"{_activity(state)}{progress}", printable(state.avatar_name), _outlook(state)]
        session.print_sentence(f"{local_time(state.update_time)} {state.id} {', '.join(filter(None, facts))}")


def _print_started(session: Session, started: Sequence[Generation]) -> None:
    if len(started) == 1:
        session.print_result(started[0], _started_sentence)
    else:
        session.print_result(
            started,
            lambda generations: Group(*(Text(printable(_started_sentence(each))) for each in generations)),
        )
    _note_warnings(session, _warnings(started))


def _follow_to_end(
    session: Session, started: Sequence[Generation], last: dict[str, Generation], files: Sequence[Path]
) -> None:
    """Follow the generations, with their newest states in `last`, and print and save their results."""
    first_warnings = _warnings(started)
    _note_warnings(session, first_warnings)
    _show_states(session, started, last)
    ended = list(last.values())
    _note_warnings(session, (warning for warning in _warnings(ended) if warning not in first_warnings))
    failures: list[tuple[Generation, GenerationEndedError]] = []
    for number, generation in enumerate(ended):
        try:
            avatar_id_of(generation)
        except GenerationEndedError as error:
            failures.append((generation, error))
            continue
        if not session.as_json:
            session.print_sentence(_completed_sentence(generation))
            if generation.reproduce_of:
                session.print_sentence(_comparison_sentence(generation))
        if files:
            _save(session, generation, files[number])
    if failures and len(ended) == 1:
        raise failures[0][1]
    if failures:
        causes = "; ".join(f"{_seed(generation)}: {error_message(error)}" for generation, error in failures)
        raise CommandError(f"{len(failures)} of {len(ended)} variations were not created: {causes}")


def _started_sentence(generation: Generation) -> str:
    facts = [label(generation.state), _outlook(generation)]
    return f"Started generation {generation.id}: {', '.join(filter(None, facts))}."


def _completed_sentence(generation: Generation) -> str:
    price = f" for {dollars(generation.price_micros)}" if generation.price_micros else ""
    verdict = moderation_label(generation)
    return (
        f"Created avatar {generation.avatar_name} ({generation.avatar_id}), "
        f"drawn by {generation.provider} with {_seed(generation)}{price}{f' ({verdict})' if verdict else ''}."
    )


def _comparison_sentence(generation: Generation) -> str:
    """Compare a reproduction with the original picture."""
    reproduction = generation.reproduction
    if reproduction is None:
        return "The picture cannot be compared with the original: the original's recipe no longer exists."
    if reproduction.identical_pixels:
        return "The picture is identical to the original, pixel for pixel."
    if reproduction.color_difference is None:
        return "The picture differs from the original; how much is unknown: the original no longer exists."
    return (
        "The picture differs from the original by a mean color difference of "
        f"{reproduction.color_difference:.2f}; about 2.3 is just noticeable."
    )


def _save(session: Session, generation: Generation, file: Path) -> None:
    avatar_id = generation.avatar_id or ""  # empty if the avatar was deleted in the meantime
    session.client.avatars.download(avatar_id, to=file)
    if not session.as_json:
        image = session.client.avatars.get(avatar_id).image
        session.print_sentence(f"Saved the {dimensions(image)} picture to {file}.")


def _warnings(generations: Iterable[Generation]) -> list[str]:
    """Return the warnings of all generations, each once."""
    return list(dict.fromkeys(warning for generation in generations for warning in generation.warnings))


def _note_warnings(session: Session, warnings: Iterable[str]) -> None:
    # In JSON the warnings are part of the result.
    if not session.as_json:
        for warning in warnings:
            session.note(warning)


def _show_states(session: Session, started: Sequence[Generation], last: dict[str, Generation]) -> None:
    """Show every state as it arrives, and put the newest one of each generation into `last`."""
    columns = (
        *([TextColumn("{task.fields[seed]}", markup=False)] if len(started) > 1 else []),
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[outlook]}", markup=False),
    )
    with (
        Progress(*columns, console=session.notes, disable=not session.shows_progress) as progress,
        session.client.generations.watch_many(list(last)) as states,
    ):
        bars = {
            generation.id: progress.add_task(
                _activity(generation), total=100, outlook=_outlook(generation), seed=_seed(generation)
            )
            for generation in started
        }
        for state in states:
            if not session.shows_progress and not session.as_json:
                _note_failure(session, last[state.id], state)
            last[state.id] = state
            if session.as_json:
                session.print_json_line(state)
            progress.update(
                bars[state.id],
                completed=state.progress_percent,
                description=_activity(state),
                outlook=_outlook(state),
            )


def _note_failure(session: Session, before: Generation, state: Generation) -> None:
    """Say once for each attempt that it failed. In a terminal, the progress bar says it."""
    repeated = before.attempt_number == state.attempt_number and _failure_sentence(before)
    if (failure := _failure_sentence(state)) and not repeated:
        session.note(failure)


def _note_running(session: Session, ids: Sequence[str]) -> None:
    """Say which generations the interrupted command has left, and how to go on with them."""
    if not ids or not session.notes_are_read:
        return
    which, them = (f"generation {ids[0]} goes", "it")
    if len(ids) > 1:
        which, them = (f"{len(ids)} generations go", "them")
    options = f"{' '.join(ids)}{session.connection}"
    session.note(
        f"{which} on: follow {them} with `avatar-creator generations watch {options}`, "
        f"or cancel {them} with `avatar-creator generations cancel {options}`"
    )


def _seed(generation: Generation) -> str:
    """Return the seed, which is different for each variation."""
    return f"seed {generation.seed_used}"


def _activity(state: Generation) -> str:
    """Return the stage of a running generation, and the final state of one that has ended."""
    return label(state.state if state.stage == GenerationStage.ENDED else state.stage)


def _failure_sentence(state: Generation) -> str:
    """Return why the last attempt failed and when the next one is due; empty if no retry is due."""
    if state.state != GenerationState.PENDING or not state.next_attempt_time or not state.error:
        return ""
    seconds = max(0, round(state.next_attempt_time.timestamp() - time.time()))
    cause = printable(state.error.explanation)
    return f"attempt {state.attempt_number} failed: {cause}; next attempt in {seconds} s"


def _outlook(state: Generation) -> str:
    """Return the failed attempt, or the queue position, the expected duration and the last error."""
    if failure := _failure_sentence(state):
        return failure
    facts = []
    if state.queue_position is not None:
        facts.append(
            f"{state.queue_position} ahead in the queue" if state.queue_position else "next in the queue"
        )
    if state.expected_seconds is not None:
        facts.append(f"done in about {state.expected_seconds} s")
    if state.error:
        facts.append(printable(state.error.explanation))
    return ", ".join(facts)
