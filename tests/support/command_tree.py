"""The tree of commands of the program, for processes that run several commands."""

from __future__ import annotations

from functools import cache

import typer.main

from avatar_creator_server.cli.app import app


def build_commands_once() -> None:
    """Build the tree now. Typer builds it again for each command, which takes longer than most commands."""
    once = cache(typer.main.get_command)
    once(app)
    vars(typer.main)["get_command"] = once
