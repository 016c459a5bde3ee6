"""The backlog of a server: calls that have arrived, and that the event loop has not reached yet.

gRPC accepts calls one after the other, and those behind wait where no code of ours sees them. Without
shedding, an overloaded server would reach only calls that are about to expire, and answer none. So the server
calls itself again and again: the time until the answer is the time that every other call waits.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

_PROBE_SECONDS = 0.1
"""Time between two probes while calls arrive and none is late. A probe costs about half a millisecond."""
_MAX_DELAY_SECONDS = 0.05
"""Delay of a probe from which it is late. One late probe is a burst, and two in a row are overload."""
_LEAST_CALLS = 20
"""Calls that must begin while a late probe waits. With fewer, a busy machine held the process up, and
refusals would not help."""
_MAX_FIRST_DELAY_SECONDS = 0.2
"""Delay of a probe that is overload by itself: the answer to a probe may come only after seconds."""
_FAR_BEHIND_SECONDS = 0.5
"""Delay of a probe from which all writes are refused, because they cost most, and watches like other calls.
Below it they are not, because many clients open their watches again at the same time."""
_ALERT_SECONDS = 2.0
"""Time after an overload in which one late probe is overload again: a flood outlasts its first refusals."""
_PROBE_METHOD = "/avatar_creator.v1.BacklogProbe/Probe"
"""A method that no service has: gRPC itself refuses the call as soon as it is reached."""


class Backlog:
    """The calls of one server that wait for the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._late_probes = 0
        """Late probes in a row."""
        self._alert_end = 0.0
        self._last_delay = 0.0
        self._probe_start: float | None = None
        self._begun = 0
        """Calls that the event loop has reached since the last probe."""
        self._probes: asyncio.Task[None] | None = None
        # A folder that only this user can enter: the socket has no TLS.
        self._folder = tempfile.TemporaryDirectory(prefix="avatar-creator-")

    @property
    def address(self) -> str:
        """The address that the server must also listen on, for the probes."""
        return f"unix:{Path(self._folder.name) / 'probe'}"

    def start(self) -> None:
        """Start to probe. The server must have started."""
        self._probes = asyncio.create_task(self._probe_again_and_again())

    async def stop(self) -> None:
        """Stop to probe."""
        if self._probes is not None:
            self._probes.cancel()
            with suppress(asyncio.CancelledError):
                await self._probes
        self._folder.cleanup()

    def begin(self) -> None:
        """Count a call that the event loop has reached."""
        self._begun += 1

    @property
    def overloaded(self) -> bool:
        """True while calls wait too long for the event loop.

        Refusals are fast, so the backlog often ends after a few of them: the next probe shows that.
        """
        if self._probe_start is None and not self._late_probes:
            return False
        now = self._clock()
        late_probes = self._late_probes + self._is_late(now)
        is_very_late = self._is_late(now, _MAX_FIRST_DELAY_SECONDS)
        return is_very_late or late_probes >= (1 if now < self._alert_end else 2)

    @property
    def is_far_behind(self) -> bool:
        """True while calls wait very long for the event loop."""
        return max(self._last_delay, self._delay(self._clock())) > _FAR_BEHIND_SECONDS

    async def probe(self, call: Callable[[], Awaitable[None]]) -> None:
        """Measure how long a call to this server waits."""
        self._begun = 0
        self._probe_start = self._clock()
        await call()
        now = self._clock()
        if self.overloaded:
            self._alert_end = now + _ALERT_SECONDS
        self._last_delay = self._delay(now)
        self._late_probes = self._late_probes + 1 if self._is_late(now) else 0
        self._probe_start = None

    def _is_late(self, now: float, most: float = _MAX_DELAY_SECONDS) -> bool:
        """Return whether the running probe has waited for longer than `most`, behind calls."""
        return self._begun >= _LEAST_CALLS and self._delay(now) > most

    def _delay(self, now: float) -> float:
        """Return how long the running probe has waited; 0 without one."""
        return now - self._probe_start if self._probe_start is not None else 0.0

    async def _probe_again_and_again(self) -> None:
        async with grpc.aio.insecure_channel(self.address) as channel:
            method: Any = channel.unary_unary(_PROBE_METHOD)

            async def call() -> None:
                with suppress(grpc.aio.AioRpcError):
                    await method(b"")

            while True:
                # The probe itself is one of the calls that begin.
                if self._begun > 1 or self._late_probes:
                    await self.probe(call)
                await asyncio.sleep(0 if self._late_probes else _PROBE_SECONDS)
