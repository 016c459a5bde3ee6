"""Turns go to the user who waits longest, and every excess is refused with its own error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avatar_creator_server.errors import ResourceExhaustedError, UnavailableError
from avatar_creator_server.shared.turns import Turns

LONG = 60.0


def turns(**limits: Any) -> Turns:
    """Create turns, with one at once and a long wait unless `limits` say otherwise."""
    return Turns("uploads", **{"at_once": 1, "wait_seconds": LONG, **limits})


async def settle() -> None:
    """Let all other tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


class Served:
    """Callers who wait for turns, in the order in which they get them."""

    def __init__(self, turns: Turns) -> None:
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._turns = turns

    async def join(self, *users: str) -> None:
        """Let a call of each user wait for a turn."""
        for user in users:
            self.tasks.append(asyncio.create_task(self._wait(user)))
        await settle()

    async def _wait(self, user: str) -> None:
        await self._turns.begin(user)
        self.order.append(user)


async def test_one_call_of_another_user_waits_for_one_turn_only() -> None:
    limited = turns()
    served = Served(limited)
    await served.join(*["many"] * 60, "single")

    limited.end("many")
    await settle()

    limited.end("many")
    await settle()

    assert served.order == ["many", "many", "single"]
    for task in served.tasks:
        task.cancel()


async def test_a_user_has_only_so_many_turns_and_others_are_not_held_up() -> None:
    limited = turns(at_once=3, at_once_per_user=2)
    served = Served(limited)

    await served.join("many", "many", "many", "many", "other")

    assert served.order == ["many", "many", "other"]
    for task in served.tasks:
        task.cancel()


@pytest.mark.parametrize(
    ("limits", "users", "error"),
    [
        ({"at_once": 2, "at_once_per_user": 1, "wait_seconds": 0.01}, ["one", "one"], ResourceExhaustedError),
        ({"at_once": 1, "wait_seconds": 0.01}, ["one", "other"], UnavailableError),
    ],
    ids=["own", "of the server"],
)
async def test_a_call_that_waited_too_long_is_refused(
    limits: dict[str, Any], users: list[str], error: type[Exception]
) -> None:
    limited = turns(**limits)
    await limited.begin(users[0])

    with pytest.raises(error) as refused:
        await limited.begin(users[1])

    assert getattr(refused.value, "retry_after", None)
    limited.end(users[0])
    assert limited.is_idle


@pytest.mark.parametrize(
    ("waiting", "user", "error"),
    [
        (["one"], "one", ResourceExhaustedError),
        (["one", "other"], "third", UnavailableError),
    ],
    ids=["own", "of the server"],
)
async def test_a_call_that_finds_too_many_waiting_is_refused_at_once(
    waiting: list[str], user: str, error: type[Exception]
) -> None:
    limited = turns(at_once=2, at_once_per_user=1, waiting_factor=1)
    served = Served(limited)
    await served.join("one", "other", *waiting)

    with pytest.raises(error):
        async with asyncio.timeout(1):
            await limited.begin(user)

    for task in served.tasks:
        task.cancel()


@pytest.mark.parametrize("moment", ["before", "after"], ids=["while waiting", "just after its turn came"])
async def test_a_caller_who_leaves_holds_no_turn(moment: str) -> None:
    limited = turns()
    await limited.begin("one")
    served = Served(limited)
    await served.join("left", "next")

    if moment == "before":
        served.tasks[0].cancel()
        await settle()
    limited.end("one")
    served.tasks[0].cancel()
    await settle()

    assert served.order == ["next"]
    limited.end("next")
    assert limited.is_idle


async def test_a_turn_passes_over_a_caller_who_has_just_left() -> None:
    limited = turns()
    await limited.begin("one")
    served = Served(limited)
    await served.join("left", "next")

    served.tasks[0].cancel()
    limited.end("one")
    await settle()

    assert served.order == ["next"]
    limited.end("next")
    assert limited.is_idle
    assert not limited.is_full
