"""Commands for generations that were started before: follow them, stop them, and start them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from avatar_creator import AvatarCreatorError, BulkCancellation, BulkRetry, Generation
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError, error_message
from avatar_creator_server.cli.options import OlderThan, ago
from avatar_creator_server.cli.progress import report
from avatar_creator_server.cli.session import Session, client_command

commands = typer.Typer()
group = typer.Typer(help="Change generations: one by one, or many at once.", no_args_is_help=True)

GenerationIds = Annotated[list[str], typer.Argument(metavar="GENERATION_ID", help="Ids of the generations.")]


@client_command(commands, "watch")
def watch(session: Session, generation_ids: GenerationIds) -> None:
    """Show the progress of generations until their end."""
    found = [session.client.generations.get(each) for each in dict.fromkeys(generation_ids)]
    report(session, found, watch=True, files=[])


@client_command(commands, "cancel")
def cancel(session: Session, generation_ids: GenerationIds) -> None:
    """Cancel generations that have not ended."""
    _cancel(session, generation_ids)


MaybeIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="GENERATION_ID", help="Ids of the generations.", show_default=False),
]
Owner = Annotated[
    str,
    typer.Option(
        "--user",
        metavar="USER_ID",
        help="For operators, instead of ids: all generations of this user that match; - for all users.",
    ),
]
Project = Annotated[str, typer.Option(metavar="PROJECT_ID", help="Only generations of this project.")]
States = Annotated[
    list[str] | None,
    typer.Option("--state", metavar="STATE", help="Only this state; may be repeated.", show_default=False),
]
Reasons = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        metavar="REASON",
        help="Only this reason of the last failure, such as PROVIDER_TIMEOUT; may be repeated.",
        show_default=False,
    ),
]
Priorities = Annotated[
    list[str] | None,
    typer.Option("--priority", metavar="PRIORITY", help="Only this priority; may be repeated."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and show what would be changed.")]
Most = Annotated[
    int, typer.Option("--max", metavar="COUNT", help="Maximum number of generations.", min=1, max=1000)
]


@client_command(group, "cancel")
def cancel_generations(
    session: Session,
    generation_ids: MaybeIds = None,
    user: Owner = "",
    project: Project = "",
    state: States = None,
    reason: Reasons = None,
    priority: Priorities = None,
    older_than: OlderThan = None,
    most: Most = 100,
    dry_run: DryRun = False,
) -> None:
    """Cancel generations that have not ended: these, or for operators all that match, oldest first."""
    chosen = _selection(generation_ids, user, project, state, reason, priority, older_than, dry_run)
    if chosen is None:
        _cancel(session, generation_ids or [])
        return
    result = session.client.operations.bulk_cancel(**chosen, max_count=most)
    session.print_result(result, _sentence_and_ids("cancel", dry_run))


@client_command(group, "retry")
def retry_generations(
    session: Session,
    generation_ids: MaybeIds = None,
    user: Owner = "",
    project: Project = "",
    state: States = None,
    reason: Reasons = None,
    priority: Priorities = None,
    older_than: OlderThan = None,
    most: Most = 100,
    dry_run: DryRun = False,
) -> None:
    """Start failed or cancelled generations again: these, or for operators all failed ones that match."""
    chosen = _selection(generation_ids, user, project, state, reason, priority, older_than, dry_run)
    if chosen is None:
        retry = session.client.generations.retry
        _change(session, generation_ids or [], lambda each: retry(each).generation, "retried")
        return
    result = session.client.operations.bulk_retry(**chosen, max_count=most)
    session.print_result(result, _sentence_and_ids("retry", dry_run))
    for failure in result.failures if session.notes_are_read else ():
        session.note(f"not retried: {failure.generation_id}: {failure.error.reason}: {failure.error.message}")


@client_command(group, "retry-now")
def retry_now(session: Session, generation_ids: GenerationIds) -> None:
    """Start the next attempt now of generations that wait for their retry. For operators."""
    _change(session, generation_ids, session.client.operations.retry_now, "started")


def _cancel(session: Session, generation_ids: Sequence[str]) -> None:
    _change(
        session,
        generation_ids,
        session.client.generations.cancel,
        "cancelled",
        lambda generations: Group(*(Text(f"Cancelled generation {each.id}.") for each in generations)),
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


def _selection(
    generation_ids: Sequence[str] | None,
    user: str,
    project: str,
    states: Sequence[str] | None,
    reasons: Sequence[str] | None,
    priorities: Sequence[str] | None,
    older_than: timedelta | None,
    dry_run: bool,
) -> dict[str, Any] | None:
    """Return the arguments of a bulk call; None if the command names generations by their ids.

    Raises:
        CommandError: The command must name either generations or a user.
    """
    filters = {
        "project": project,
        "states": states or (),
        "error_reasons": reasons or (),
        "priorities": priorities or (),
        "create_time_to": ago(older_than),
        "dry_run": dry_run,
    }
    if generation_ids:
        if user or any(filters.values()):
            raise CommandError("give ids of generations, or --user with filters, not both")
        return None
    if not user:
        raise CommandError("give ids of generations, or --user with filters; --user - means all users")
    return {"user_id": user, **filters}


def _sentence_and_ids(verb: str, dry_run: bool) -> Callable[[BulkCancellation | BulkRetry], RenderableType]:
    participle = {"cancel": "Cancelled", "retry": "Retried"}[verb]

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
