"""Options that several commands share."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

_TIME_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def time_span(text: str) -> timedelta:
    """Return a time span as people type it: `90s`, `30m`, `24h` or `7d`.

    Raises:
        BadParameter: The text is not a time span.
    """
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text} is not a time span; use for example 90s, 30m, 24h or 7d")
    number, unit = match.groups()
    return timedelta(**{_UNITS[unit]: int(number)})


def ago(span: timedelta | None) -> datetime | None:
    """Return the time that was so long ago; None for none."""
    return None if span is None else datetime.now(UTC) - span


def given(context: typer.Context, parameter: typer.CallbackParam, value: str) -> str:
    """Return the value of an option that narrows what a command does.

    Raises:
        BadParameter: It was given without a value. A script whose variable is not set would otherwise change
            more than it names.
    """
    source = context.get_parameter_source(parameter.name or "")
    if not value.strip() and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter("must not be empty; leave the option out to do without it")
    return value


User = Annotated[
    str,
    typer.Option(
        "--user",
        metavar="USER_ID",
        help="For operators: the user whose data to show; - for all users.",
        show_default="yourself",
        callback=given,
    ),
]

Limit = Annotated[int, typer.Option(metavar="COUNT", help="List at most this many.", min=1)]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

ExpectedRevision = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="Change nothing unless this is the current revision, which `--json` prints.",
        show_default="any",
        min=1,
    ),
]

Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]

Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Show the progress until the end; with --json, print each state as a line of JSON."
    ),
]

OlderThan = Annotated[
    timedelta | None,
    typer.Option(
        metavar="AGE", parser=time_span, help="Only generations created longer ago: 90s, 30m, 24h or 7d."
    ),
]
