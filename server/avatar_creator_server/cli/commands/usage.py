"""The commands `usage` and `stats`: what apps do with avatars, and a user's counts and spending."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from avatar_creator import Stats
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.options import User
from avatar_creator_server.cli.session import LARGEST_PAGE, PANEL, Result, Session, client_command

commands = typer.Typer()
group = typer.Typer(help="Show and record the uses of an avatar by apps.", no_args_is_help=True)


def _json_object(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        if isinstance(parsed := json.loads(text), dict):
            return parsed
    raise typer.BadParameter('must be a JSON object, for example {"poses": 3}')


AvatarId = Annotated[str, typer.Argument(metavar="AVATAR_ID", help="The avatar's id.")]


@client_command(group, "show", example="usage show 01a204d8-05a5-7495-bb1b-5f38ae8f7b43 --history 5")
def show_usage(
    session: Session,
    avatar_id: AvatarId,
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


@client_command(
    group, "record", example="usage record 01a204d8-… --action generate_poses --app pose-generator"
)
def record_usage(
    session: Session,
    avatar_id: AvatarId,
    action: Annotated[
        str, typer.Option(metavar="NAME", help="What the app does, for example `generate_poses`.")
    ],
    app: Annotated[
        str, typer.Option(metavar="APP_ID", help="Id of the app.", show_default="the token's app")
    ] = "",
    app_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the app, for people.", show_default="its id")
    ] = "",
    reference_id: Annotated[
        str, typer.Option(metavar="ID", help="The app's own id of its result, at most 200 characters.")
    ] = "",
    reference_type: Annotated[
        str, typer.Option(metavar="TYPE", help="Type of that result, for example `pose_set`.")
    ] = "",
    metadata: Annotated[
        dict[str, Any] | None,
        typer.Option(
            metavar="JSON",
            help="Other facts as a JSON object, at most 8 KiB.",
            parser=_json_object,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Record one use of an avatar by an app."""
    recorded = session.client.usage.record(
        avatar_id,
        action=action,
        app_id=app,
        app_name=app_name,
        reference_id=reference_id,
        reference_type=reference_type,
        metadata=metadata,
    )
    session.print_result(
        recorded,
        lambda each: (
            f"Recorded {each.usage.action} by {each.usage.app_id}: the avatar has {each.usage_count:,} "
            f"use{'' if each.usage_count == 1 else 's'}."
        ),
    )


@client_command(commands, "stats", example="stats", panel=PANEL)
def stats(session: Session, user: User = "") -> None:
    """Show the totals of your avatars and generations, and your spending by day and app."""
    session.print_result(session.client.usage.stats(user_id=user), _totals_and_spending)


def _totals_and_spending(stats: Stats) -> RenderableType:
    totals = tables.totals(stats)
    return Group(totals, "", tables.spending(stats.spending)) if stats.spending else totals
