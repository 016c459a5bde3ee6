"""The commands `generations`: list and show generations, follow them, stop them, and start them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from avatar_creator import (
    AvatarCreatorError,
    DeadlineExceededError,
    Generation,
    GenerationOrder,
    GenerationStage,
    GenerationState,
    UnavailableError,
)
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError, error_message
from avatar_creator_server.cli.generation_filters import GenerationFilters
from avatar_creator_server.cli.options import Limit
from avatar_creator_server.cli.progress import print_changes, report
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command

commands = typer.Typer(
    help="List and show generations, follow them, cancel them, and start them again.", no_args_is_help=True
)

GenerationId = Annotated[str, typer.Argument(metavar="GENERATION_ID", help="The generation's id.")]
MaybeIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[GENERATION_ID]...", help="Ids of the generations; or use filters.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what would be changed.")]
Most = Annotated[
    int, typer.Option("--max", metavar="COUNT", help="Maximum number of generations.", min=1, max=1000)
]


@client_command(commands, "list", example="generations list --state failed --older-than 1h")
def list_generations(
    session: Session,
    filters: GenerationFilters,
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="List the oldest generations first.")
    ] = False,
    limit: Limit = 20,
) -> None:
    """List your generations, newest first. Operators can list those of other users."""
    generations = session.client.generations.list(
        **filters.arguments(),
        order=GenerationOrder.OLDEST_FIRST if oldest_first else None,
        page_size=min(limit + 1, LARGEST_PAGE),
    )
    session.print_first(
        generations,
        limit,
        lambda listed: tables.generations(
            listed, with_users=bool(filters.user), columns=session.output.width
        ),
    )


@client_command(commands, "show", example="generations show 01a204d9-6a10-7d3f-b9d4-6c1c2f0e9a55")
def show(session: Session, generation_id: GenerationId) -> None:
    """Show everything about a generation and the attempts of the workers at it."""
    details = session.client.generations.details(generation_id)
    shown: list[RenderableType] = [tables.generation(details.generation)]
    if details.attempts:
        shown += ["", tables.attempts(details.attempts, columns=session.output.width)]
    session.print_result(details, lambda _: Group(*shown))


@client_command(commands, "watch", example="generations watch 01a204d9-6a10-7d3f-b9d4-6c1c2f0e9a55")
def watch(
    session: Session,
    generation_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[GENERATION_ID]...", help="Ids of the generations.", show_default="all of yours"
        ),
    ] = None,
    project: Annotated[
        str, typer.Option(metavar="PROJECT_ID", help="Watch the generations of this project.")
    ] = "",
    user: Annotated[
        str, typer.Option(metavar="USER_ID", help="For operators: watch the generations of this user.")
    ] = "",
) -> None:
    """Show the progress of generations until their end, or every change of a project or user until Ctrl-C."""
    if bool(generation_ids) + bool(project) + bool(user) > 1:
        raise CommandError("give ids of generations, or --project, or --user, not more than one of them")
    if user == "-":
        raise CommandError(
            "a watch is of one user: give --user with an id, or follow all users with `avatar-creator top`"
        )
    if generation_ids:
        found = [session.client.generations.get(each) for each in dict.fromkeys(generation_ids)]
        report(session, found, watch=True, files=[])
        return
    with session.client.generations.watch_many(project=project, user_id=user) as states:
        print_changes(session, states)


@client_command(
    commands, "cancel", example="generations cancel --project 01a204d7-… --state pending --dry-run"
)
def cancel(
    session: Session,
    filters: GenerationFilters,
    generation_ids: MaybeIds = None,
    most: Most = 100,
    dry_run: DryRun = False,
) -> None:
    """Cancel generations that have not ended: these, or all that match the filters, oldest first."""
    if _names_ids(generation_ids, filters, dry_run):
        _change(
            session,
            generation_ids or [],
            session.client.generations.cancel,
            "cancelled",
            lambda generations: Group(*(Text(f"Cancelled generation {each.id}.") for each in generations)),
        )
        return
    result = session.client.operations.bulk_cancel(**filters.arguments(), dry_run=dry_run, max_count=most)
    session.print_result(
        result,
        lambda _: _sentence_and_ids(
            "cancel", result.generation_count, result.generation_ids, result.has_more, dry_run=dry_run
        ),
    )


@client_command(
    commands, "retry", example="generations retry --reason PROVIDER_TIMEOUT --older-than 10m --dry-run"
)
def retry(
    session: Session,
    filters: GenerationFilters,
    generation_ids: MaybeIds = None,
    most: Most = 100,
    dry_run: DryRun = False,
) -> None:
    """Start failed or cancelled generations again: these, or all failed ones that match the filters.

    Generations that were retried before are left out unless you name their ids.
    """

    def retry_one(generation_id: str) -> Generation:
        return session.client.generations.retry(generation_id).generation

    if _names_ids(generation_ids, filters, dry_run):
        _change(session, generation_ids or [], retry_one, "retried", tables.retries)
        return
    result = session.client.operations.bulk_retry(**filters.arguments(), dry_run=dry_run, max_count=most)
    session.print_result(
        result,
        lambda _: _sentence_and_ids(
            "retry",
            result.generation_count,
            result.generation_ids,
            result.has_more,
            dry_run=dry_run,
            retries=result.retry_ids,
        ),
    )
    if session.notes_are_read:
        for failure in result.failures:
            session.note(f"not retried: {failure.generation_id}: {failure.error.reason}: {failure.error}")


@client_command(commands, "retry-now", example="generations retry-now --user - --reason STORAGE_UNAVAILABLE")
def retry_now(
    session: Session,
    filters: GenerationFilters,
    generation_ids: MaybeIds = None,
    most: Most = 100,
    dry_run: DryRun = False,
) -> None:
    """Start the next attempt now of generations that wait for their retry. For operators."""
    start = session.client.operations.retry_now
    if _names_ids(generation_ids, filters, dry_run):
        _change(session, generation_ids or [], start, "started", then=_note_pauses)
        return
    if filters.state and set(filters.state) != {GenerationState.PENDING}:
        raise CommandError(f"--state must be pending here (got {', '.join(filters.state)})")
    listed = session.client.generations.list(
        **{**filters.arguments(), "states": (GenerationState.PENDING,)},
        order=GenerationOrder.OLDEST_FIRST,
        page_size=LARGEST_PAGE,
    )
    waiting = (each.id for each in listed if each.stage == GenerationStage.WAITING_TO_RETRY)
    ids = list(islice(waiting, most))
    has_more = next(waiting, None) is not None
    started, failures = ([], {}) if dry_run else _change_each(ids, start)
    changed = ids if dry_run else [generation.id for generation in started]
    session.print_result(
        {"generation_count": len(changed), "generation_ids": changed, "has_more": has_more},
        lambda _: _sentence_and_ids("start", len(changed), changed, has_more, dry_run=dry_run),
    )
    _note_pauses(session, started)
    _raise_failures(failures, len(ids), len(started), "started")


def _note_pauses(session: Session, started: Sequence[Generation]) -> None:
    """Say which pauses keep generations waiting whose delay has been ended."""
    waiting = [each for each in started if each.stage == GenerationStage.QUEUED]
    if not waiting or not session.notes_are_read:
        return
    queue = session.client.operations.get_queue()
    taken = {
        route.name
        for route in queue.routes
        for each in waiting
        if (route.draws_from_reference if each.reference_avatar_ids else route.draws_from_text)
    }
    for pause in queue.pauses:
        if pause.route is None or pause.route in taken:
            subject = f"route {pause.route}" if pause.route else "the whole queue"
            session.note(
                f"{subject} is paused, so no worker claims these generations before "
                f"`avatar-creator queue resume{f' --route {pause.route}' if pause.route else ''}`"
            )


def _names_ids(generation_ids: Sequence[str] | None, filters: GenerationFilters, dry_run: bool) -> bool:
    """Return whether the command names generations by their ids instead of by filters.

    Raises:
        CommandError: The command must do either.
    """
    if generation_ids and (filters.any or dry_run):
        raise CommandError("give ids of generations, or filters, not both")
    if not generation_ids and not filters.any:
        raise CommandError(
            "give ids of generations, or at least one filter such as --project or --state; operators can "
            "give --user, where - means all users"
        )
    return bool(generation_ids)


def _change(
    session: Session,
    generation_ids: Sequence[str],
    change: Callable[[str], Generation],
    participle: str,
    render: Callable[[Sequence[Generation]], RenderableType] = tables.generation_states,
    then: Callable[[Session, Sequence[Generation]], None] = lambda _session, _changed: None,
) -> None:
    """Change one generation after the other, print the results, and then fail if some failed."""
    ids = list(dict.fromkeys(generation_ids))
    changed, failures = _change_each(ids, change)
    if changed:
        session.print_result(changed, render)
        then(session, changed)
    _raise_failures(failures, len(ids), len(changed), participle)


def _change_each(
    generation_ids: Sequence[str], change: Callable[[str], Generation]
) -> tuple[list[Generation], dict[str, AvatarCreatorError]]:
    """Change one generation after the other; return the changed ones, and the errors of others by id."""
    changed: list[Generation] = []
    failures: dict[str, AvatarCreatorError] = {}
    for each in generation_ids:
        try:
            changed.append(change(each))
        except AvatarCreatorError as error:
            failures[each] = error
            if isinstance(error, UnavailableError | DeadlineExceededError):
                break  # the others would wait as long, and fail too
    return changed, failures


def _raise_failures(
    failures: dict[str, AvatarCreatorError], number: int, changed: int, participle: str
) -> None:
    """Fail if not all of this number of generations were changed.

    Raises:
        AvatarCreatorError: The only generation failed.
        CommandError: Some of several generations failed.
    """
    if not failures:
        return
    if number == 1:
        raise next(iter(failures.values()))
    causes = "; ".join(f"{each}: {error_message(error)}" for each, error in failures.items())
    raise CommandError(f"{number - changed:,} of {number:,} generations were not {participle}: {causes}")


_PARTICIPLES = {"cancel": "Cancelled", "retry": "Retried", "start": "Started"}


def _sentence_and_ids(
    verb: str, number: int, ids: Sequence[str], has_more: bool, *, dry_run: bool, retries: Sequence[str] = ()
) -> RenderableType:
    """Return how many generations a command has changed, or would change, and their ids."""
    count = f"{number:,} generation{'' if number == 1 else 's'}"
    if dry_run:
        sentence = f"Would {verb} {count}{f'; more match than --max {number:,}' if has_more else ''}."
    else:
        sentence = f"{_PARTICIPLES[verb]} {count}{'; more match, so repeat the command' if has_more else ''}."
    return Group(Text(sentence), tables.generation_ids(ids, retries)) if ids else sentence
