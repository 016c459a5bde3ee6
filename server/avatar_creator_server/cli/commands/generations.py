"""The commands `generations`: list and show generations, follow them, stop them, and start them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from avatar_creator import (
    AvatarCreatorError,
    BulkCancellation,
    BulkFailure,
    BulkRetry,
    ErrorReason,
    FailedPreconditionError,
    Generation,
    GenerationFailure,
    GenerationOrder,
    GenerationStage,
    GenerationState,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError, error_message
from avatar_creator_server.cli.generation_filters import GenerationFilters, first
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

_OF_ONE_GENERATION = (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
"""Errors that concern one generation, so that a change of many goes on with the others."""
_CANCELLABLE = (GenerationState.PENDING, GenerationState.PROCESSING)
_RETRYABLE = (GenerationState.FAILED, GenerationState.CANCELLED)


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
    generation = session.client.generations.get(generation_id)
    attempts = session.client.generations.attempts(generation_id)
    shown: list[RenderableType] = [tables.generation(generation)]
    if attempts:
        shown += ["", tables.attempts(attempts)]
    session.print_result({"generation": generation, "attempts": attempts}, lambda _: Group(*shown))


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
    if filters.user:
        result: BulkCancellation | BulkRetry = session.client.operations.bulk_cancel(
            **filters.arguments(), dry_run=dry_run, max_count=most
        )
    else:
        found, has_more = _matching(session, filters, _CANCELLABLE, most)
        result = _bulk(found, has_more, dry_run, session.client.generations.cancel)
    _print_bulk(session, result, "cancel", dry_run=dry_run)


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
        _change(session, generation_ids or [], retry_one, "retried")
        return
    if filters.user:
        result = session.client.operations.bulk_retry(**filters.arguments(), dry_run=dry_run, max_count=most)
    else:
        chosen = filters if filters.state else replace(filters, state=[GenerationState.FAILED])
        retried = cache(lambda: _retried(session, chosen))  # asked only if a generation matches
        found, has_more = _matching(session, chosen, _RETRYABLE, most, lambda each: each.id not in retried())
        result = _bulk(found, has_more, dry_run, retry_one)
    _print_bulk(session, result, "retry", dry_run=dry_run)


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
        _change(session, generation_ids or [], start, "started")
        return
    waiting = (GenerationState.PENDING,)
    found, has_more = _matching(
        session, filters, waiting, most, lambda each: each.stage == GenerationStage.WAITING_TO_RETRY
    )
    _print_bulk(session, _bulk(found, has_more, dry_run, start), "start", dry_run=dry_run)


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


def _matching(
    session: Session,
    filters: GenerationFilters,
    possible: Sequence[GenerationState],
    most: int,
    wanted: Callable[[Generation], bool] = bool,
) -> tuple[list[Generation], bool]:
    """Return the oldest generations that match and have a possible state, and whether there are more.

    Raises:
        CommandError: A filter names another state.
    """
    impossible = [state for state in filters.state or () if state not in possible]
    if impossible:
        raise CommandError(f"--state must be {' or '.join(possible)} here (got {', '.join(impossible)})")
    listed = session.client.generations.list(
        **{**filters.arguments(), "states": filters.state or possible},
        order=GenerationOrder.OLDEST_FIRST,
        page_size=LARGEST_PAGE,
    )
    return first(listed, most, wanted)


def _retried(session: Session, filters: GenerationFilters) -> set[str]:
    """Return the ids of the caller's generations that were retried before."""
    # A retry goes to the project of the first one.
    listed = session.client.generations.list(project=filters.project, page_size=LARGEST_PAGE)
    return {generation.retry_of for generation in listed if generation.retry_of}


def _bulk(
    found: Sequence[Generation], has_more: bool, dry_run: bool, change: Callable[[str], Generation]
) -> BulkRetry:
    """Change one generation after the other, as the bulk calls for operators do.

    The result has the ids of the changed generations if those are new ones.
    """
    changed: list[str] = []
    results: list[str] = []
    failures: list[BulkFailure] = []
    for generation in found:
        if dry_run:
            changed.append(generation.id)
            continue
        try:
            result = change(generation.id)
        except _OF_ONE_GENERATION as error:
            failure = GenerationFailure(reason=ErrorReason(error.reason), explanation=error.message)
            failures.append(BulkFailure(generation_id=generation.id, error=failure))
        else:
            changed.append(generation.id)
            results += [result.id] if result.id != generation.id else []
    return BulkRetry(
        generation_count=len(changed),
        generation_ids=tuple(changed),
        retry_ids=tuple(results),
        has_more=has_more,
        failure_count=len(failures),
        failures=tuple(failures),
    )


def _print_bulk(session: Session, result: BulkCancellation | BulkRetry, verb: str, *, dry_run: bool) -> None:
    session.print_result(result, _sentence_and_ids(verb, dry_run))
    if isinstance(result, BulkRetry) and session.notes_are_read:
        for failure in result.failures:
            session.note(
                f"not {_PARTICIPLES[verb]}: {failure.generation_id}: {failure.error.reason}: "
                f"{failure.error.explanation}"
            )


def _change(
    session: Session,
    generation_ids: Sequence[str],
    change: Callable[[str], Generation],
    participle: str,
    render: Callable[[Sequence[Generation]], RenderableType] = tables.generation_states,
) -> None:
    """Change one generation after the other, print the results, and then fail if some failed."""
    changed: list[Generation] = []
    failures: list[tuple[str, AvatarCreatorError]] = []
    for each in dict.fromkeys(generation_ids):
        try:
            changed.append(change(each))
        except AvatarCreatorError as error:
            failures.append((each, error))
    if changed:
        session.print_result(changed, render)
    if failures and len(failures) + len(changed) == 1:
        raise failures[0][1]
    if failures:
        causes = "; ".join(f"{each}: {error_message(error)}" for each, error in failures)
        raise CommandError(f"{len(failures)} generations were not {participle}: {causes}")


_PARTICIPLES = {"cancel": "cancelled", "retry": "retried", "start": "started"}


def _sentence_and_ids(verb: str, dry_run: bool) -> Callable[[BulkCancellation | BulkRetry], RenderableType]:
    participle = _PARTICIPLES[verb].capitalize()

    def render(result: BulkCancellation | BulkRetry) -> RenderableType:
        count = f"{result.generation_count:,} generation{'' if result.generation_count == 1 else 's'}"
        more = "; more match, so repeat the command" if result.has_more else ""
        if dry_run:
            more = f"; more match than --max {result.generation_count:,}" if result.has_more else ""
        sentence = f"Would {verb} {count}{more}." if dry_run else f"{participle} {count}{more}."
        retries = result.retry_ids if isinstance(result, BulkRetry) else ()
        if not result.generation_ids:
            return sentence
        return Group(Text(sentence), tables.generation_ids(result.generation_ids, retries))

    return render
