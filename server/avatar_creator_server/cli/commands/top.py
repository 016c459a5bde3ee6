"""The command `top`: a live screen of the queue, the workers, failures and cost. For operators."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer
from rich.live import Live

from avatar_creator import AvatarCreator, DeadlineExceededError, UnavailableError, UserActivity
from avatar_creator_server.cli.service_screen import Snapshot, screen
from avatar_creator_server.cli.session import (
    LARGEST_PAGE,
    OPERATORS_PANEL,
    Session,
    client_command,
)
from avatar_creator_server.cli.terminal_keys import pressed_keys

commands = typer.Typer()

_MOST_USERS = 20
_MOST_WORKERS = 1000
_CALL_SECONDS = 3.0
"""Deadline of each call, so that the screen soon says that the service does not answer."""
_PRICE_SECONDS = 30.0
"""Time between two requests for the price: that call sums a month of spending."""


@client_command(commands, "top", example="top --interval 5", panel=OPERATORS_PANEL)
def top(
    session: Session,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time between two looks.", min=0.5, max=3600)
    ] = 2.0,
) -> None:
    """Show the queue, the workers, failures and cost, live until you press q. For operators.

    With --json, or if no terminal shows the output, the command prints one look and ends.
    """
    service = _Service(session.client)
    console = session.output
    if session.as_json or not console.is_terminal:
        snapshot = service.look()
        document = {part.name: getattr(snapshot, part.name) for part in fields(snapshot)}
        document["time"] = snapshot.time.isoformat()
        session.print_result(document, lambda _: screen(snapshot, server=session.server))
        return
    snapshot, problem = service.look(), ""
    with (
        pressed_keys() as wait_for_key,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        hint = f"every {interval:g} s, {'q' if sys.stdin.isatty() else 'Ctrl-C'} ends"
        while True:
            shown = screen(snapshot, server=session.server, hint=hint, problem=problem, console=console)
            live.update(shown, refresh=True)
            if _wait_for_end(wait_for_key, interval):
                return
            try:
                snapshot, problem = service.look(), ""
            except (UnavailableError, DeadlineExceededError) as error:
                problem = (
                    f"no answer since {snapshot.time.astimezone():%H:%M:%S}, trying again: {error.message}"
                )


@dataclass(slots=True)
class _Service:
    """The service that the screen shows. Its log has an entry for each call, so a look makes few of them."""

    client: AvatarCreator
    _price: int = 0
    _price_time: float = field(default=float("-inf"))
    _users: list[UserActivity] | None = None

    def look(self) -> Snapshot:
        """Ask the service: three calls, after the first look, which makes four."""
        operations = self.client.operations
        queue = operations.get_queue(timeout=_CALL_SECONDS)
        workers = list(
            islice(operations.list_workers(page_size=LARGEST_PAGE, timeout=_CALL_SECONDS), _MOST_WORKERS)
        )
        asks_price = time.monotonic() - self._price_time >= _PRICE_SECONDS
        if asks_price:
            stats = self.client.usage.stats(user_id=_ALL_USERS, timeout=_CALL_SECONDS)
            today = datetime.now(UTC).date()
            self._price = sum(spend.price_micros for spend in stats.spending if spend.day == today)
            self._price_time = time.monotonic()
        if self._users is None or not asks_price:
            users = operations.list_users(page_size=_MOST_USERS, timeout=_CALL_SECONDS)
            self._users = list(islice(users, _MOST_USERS))
        return Snapshot(datetime.now(UTC), queue, workers, self._users, self._price)


_ALL_USERS = "-"


def _wait_for_end(wait_for_key: Callable[[float], str], seconds: float) -> bool:
    """Wait so long, and return early and true when the person ends the screen."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if wait_for_key(left) in ("q", "Q"):
            return True
    return False
