"""Calls at the same time: the excess is refused, and a call that cannot be answered in time is not begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import pytest

from avatar_creator_server.api.access import set_identity
from avatar_creator_server.api.calls import Calls, Refusal
from avatar_creator_server.api.tokens import Identity
from avatar_creator_server.errors import (
    AvatarCreatorError,
    ResourceExhaustedError,
    UnavailableError,
    overloaded_error,
)
from avatar_creator_server.fair_queue import UserLimit
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.memory import MemoryReturn
from avatar_creator_server.shared.turns import Turns

DOWNLOAD = "/avatar_creator.v1.AvatarService/DownloadImage"
GET = "/avatar_creator.v1.AvatarService/GetAvatar"
CREATE = "/avatar_creator.v1.AvatarProjectService/CreateProject"
WATCH = "/avatar_creator.v1.GenerationService/WatchGeneration"
HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
HEALTH_CHECK = "/grpc.health.v1.Health/Check"
MIB = 1024 * 1024


class Call:
    """The context of a call of a user, as `Calls` sees it."""

    def __init__(
        self, user: str = "one", *, seconds_left: float | None = None, peer: str = "ipv4:10.0.0.1:50000"
    ) -> None:
        self.user = user
        self._seconds_left = seconds_left
        self._peer = peer
        self._has_ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def time_remaining(self) -> float | None:
        return self._seconds_left

    def peer(self) -> str:
        return self._peer

    async def run(self, handle: Callable[[], None]) -> None:
        """Handle the call in a task of its own, as gRPC does. It lasts until its `end`."""

        async def handle_and_wait() -> None:
            handle()
            handled.set()
            await self._has_ended.wait()

        handled = asyncio.Event()
        self._task = asyncio.create_task(handle_and_wait())
        await handled.wait()

    async def end(self) -> None:
        """Let the client read the answer."""
        assert self._task is not None
        self._has_ended.set()
        await self._task


class KnownUsers:
    """The authentication: every user has shown their token before."""

    def known_user_id(self, context: Call) -> str | None:
        return context.user or None


@dataclass
class Backlog:
    """The backlog of a server."""

    overloaded: bool
    is_far_behind: bool = False


class Transfers:
    """The transfers of these users run."""

    def __init__(self) -> None:
        self.users: set[str] = set()

    def has(self, user_id: str) -> bool:
        return user_id in self.users


class Server:
    """The calls of a server with these settings, and those that hold a turn."""

    def __init__(self, **settings: Any) -> None:
        self.transfers = Transfers()
        self.calls: Any = Calls(Settings(**settings), KnownUsers(), self.transfers, MemoryReturn())  # type: ignore[arg-type]
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._held.aclose()

    async def begin(self, method: str, call: Call) -> None:
        """Let a call take its turn and keep it."""
        set_identity(Identity(Caller(call.user), is_ops=False, expires=0))
        self._held.callback(self.calls.end, method, await self.calls.begin(method, call))

    async def refusal_in_turn(self, method: str, call: Call) -> AvatarCreatorError:
        """Return the error of a call that is refused at its turn."""
        with pytest.raises(AvatarCreatorError) as refused:
            await self.begin(method, call)
        return refused.value

    def refusal(self, method: str, call: Call, *, overloaded: bool = False) -> AvatarCreatorError | None:
        """Return the error of a call that is refused before anything else."""
        refusal: Refusal | None = self.calls.refusal(method, call, Backlog(overloaded))
        return refusal.error if refusal else None


@pytest.mark.parametrize(
    ("method", "limit"),
    [(GET, "reads"), (CREATE, "writes"), (WATCH, "watches")],
    ids=["read", "write", "watch"],
)
async def test_the_excess_of_a_user_and_of_the_server_have_their_errors(method: str, limit: str) -> None:
    small = {f"{limit}_at_once": 3, f"{limit}_at_once_per_user": 2, "call_wait_seconds": 0.01}
    async with Server(**small) as server:
        await server.begin(method, Call("one"))
        await server.begin(method, Call("one"))

        own = await server.refusal_in_turn(method, Call("one"))
        await server.begin(method, Call("other"))
        of_server = await server.refusal_in_turn(method, Call("third"))

    assert isinstance(own, ResourceExhaustedError)
    assert (own.reason, own.metadata, own.quota.subject) == (
        "CALL_LIMIT",
        {"limit": limit, "most": "2"},
        limit,
    )
    assert isinstance(of_server, UnavailableError)
    assert of_server.reason == "OVERLOADED"
    assert own.retry_after
    assert of_server.retry_after


async def test_classes_do_not_wait_for_each_other() -> None:
    async with Server(reads_at_once=1, writes_at_once=1, watches_at_once=1) as server:
        for method in (GET, CREATE, WATCH):
            await server.begin(method, Call())


async def test_a_call_whose_deadline_has_passed_is_not_begun() -> None:
    async with Server() as server:
        assert (await server.refusal_in_turn(CREATE, Call(seconds_left=0.0))).reason == "OVERLOADED"


async def test_the_streams_of_an_address_without_a_token_are_bounded() -> None:
    limits = {"anonymous_streams": 3, "anonymous_streams_per_peer": 2}
    async with Server(**limits) as server:
        for port in (1, 2):
            await server.begin(HEALTH_WATCH, Call("", peer=f"ipv6:%5B2001:db8::{port}%5D:{port}"))

        own = server.refusal(HEALTH_WATCH, Call("", peer="ipv6:%5B2001:db8::3%5D:3"))
        await server.begin(HEALTH_WATCH, Call("", peer="ipv6:%5B2001:db8:0:2::1%5D:1"))
        of_server = server.refusal(HEALTH_WATCH, Call("", peer="ipv6:%5B2001:db8:0:3::1%5D:1"))

        assert own is not None
        assert of_server is not None
        assert (own.reason, of_server.reason) == ("CALL_LIMIT", "OVERLOADED")
        assert server.refusal(HEALTH_CHECK, Call("", peer="ipv6:%5B2001:db8::1%5D:4")) is None


async def test_an_overloaded_server_refuses_users_who_have_calls_already() -> None:
    async with Server() as server:
        await server.begin(GET, Call("many"))
        await server.begin(WATCH, Call("many"))

        refused = server.refusal(GET, Call("many"), overloaded=True)
        assert refused is not None
        assert refused.reason == "OVERLOADED"
        assert server.refusal(GET, Call("many")) is None
        assert server.refusal(GET, Call("single"), overloaded=True) is None
        assert server.refusal(CREATE, Call("many"), overloaded=True) is None
        assert server.refusal(WATCH, Call("many"), overloaded=True) is None
        far_behind = Backlog(overloaded=True, is_far_behind=True)
        assert server.calls.refusal(WATCH, Call("many"), far_behind).error.reason == "OVERLOADED"
        assert server.calls.refusal(WATCH, Call("single"), far_behind) is None
        assert server.calls.refusal(CREATE, Call("single"), far_behind).error.reason == "OVERLOADED"
        assert server.calls.refusal(GET, Call("single"), far_behind) is None


async def test_only_the_refusal_of_a_read_or_write_with_time_left_is_kept_back() -> None:
    async with Server() as server:
        error = overloaded_error("full")
        own = asyncio.create_task(
            server.calls.keep_back(GET, Refusal("many", error), Call(seconds_left=20.0))
        )
        await server.calls.keep_back(GET, Refusal("", error), Call())
        await server.calls.keep_back(GET, Refusal("many", error), Call(seconds_left=0.9))
        await server.calls.keep_back(WATCH, Refusal("many", error), Call())

        assert not own.done()
        await own


async def test_the_refusals_that_are_kept_back_are_bounded() -> None:
    async with Server() as server:
        refusal = Refusal("many", overloaded_error("full"))
        tasks = [asyncio.create_task(server.calls.keep_back(GET, refusal, Call())) for _ in range(2_000)]
        await asyncio.sleep(0)

        kept = [task for task in tasks if not task.done()]

        assert 0 < len(kept) <= 1_000
        for task in kept:
            task.cancel()
        await asyncio.wait(kept)
        again = asyncio.create_task(server.calls.keep_back(GET, refusal, Call()))
        await asyncio.sleep(0)
        assert not again.done(), "calls that were given up still count"
        await again


async def test_an_overloaded_server_does_not_begin_a_call_without_time_left() -> None:
    async with Server() as server:
        call = Call("single", seconds_left=0.05)
        refused = server.refusal(GET, call, overloaded=True)
        assert refused is not None
        assert refused.reason == "OVERLOADED"
        assert server.refusal(GET, call) is None


async def test_an_overloaded_server_refuses_users_who_have_transfers_already() -> None:
    async with Server() as server:
        assert server.refusal(DOWNLOAD, Call("many"), overloaded=True) is None
        server.transfers.users.add("many")
        refused = server.refusal(DOWNLOAD, Call("many"), overloaded=True)
        assert refused is not None
        assert refused.reason == "OVERLOADED"
        assert server.refusal(DOWNLOAD, Call("many")) is None


async def test_an_overloaded_server_lets_few_calls_without_a_known_token_pass_and_checks_apart() -> None:
    def passing(server: Server, method: str, peer: str) -> int:
        calls = [server.refusal(method, Call("", peer=peer), overloaded=True) for _ in range(200)]
        assert {error.reason for error in calls if error} <= {"OVERLOADED"}
        return calls.count(None)

    async with Server() as server:
        # A second may end while the calls are counted.
        assert 20 <= passing(server, GET, "one:1") <= 40
        assert 20 <= passing(server, HEALTH_CHECK, "one:2") <= 40
        assert 20 <= passing(server, GET, "other:1") <= 40
        assert server.refusal(GET, Call("", peer="one:1")) is None


async def test_answers_that_were_sent_while_a_call_waited_count_at_its_turn() -> None:
    async with Server(unread_answers_mib_per_user=1) as server:
        unread = Call("", peer="one:1")
        await unread.run(lambda: server.calls.send(MIB, unread, user_id="one"))
        assert (await server.refusal_in_turn(GET, Call("one"))).reason == "CALL_LIMIT"
        await unread.end()
        await server.begin(GET, Call("one"))


async def test_users_who_do_not_read_get_no_further_answers() -> None:
    async with Server(unread_answers_mib=2, unread_answers_mib_per_user=1) as server:
        unread = [Call("", peer="one:1"), Call("", peer="one:2"), Call("", peer="other:1")]
        await unread[0].run(lambda: server.calls.send(MIB // 2, unread[0]))
        assert server.refusal(GET, Call("one")) is None
        await unread[1].run(lambda: server.calls.send(MIB, unread[1]))
        await unread[2].run(lambda: server.calls.send(MIB, unread[2]))

        own, of_server = server.refusal(GET, Call("one")), server.refusal(GET, Call("third"))
        check, other_check = (
            server.refusal(HEALTH_CHECK, Call("", peer=f"{peer}:9")) for peer in ("one", "third")
        )
        await unread[1].end()

        assert own is not None
        assert of_server is not None
        assert check is not None
        assert (own.reason, own.metadata["limit"]) == ("CALL_LIMIT", "bytes_of_unread_answers")
        assert (of_server.reason, check.reason) == ("OVERLOADED", "CALL_LIMIT")
        assert other_check is None, "a load balancer must always get an answer"
        assert server.refusal(GET, Call("one")) is None


class _Pace:
    """Turns that pass at a steady pace, with many waiting calls."""

    def __init__(self, seconds_per_turn: float) -> None:
        self.turns = Turns("reads", at_once=2, user_limit=UserLimit(1, "CALL_LIMIT"), wait_seconds=1.0)
        self._seconds = seconds_per_turn
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, turns: int, waiting: int) -> None:
        """Let turns pass, until this many calls of one user still wait."""
        await self.turns.begin("many")
        self._tasks = [asyncio.create_task(self.turns.begin("many")) for _ in range(turns + waiting)]
        loop = asyncio.get_running_loop()
        for _ in range(turns):
            next_turn = loop.create_future()
            loop.call_later(self._seconds, next_turn.set_result, None)
            await next_turn
            self.turns.end("many")

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


async def test_a_call_that_cannot_be_answered_in_time_is_refused_at_once() -> None:
    pace = _Pace(0.02)
    await pace.run(turns=5, waiting=10)

    # Eleven turns of 0.02 s come first, with a margin for a busy machine.
    assert pace.turns.refusal("many", 0.1) is not None
    assert pace.turns.refusal("many", 20.0) is None
    assert pace.turns.refusal("single", 0.1) is None, "another user has a turn at once"
    pace.close()


async def test_a_call_that_would_wait_too_long_is_refused_at_once() -> None:
    pace = _Pace(0.1)
    await pace.run(turns=3, waiting=15)

    refused = pace.turns.refusal("many")

    assert isinstance(refused, ResourceExhaustedError)
    pace.close()
