"""A provider that the test controls step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from PIL import Image

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports

_NEXT_SECONDS = 10.0


class Drawing:
    """One call of `ScriptedProvider.generate`, which waits for the test's next instruction."""

    def __init__(self, request: PortraitRequest) -> None:
        self.request = request
        self.over = asyncio.Event()
        """Set when the call has ended, because it succeeded, failed or was cancelled."""
        self._instructions: asyncio.Queue[Portrait | Exception | Callable[[Reports], Awaitable[None]]] = (
            asyncio.Queue()
        )

    def submitted(self, provider_request_id: str) -> None:
        """Report that the provider accepted the request under this id."""
        self._instructions.put_nowait(lambda reports: reports.submitted(provider_request_id))

    def progress(self, part: float) -> None:
        """Report that this part of the drawing is done, 0 to 1."""
        self._instructions.put_nowait(lambda reports: reports.progress(part))

    def succeed(self, image: Image.Image | None = None) -> None:
        """Return a picture: this one, or one of a single color."""
        size = (self.request.width, self.request.height)
        self._instructions.put_nowait(Portrait(image or Image.new("RGB", size, "teal")))

    def fail(self, error: Exception) -> None:
        """Raise `error`."""
        self._instructions.put_nowait(error)

    async def run(self, reports: Reports) -> Portrait:
        """Follow the test's instructions until there is a picture or an error."""
        while True:
            instruction = await self._instructions.get()
            if isinstance(instruction, Portrait):
                return instruction
            if isinstance(instruction, Exception):
                raise instruction
            await instruction(reports)


class ScriptedProvider:
    """Passes each call of `generate` to the test as a `Drawing`."""

    estimates_progress = False
    max_concurrency = 2

    def __init__(self) -> None:
        self.drawing_now = 0
        """Number of calls of `generate` that have not ended."""
        self.cancelled: list[str] = []
        """Ids of the cancelled requests."""
        self._begun: asyncio.Queue[Drawing] = asyncio.Queue()

    async def next_drawing(self) -> Drawing:
        """Wait for the next call of `generate`.

        Raises:
            TimeoutError: 10 s have passed.
        """
        async with asyncio.timeout(_NEXT_SECONDS):
            return await self._begun.get()

    def has_begun(self) -> bool:
        """Return whether there is a call that `next_drawing` has not returned yet."""
        return not self._begun.empty()

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Pass the call to the test."""
        drawing = Drawing(request)
        self.drawing_now += 1
        self._begun.put_nowait(drawing)
        try:
            return await drawing.run(reports)
        finally:
            self.drawing_now -= 1
            drawing.over.set()

    async def cancel(self, request_id: str) -> None:
        """Record the cancellation."""
        self.cancelled.append(request_id)

    async def close(self) -> None:
        """Do nothing: the provider holds no resources."""
