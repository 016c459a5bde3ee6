"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]

Watch = Annotated[
    bool,
    typer.Option(
        "--watch", help="Show the progress until the end; with --json, print each state as a line of JSON."
    ),
]
