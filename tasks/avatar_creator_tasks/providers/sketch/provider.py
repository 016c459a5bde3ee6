"""The provider `sketch`, which draws with Pillow in a thread.

It needs no model and no network, so that every installation can draw. Its pictures are drawings, never
photographs.
"""

from __future__ import annotations

import asyncio

from PIL import Image

from avatar_creator_server.people.prompt_words import read_prompt
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports, foreign_request_error
from avatar_creator_tasks.providers.sketch.art import Details, draw_portrait, restyle
from avatar_creator_tasks.providers.step_reporter import StepReporter


class SketchProvider:
    """Draws the same pixels for the same attributes and prompt, or reference, and the same size and seed.

    Where an attribute is not given, it draws the words of the prompt that it knows. With a reference it
    redraws that picture and ignores the attributes and the prompt.
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
                shown = read_prompt(request.caller_prompt, request.attributes)
                return draw_portrait(
                    shown.attributes,
                    Details(shown.adult, shown.glasses, shown.earrings, shown.beard),
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
