"""A provider that does what the test tells it, when the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from PIL import Image

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports

_NEXT_SECONDS = 10.0


class Drawing:
    """One call of `ScriptedProvider.generate`, which waits for what the test wants of it next."""

    def __init__(self, request: PortraitRequest) -> None:
        self.request = request
        self.over = asyncio.Event()
        """Set when the call has ended: it succeeded, failed, or its worker gave it up."""
        self._steps: asyncio.Queue[Portrait | Exception | Callable[[Reports], Awaitable[None]]] = (
            asyncio.Queue()
        )

    def submitted(self, provider_request_id: str) -> None:
        """Report that the provider took the request under this id."""
        self._steps.put_nowait(lambda reports: reports.submitted(provider_request_id))

    def progress(self, part: float) -> None:
        """Report that this part is drawn, 0 to 1."""
        self._steps.put_nowait(lambda reports: reports.progress(part))

    def succeed(self) -> None:
        """Return a picture."""
        request = self.request
        self._steps.put_nowait(Portrait(Image.new("RGB", (request.width, request.height), "teal")))

    def fail(self, error: Exception) -> None:
        """Raise `error`."""
        self._steps.put_nowait(error)

    async def run(self, reports: Reports) -> Portrait:
        """Do as the test says until there is a picture or an error."""
        while True:
            step = await self._steps.get()
            if isinstance(step, Portrait):
                return step
            if isinstance(step, Exception):
                raise step
            await step(reports)


class ScriptedProvider:
    """Gives each call of `generate` to the test as a `Drawing`."""

    estimates_progress = False
    most_at_once = 2

    def __init__(self) -> None:
        self.drawing_now = 0
        """Calls of `generate` that have not ended."""
        self.cancelled: list[str] = []
        """Requests that the provider was told to drop."""
        self._begun: asyncio.Queue[Drawing] = asyncio.Queue()

    async def next_drawing(self) -> Drawing:
        """The next call of `generate` that the test has not seen yet.

        Raises:
            TimeoutError: there is none within 10 s.
        """
        async with asyncio.timeout(_NEXT_SECONDS):
            return await self._begun.get()

    def has_begun(self) -> bool:
        """Whether there is a call that the test has not seen yet."""
        return not self._begun.empty()

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Hand the call to the test."""
        drawing = Drawing(request)
        self.drawing_now += 1
        self._begun.put_nowait(drawing)
        try:
            return await drawing.run(reports)
        finally:
            self.drawing_now -= 1
            drawing.over.set()

    async def cancel(self, request_id: str) -> None:
        """Note it."""
        self.cancelled.append(request_id)

    async def close(self) -> None:
        """Nothing is held."""
