"""Advice for what operators have stopped: the commands that let workers claim generations again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable


def end_of_pauses(routes: Iterable[str | None]) -> str:
    """Return the advice that ends pauses.

    Args:
        routes: The paused routes, at least one; an empty name or None for the whole queue.
    """
    # A pause of the whole queue and pauses of routes are independent, so each needs a command of its own.
    commands = (f"queue resume --route {shlex.quote(route)}" if route else "queue resume" for route in routes)
    return f"end the pause with {_quoted(commands)}"


def end_of_drains(workers: Iterable[str]) -> str:
    """Return the advice that lets drained workers, at least one, claim again."""
    commands = (f"workers resume {shlex.quote(name)}" for name in workers)
    return f"let drained workers claim again with {_quoted(commands)}"


def _quoted(commands: Iterable[str]) -> str:
    return " and ".join(f"`avatar-creator {command}`" for command in commands)
