"""The provider `sketch`: draws a simple portrait from the attributes, on this machine, without a model.

It makes the whole path real on a laptop, and never pretends to be a photograph.
"""

from __future__ import annotations

import asyncio
import threading

from PIL import Image

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports, request_of_others
from avatar_creator_tasks.providers.sketch.art import draw_portrait
from avatar_creator_tasks.providers.sketch.art.restyle import restyle


class SketchProvider:
    """Draws with Pillow in a thread: same attributes, or reference, same size and seed, same pixels.

    It does not read prompts. From a reference it draws what that shows, and not the attributes.
    """

    estimates_progress = False
    most_at_once = 2

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
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

        def draw() -> Image.Image:
            if request.reference is not None:
                return restyle(
                    request.reference.image,
                    strength=request.reference.strength,
                    seed=request.seed,
                    width=request.width,
                    height=request.height,
                    on_step=on_step,
                )
            return draw_portrait(
                request.attributes,
                seed=request.seed,
                width=request.width,
                height=request.height,
                on_step=on_step,
            )

        try:
            return Portrait(await asyncio.to_thread(draw))
        finally:
            abandoned.set()

    async def cancel(self, request_id: str) -> None:
        """Refused: it makes no requests.

        Raises:
            ProviderError: it is another provider's, of which a worker may still be running.
        """
        raise request_of_others(request_id)

    async def close(self) -> None:
        """Nothing: it holds nothing."""


class _AbandonedError(Exception):
    """Nobody waits for the picture any more."""
