"""The provider `sketch`, which draws with Pillow in a thread.

It needs no model and no network, so that every installation can draw. Its pictures are drawings, never
photographs.
"""

from __future__ import annotations

import asyncio

from PIL import Image

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports, foreign_request_error
from avatar_creator_tasks.providers.sketch.art import draw_portrait, restyle
from avatar_creator_tasks.providers.step_reporter import StepReporter


class SketchProvider:
    """Draws the same pixels for the same attributes or reference, size and seed.

    It does not read the prompt. With a reference it redraws that picture and ignores the attributes.
    """

    estimates_progress = False
    max_concurrency = 2

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Draw the portrait and report each step."""
        with StepReporter(reports.progress) as reporter:

            def on_step(done: int, total: int) -> None:
                reporter.step_done(done / total)

            def draw() -> Image.Image:
                if request.references:
                    [reference] = request.references
                    return restyle(
                        reference.image,
                        strength=reference.strength,
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

            return Portrait(await asyncio.to_thread(draw))

    async def cancel(self, request_id: str) -> None:
        """Refuse: this provider makes no requests.

        Raises:
            ProviderError: The request belongs to another provider, of which a worker may still be running.
        """
        raise foreign_request_error(request_id)

    async def close(self) -> None:
        """Do nothing: the provider holds no resources."""
