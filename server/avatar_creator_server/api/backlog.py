"""The backlog of a server: calls that have arrived, and that the event loop has not reached yet.

gRPC accepts calls one after the other, and those behind wait where no code of ours sees them. Without
shedding, an overloaded server would reach only calls that are about to expire, and answer none. gRPC counts
the calls that arrive (channelz, gRFC A14), so the difference to those that the server has begun is the
backlog.
"""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

_TICK_SECONDS = 0.1
"""Interval between two looks at the backlog. A look takes about a millisecond."""
_MAX_DELAY_SECONDS = 0.1
"""Delay in the backlog from which the server is overloaded, if two looks in a row see it."""
_LEAST_CALLS = 100
"""Backlog that is no sign of overload: so many calls may arrive at the same moment."""


class Backlog:
    """The calls of one server that wait for the event loop."""

    def __init__(self) -> None:
        self.overloaded = False
        """True while calls wait too long for the event loop."""
        self._was_late = False
        self._server_id = 0
        self._begun = 0
        self._begun_before = 0
        self._lost = 0
        self._time_before = 0.0
        self._tick: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start to look. The newest server of this process must be the one whose backlog this is."""
        self._server_id = _newest_server_id()
        self._time_before = asyncio.get_running_loop().time()
        self._look()

    def stop(self) -> None:
        """Stop to look."""
        if self._tick is not None:
            self._tick.cancel()

    def begin(self) -> None:
        """Count a call that the event loop has reached."""
        self._begun += 1

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        request = channelz_pb2.GetServerRequest(server_id=self._server_id)
        arrived = ChannelzServicer.GetServer(request, None).server.data.calls_started
        now = loop.time()
        begun = self._begun - self._begun_before
        waiting = arrived - self._lost - self._begun
        if waiting and not begun:
            # gRPC itself has given up these calls.
            self._lost += waiting
            waiting = 0
        delay = waiting * (now - self._time_before) / max(begun, 1)
        is_late = waiting >= _LEAST_CALLS and delay > _MAX_DELAY_SECONDS
        self.overloaded = is_late and self._was_late
        self._was_late = is_late
        self._begun_before, self._time_before = self._begun, now
        self._tick = loop.call_later(_TICK_SECONDS, self._look)


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
