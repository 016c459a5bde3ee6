"""The backlog: a server is overloaded while calls to itself wait long, one after the other."""

from __future__ import annotations

from avatar_creator_server.api.backlog import Backlog

SHORT, LONG, VERY_LONG = 0.02, 0.1, 0.6


class Server:
    """A server whose calls wait as long as the test says, by a clock of its own."""

    def __init__(self) -> None:
        self._now = 100.0
        self.was_far_behind = False
        self.backlog = Backlog(lambda: self._now)

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    async def probe(self, seconds: float, calls: int = 50) -> bool:
        """Let a probe wait behind calls, and return whether the server was overloaded before its answer."""
        before_the_answer = False

        async def call() -> None:
            nonlocal before_the_answer
            for _ in range(calls):
                self.backlog.begin()
            self._now += seconds
            before_the_answer = self.backlog.overloaded
            self.was_far_behind = self.backlog.is_far_behind

        await self.backlog.probe(call)
        return before_the_answer


async def test_a_server_that_answers_at_once_is_not_overloaded() -> None:
    server = Server()
    for _ in range(10):
        assert not await server.probe(SHORT)
        assert not server.backlog.overloaded


async def test_a_burst_that_the_server_soon_reaches_is_no_overload() -> None:
    server = Server()
    for _ in range(3):
        assert not await server.probe(LONG)
        assert not server.backlog.overloaded
        assert not await server.probe(SHORT)
        assert not server.backlog.overloaded


async def test_a_second_late_probe_is_overload_before_its_answer_and_until_a_fast_one() -> None:
    server = Server()
    await server.probe(LONG)

    assert await server.probe(LONG)
    assert server.backlog.overloaded
    assert await server.probe(SHORT)
    assert not server.backlog.overloaded


async def test_shortly_after_an_overload_one_late_probe_is_overload() -> None:
    server = Server()
    for seconds in (LONG, LONG, SHORT):
        await server.probe(seconds)

    assert await server.probe(LONG)
    assert server.backlog.overloaded
    await server.probe(SHORT)
    server.pass_time(10)
    assert not await server.probe(LONG)


async def test_a_probe_that_waits_very_long_is_overload_by_itself() -> None:
    server = Server()
    assert await server.probe(VERY_LONG)
    assert server.was_far_behind
    await server.probe(SHORT)
    assert server.was_far_behind, "the last answer came late"
    await server.probe(SHORT)
    assert not server.was_far_behind
    assert not server.backlog.overloaded


async def test_a_server_that_was_held_up_without_many_calls_is_not_overloaded() -> None:
    server = Server()
    for _ in range(3):
        assert not await server.probe(VERY_LONG, calls=5)
        assert not server.backlog.overloaded
