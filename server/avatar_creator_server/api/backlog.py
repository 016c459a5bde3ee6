"""The backlog of a server: calls that have arrived, and that the event loop has not reached yet.

gRPC accepts calls one after the other, and those behind wait where no code of ours sees them. Without
shedding, an overloaded server would reach only calls that are about to expire, and answer none. gRPC counts
the calls that arrive (channelz, gRFC A14), so the difference to those that the server has begun is the
backlog.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

_TICK_SECONDS = 0.1
"""Interval between two looks at the backlog. A look takes about a millisecond."""
_MAX_DELAY_SECONDS = 0.1
"""Delay in the backlog from which the server is overloaded, if two looks in a row see it."""
_LEAST_CALLS = 100
"""Backlog that is no sign of overload: so many calls may arrive at the same moment."""
_FEW_CALLS = 20
"""Backlog at which an overloaded server goes on to answer."""


class Backlog:
    """The calls of one server that wait for the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._server_id = 0
        self._look_time = 0.0
        self._waiting = 0
        """Calls that waited at the last look."""
        self._late_looks = 0
        self._arrived = 0
        self._lost = 0
        self._begun = 0
        self._begun_since = 0
        """Calls that the event loop has reached since the last look."""
        self._arrivals_per_second = 0.0
        self._next_look: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to look. The newest server of this process must be the one whose backlog this is."""
        self._server_id = _newest_server_id()
        self._look_time = self._clock()
        self._look_again()

    def stop(self) -> None:
        """Stop to look."""
        if self._next_look is not None:
            self._next_look.cancel()

    def begin(self) -> None:
        """Count a call that the event loop has reached."""
        self._begun_since += 1

    @property
    def overloaded(self) -> bool:
        """True while calls wait too long for the event loop.

        Refusals are fast, so the backlog often ends before the next look. A server that kept refusing until
        then would do nothing.
        """
        if self._late_looks < 2:
            return False
        arrived = self._arrivals_per_second * (self._clock() - self._look_time)
        return self._waiting + arrived - self._begun_since > _FEW_CALLS

    def look(self, arrived: int) -> None:
        """Compare the number of calls that have arrived since the start with those that have begun."""
        now = self._clock()
        seconds = max(now - self._look_time, 1e-3)
        self._begun += self._begun_since
        waiting = arrived - self._lost - self._begun
        if waiting and not self._begun_since:
            # gRPC itself has given up these calls.
            self._lost += waiting
            waiting = 0
        delay = waiting * seconds / max(self._begun_since, 1)
        is_late = waiting >= _LEAST_CALLS and delay > _MAX_DELAY_SECONDS
        self._late_looks = self._late_looks + 1 if is_late else 0
        self._arrivals_per_second = (arrived - self._arrived) / seconds
        self._waiting, self._arrived, self._look_time, self._begun_since = waiting, arrived, now, 0

    def _look_again(self) -> None:
        request = channelz_pb2.GetServerRequest(server_id=self._server_id)
        self.look(ChannelzServicer.GetServer(request, None).server.data.calls_started)
        self._next_look = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._look_again)


def _newest_server_id() -> int:
    newest = 0
    while True:
        # A page has up to 100 servers, in the order of their ids.
        page: Any = ChannelzServicer.GetServers(
            channelz_pb2.GetServersRequest(start_server_id=newest + 1), None
        )
        newest = max((server.ref.server_id for server in page.server), default=newest)
        if page.end or not page.server:
            return newest
