"""The command `users list`: the users who wait, fail or spend most. It needs a token with role ops."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Annotated

import typer

from avatar_creator import UserOrder
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.options import ago, time_span
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command
from avatar_creator_server.cli.words import word_option

commands = typer.Typer(help="List the users of the service. For operators.", no_args_is_help=True)


@commands.callback()
def _group() -> None:
    pass


@client_command(commands, "list", example="users list --by spending --period 7d")
def list_users(
    session: Session,
    by: Annotated[
        str, word_option(UserOrder, help="Number that decides.", show_default="queue_depth")
    ] = UserOrder.QUEUE_DEPTH,
    period: Annotated[
        timedelta | None,
        typer.Option(
            metavar="AGE",
            parser=time_span,
            help="Period of failures and spending: 90s, 30m, 24h or 7d.",
            show_default="24h",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="COUNT", help="Maximum number of users.", min=1)] = 20,
) -> None:
    """List the users with the largest number of something first."""
    users = session.client.operations.list_users(
        order=UserOrder(by),
        since=ago(period),
        page_size=min(limit, LARGEST_PAGE),
    )
    session.print_list(list(islice(users, limit)), tables.users)
