"""The commands `limits`: the limits of one user. They need a token with role ops."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator import UserLimits
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.format import dollars
from avatar_creator_server.cli.session import Session, client_command

commands = typer.Typer(help="Show and change the limits of a user. For operators.", no_args_is_help=True)

_LEAST_DOLLARS = 0.000001
_MOST_DOLLARS = 1_000_000_000
"""Largest limit that the settings allow too."""

User = Annotated[str, typer.Option(metavar="USER_ID", help="Id of the user.")]


@client_command(commands, "get", example="limits get --user sarah")
def get_limits(session: Session, user: User) -> None:
    """Show the limits of a user, and what the user has used of them."""
    session.print_result(session.client.operations.get_limits(user), tables.limits)


@client_command(commands, "set", example="limits set --user sarah --per-day 5000 --spend-per-day 20")
def set_limits(
    session: Session,
    user: User,
    concurrent: Annotated[
        int | None, typer.Option(metavar="COUNT", help="Generations that wait or run; 0: no limit.", min=0)
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option(metavar="COUNT", help="Generations started within a minute; 0: no limit.", min=0),
    ] = None,
    per_day: Annotated[
        int | None,
        typer.Option(metavar="COUNT", help="Generations started within 24 hours; 0: no limit.", min=0),
    ] = None,
    spend_per_day: Annotated[
        float | None,
        typer.Option(metavar="DOLLARS", help="Spending within 24 hours in US dollars; 0: no limit."),
    ] = None,
) -> None:
    """Set limits of a user, over those of the settings, for the next call on. Others stay as they are."""
    if concurrent is per_minute is per_day is spend_per_day is None:
        raise CommandError("give at least one of --concurrent, --per-minute, --per-day and --spend-per-day")
    session.print_result(
        session.client.operations.set_limits(
            user,
            concurrent=concurrent,
            per_minute=per_minute,
            per_day=per_day,
            spend_per_day_micros=None if spend_per_day is None else _micros(spend_per_day),
        ),
        lambda limits: f"{user} may start {_allowed(limits)}.",
    )


def _micros(dollars: float) -> int:
    """Return an amount in millionths of a US dollar.

    Raises:
        CommandError: It is none that a limit can have.
    """
    if dollars and not _LEAST_DOLLARS <= dollars <= _MOST_DOLLARS:  # also if it is not a number
        raise CommandError(
            f"--spend-per-day must be 0, or {_LEAST_DOLLARS:f} to {_MOST_DOLLARS:,} US dollars "
            f"(got {dollars:g})"
        )
    return round(dollars * 1_000_000)


@client_command(commands, "clear", example="limits clear --user sarah")
def clear_limits(session: Session, user: User) -> None:
    """Return a user to the limits of the settings."""
    session.print_result(
        session.client.operations.clear_limits(user),
        lambda limits: f"{user} has the limits of the settings again, and may start {_allowed(limits)}.",
    )


def _allowed(limits: UserLimits) -> str:
    """Return the limits in effect, as the object of a sentence."""
    allowed = limits.effective
    counts = {
        "at the same time": allowed.concurrent,
        "per minute": allowed.per_minute,
        "per day": allowed.per_day,
    }
    generations = ", ".join(
        f"{f'{most:,}' if most else 'any number'} {window}" for window, most in counts.items()
    )
    spending = dollars(allowed.spend_per_day_micros) if allowed.spend_per_day_micros else "any amount"
    return f"generations ({generations}) and spend {spending} per day"
