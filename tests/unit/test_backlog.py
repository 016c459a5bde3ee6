"""The backlog: calls that wait for the event loop are found, and no others count."""

from __future__ import annotations

from avatar_creator_server.api.backlog import Backlog


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Arrivals:
    """Calls that arrive and begin at steady rates, by a clock of their own."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self.backlog = Backlog(self._clock)
        self._arrived = 0.0
        self.backlog.look(0)

    def pass_time(self, seconds: float, *, arriving: float, begun: float, looking: bool = True) -> None:
        """Let time pass while calls arrive and begin, both per second."""
        for _ in range(round(begun * seconds)):
            self.backlog.begin()
        self._clock.now += seconds
        self._arrived += arriving * seconds
        if looking:
            self.backlog.look(round(self._arrived))


def test_a_server_that_keeps_up_has_no_backlog() -> None:
    arrivals = Arrivals()
    for _ in range(10):
        arrivals.pass_time(0.1, arriving=1000, begun=1000)
        assert not arrivals.backlog.overloaded


def test_calls_that_wait_longer_than_the_limit_are_a_long_backlog_until_they_have_begun() -> None:
    arrivals = Arrivals()
    arrivals.pass_time(0.1, arriving=500, begun=400)
    assert not arrivals.backlog.overloaded
    for _ in range(20):
        arrivals.pass_time(0.1, arriving=500, begun=400)
    assert arrivals.backlog.overloaded

    # Refusals are fast. The end of the backlog shows before the next look.
    arrivals.pass_time(0.08, arriving=500, begun=4000, looking=False)
    assert not arrivals.backlog.overloaded


def test_a_burst_that_the_server_soon_reaches_is_no_long_backlog() -> None:
    arrivals = Arrivals()
    arrivals.pass_time(0.1, arriving=5000, begun=1000)
    arrivals.pass_time(0.1, arriving=1000, begun=5000)
    arrivals.pass_time(0.1, arriving=1000, begun=1000)
    assert not arrivals.backlog.overloaded


def test_calls_that_grpc_has_given_up_are_no_backlog() -> None:
    arrivals = Arrivals()
    for _ in range(2):
        arrivals.pass_time(0.1, arriving=5000, begun=100)
    assert arrivals.backlog.overloaded
    arrivals.pass_time(0.1, arriving=0, begun=0)
    arrivals.pass_time(0.1, arriving=100, begun=100)
    assert not arrivals.backlog.overloaded
