"""The provider `sketch`: draws a simple portrait from the attributes, on this machine, without a model.

It makes the whole path real on a laptop, and never pretends to be a photograph.
"""

from __future__ import annotations

import asyncio
import threading

from server.domain.images import Picture, encode_png
from tasks.providers.provider import PortraitRequest, Reports
from tasks.providers.sketch_art import draw_portrait


class SketchProvider:
    """Draws with Pillow in a thread: same attributes, size and seed, same bytes. It does not read prompts."""

    name = "sketch"
    charges = False
    estimates_progress = False

    def prompt_for(self, enhanced_prompt: str) -> str:
        """The enhanced prompt as it is."""
        return enhanced_prompt

    async def generate(self, request: PortraitRequest, reports: Reports) -> Picture:
        """Draw the portrait, reporting each step."""
        loop = asyncio.get_running_loop()
        abandoned = threading.Event()

        def on_step(done: int, total: int) -> None:
            if abandoned.is_set():
                raise _AbandonedError
            # Waits for the report, so that a cancelled generation stops between two steps.
            asyncio.run_coroutine_threadsafe(_report(done, total), loop).result()

        async def _report(done: int, total: int) -> None:
            await reports.progress(done / total)

        def draw() -> Picture:
            image = draw_portrait(
                request.attributes,
                seed=request.seed,
                width=request.width,
                height=request.height,
                on_step=on_step,
            )
            return encode_png(image)

        try:
            return await asyncio.to_thread(draw)
        finally:
            abandoned.set()


class _AbandonedError(Exception):
    """Nobody waits for the picture any more."""
