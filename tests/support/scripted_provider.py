"""A provider that does what the test tells it, when the test tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from PIL import Image

from server.domain.images import Picture, encode_png
from tasks.providers.provider import PortraitRequest, Reports

_NEXT_SECONDS = 10.0


class Drawing:
    """One call of `ScriptedProvider.generate`, which waits for what the test wants of it next."""

    def __init__(self, request: PortraitRequest) -> None:
        self.request = request
        self.over = asyncio.Event()
        """Set when the call has ended: it succeeded, failed, or its worker gave it up."""
        self._steps: asyncio.Queue[Picture | Exception | Callable[[Reports], Awaitable[None]]] = (
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
        self._steps.put_nowait(encode_png(Image.new("RGB", (request.width, request.height), "teal")))

    def fail(self, error: Exception) -> None:
        """Raise `error`."""
        self._steps.put_nowait(error)

    async def run(self, reports: Reports) -> Picture:
        """Do as the test says until there is a picture or an error."""
        while True:
            step = await self._steps.get()
            if isinstance(step, Picture):
                return step
            if isinstance(step, Exception):
                raise step
            await step(reports)


class ScriptedProvider:
    """Gives each call of `generate` to the test as a `Drawing`."""

    name = "scripted"
    estimates_progress = False

    def __init__(self, *, charges: bool = False, provider_prompt: str = "") -> None:
        """Make one that charges or does not; `provider_prompt` replaces every prompt, if given."""
        self.charges = charges
        self.drawing_now = 0
        """Calls of `generate` that have not ended."""
        self._provider_prompt = provider_prompt
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

    def prompt_for(self, enhanced_prompt: str) -> str:
        """The scripted prompt, else the enhanced one."""
        return self._provider_prompt or enhanced_prompt

    async def generate(self, request: PortraitRequest, reports: Reports) -> Picture:
        """Hand the call to the test."""
        drawing = Drawing(request)
        self.drawing_now += 1
        self._begun.put_nowait(drawing)
        try:
            return await drawing.run(reports)
        finally:
            self.drawing_now -= 1
            drawing.over.set()
