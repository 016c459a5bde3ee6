"""The commands `usage` and `stats`: what apps did with an avatar, and a user's counts and spending."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from avatar_creator import Stats
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.session import LARGEST_PAGE, Result, Session, client_command

commands = typer.Typer()


@client_command(commands, "usage")
def usage(
    session: Session,
    avatar_id: Annotated[str, typer.Argument(metavar="AVATAR_ID", help="The avatar's id.")],
    history: Annotated[
        int, typer.Option(metavar="COUNT", help="Also list this many of the latest uses.", min=0)
    ] = 0,
) -> None:
    """Show how often each app used an avatar and for what, most frequent app first."""
    apps = session.client.usage.summarize(avatar_id)
    result: dict[str, Result] = {"apps": apps}
    shown: list[RenderableType] = [tables.usage_by_app(apps)]
    if history:
        newest = session.client.usage.list(avatar_id, page_size=min(history, LARGEST_PAGE))
        result["usages"] = records = list(islice(newest, history))
        shown += ["", tables.usage_history(records)]
    if not apps and not session.as_json:
        session.note("no results")
    else:
        session.print_result(result, lambda _: Group(*shown))


@client_command(commands, "stats")
def stats(session: Session) -> None:
    """Show the totals of your avatars and generations, and your spending by day and app."""
    session.print_result(session.client.usage.stats(), _totals_and_spending)


def _totals_and_spending(stats: Stats) -> RenderableType:
    totals = tables.totals(stats)
    return Group(totals, "", tables.spending(stats.spending)) if stats.spending else totals
