"""Turns go to the user who waits longest, and every excess is refused with its own error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avatar_creator_server.errors import ResourceExhaustedError, UnavailableError
from avatar_creator_server.fair_queue import FairQueue, UserLimit
from avatar_creator_server.shared.turns import Turns

LONG = 60.0


def turns(*, at_once_per_user: int | None = None, **limits: Any) -> Turns:
    """Create turns, with one at once and a long wait unless `limits` say otherwise."""
    user_limit = UserLimit(at_once_per_user, "TRANSFER_LIMIT") if at_once_per_user else None
    return Turns("uploads", **{"at_once": 1, "wait_seconds": LONG, "user_limit": user_limit, **limits})


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
        (["one", "other", "third", "fourth"], "fifth", UnavailableError),
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


async def test_users_who_fill_the_queue_do_not_keep_out_the_first_call_of_another() -> None:
    limited = turns(at_once=2, at_once_per_user=1, waiting_factor=8)
    served = Served(limited)
    await served.join(*["one"] * 9, *["two"] * 9)

    await served.join("third")
    for user in ("one", "two", "one"):
        limited.end(user)
        await settle()

    assert served.order == ["one", "two", "one", "two", "third"]
    for task in served.tasks:
        task.cancel()


async def test_the_waiting_calls_of_many_users_are_bounded() -> None:
    limited = turns(at_once=2, at_once_per_user=1, waiting_factor=8)
    served = Served(limited)
    await served.join(*(f"user-{number}" for number in range(100)))

    refused = [task for task in served.tasks if task.done() and task.exception() is not None]

    assert len(served.tasks) - len(refused) <= 2 + 2 * 16
    for task in served.tasks:
        task.cancel()


async def test_without_a_limit_of_a_user_every_refusal_is_of_the_server() -> None:
    limited = turns(at_once=2, wait_seconds=0.01)
    for _ in range(2):
        await limited.begin("one")

    with pytest.raises(UnavailableError) as waited:
        await limited.begin("one")
    late = limited.refusal("one", seconds_left=0.0)

    assert waited.value.reason == "OVERLOADED"
    assert isinstance(late, UnavailableError)


class _Compared:
    """A call that counts how often it is compared with another one."""

    comparisons = 0

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id

    def __eq__(self, other: object) -> bool:
        _Compared.comparisons += 1
        return self is other

    __hash__ = object.__hash__


def test_calls_that_leave_at_once_are_found_without_a_search() -> None:
    queue: FairQueue[_Compared] = FairQueue("reads", at_once=1)
    calls = [_Compared("watches") for _ in range(2000)]
    for call in calls:
        queue.begin(call, is_patient=True)

    assert all(queue.leave(call) for call in calls[:0:-1])

    assert _Compared.comparisons < len(calls)
    assert not queue.leave(calls[1])
    assert queue.end("watches") is None
    assert queue.is_idle


def test_patient_calls_take_no_places_of_others() -> None:
    queue: FairQueue[_Compared] = FairQueue("reads", at_once=1, waiting_factor=2)
    for _ in range(100):
        queue.begin(_Compared("watches"), is_patient=True)

    for user in ("watches", "watches", "other"):
        assert not queue.begin(_Compared(user))

    assert queue.waiting_count == 3
    with pytest.raises(UnavailableError):
        queue.begin(_Compared("watches"))
    assert queue.end("watches") is not None
    other = queue.end("watches")
    assert other is not None
    assert other.user_id == "other"


def test_users_leave_a_turn_to_the_background() -> None:
    queue: FairQueue[_Compared] = FairQueue("reads", at_once=3, background="")
    users = [queue.begin(_Compared(user)) for user in ("one", "two", "three")]
    background = [queue.begin(_Compared(""), is_patient=True) for _ in range(2)]

    assert users == [True, True, False]
    assert background == [True, False]
    following = queue.end("")
    assert following is not None
    assert following.user_id == "", "the users have as many turns as they may have"


def test_without_a_queue_the_last_turns_are_for_users_who_have_none() -> None:
    queue: FairQueue[_Compared] = FairQueue(
        "watches", at_once=16, user_limit=UserLimit(10, "CALL_LIMIT"), waiting_factor=0
    )
    for user in ["one"] * 10 + ["two"] * 4:
        assert queue.begin(_Compared(user))

    assert queue.is_full
    with pytest.raises(UnavailableError):
        queue.begin(_Compared("two"))
    assert queue.begin(_Compared("third"))
    with pytest.raises(UnavailableError):
        queue.begin(_Compared("third"))
    assert queue.begin(_Compared("fourth"))
    with pytest.raises(UnavailableError):
        queue.begin(_Compared("fifth"))
