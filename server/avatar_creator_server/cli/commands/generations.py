"""The commands `watch` and `cancel`: follow generations that were started before, or stop them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from avatar_creator import AvatarCreatorError, Generation
from avatar_creator_server.cli.errors import CommandError, error_message
from avatar_creator_server.cli.progress import report
from avatar_creator_server.cli.session import Session, client_command

commands = typer.Typer()

GenerationIds = Annotated[
    list[str], typer.Argument(metavar="GENERATION_ID...", help="Ids of the generations.")
]


@client_command(commands, "watch")
def watch(session: Session, generation_ids: GenerationIds) -> None:
    """Show the progress of generations until their end."""
    found = [session.client.generations.get(each) for each in dict.fromkeys(generation_ids)]
    report(session, found, watch=True, files=[])


@client_command(commands, "cancel")
def cancel(session: Session, generation_ids: GenerationIds) -> None:
    """Cancel generations that have not ended."""
    cancelled: list[Generation] = []
    failures: list[tuple[str, AvatarCreatorError]] = []
    for each in dict.fromkeys(generation_ids):
        try:
            cancelled.append(session.client.generations.cancel(each))
        except AvatarCreatorError as error:
            failures.append((each, error))
    if cancelled:
        session.print_result(
            cancelled,
            lambda generations: Group(*(Text(f"Cancelled generation {each.id}.") for each in generations)),
        )
    if failures and len(failures) + len(cancelled) == 1:
        raise failures[0][1]
    if failures:
        causes = "; ".join(f"{each}: {error_message(error)}" for each, error in failures)
        raise CommandError(f"{len(failures)} generations were not cancelled: {causes}")
