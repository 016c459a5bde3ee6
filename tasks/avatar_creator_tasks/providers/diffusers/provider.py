"""The provider `diffusers`: draws with FLUX on the worker's own card, or slowly on its processor.

The libraries it needs come with the extra `gpu` and are imported when the model is loaded, not before.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from avatar_creator_server.generations.routes import Lora
from avatar_creator_server.settings import SettingsError
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports, request_of_others

if TYPE_CHECKING:
    from avatar_creator_tasks.providers.diffusers.flux import Flux

_LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft")


@dataclass(frozen=True, slots=True)
class FluxSettings:
    """Which model draws, and how it is fitted onto the device."""

    model: str
    """Its id on the hub, or a folder."""
    model_revision: str = ""
    """Commit or tag of the model; empty: the newest."""
    lora: Lora | None = None
    """Put on the model for every portrait."""
    device: str = ""
    """Torch's name of the device, such as `cuda:1`; empty: `cuda` where there is one, else `cpu`."""
    offload: Literal["none", "model", "sequential"] = "none"
    """What rests in main memory while it is not used: nothing, whole parts of the model, or single layers."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Bits of a weight of the transformer and the larger text encoder; `none` means 16, or 32 on a CPU."""


class DiffusersProvider:
    """Draws one portrait at a time, in the order they were asked for, with a model that stays loaded."""

    estimates_progress = False
    most_at_once = 1

    def __init__(self, settings: FluxSettings) -> None:
        """Take the settings; the model is loaded with the first portrait.

        Raises:
            SettingsError: the extra `gpu` is not installed.
        """
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        if missing:
            raise SettingsError(
                f"the provider diffusers needs {', '.join(missing)}, which this worker does not have: "
                'pip install "avatar-creator[gpu]"'
            )
        self._settings = settings
        # One thread: a card has room for one drawing, and what waits for it waits in order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flux")
        self._flux: Flux | None = None

    async def load(self) -> Flux:
        """Load the model now rather than with the first portrait, unless it is loaded already.

        Raises:
            ProviderError: as `generate`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Draw the portrait, reporting each step."""
        loop = asyncio.get_running_loop()
        abandoned = threading.Event()

        def step_done(part: float) -> None:
            if abandoned.is_set():
                raise _AbandonedError
            # Waits for the report, so that a cancelled generation stops between two steps. A card need
            # not wait meanwhile: its work is handed to it ahead of its doing it.
            asyncio.run_coroutine_threadsafe(report(part), loop).result()

        async def report(part: float) -> None:
            if not abandoned.is_set():
                await reports.progress(part)

        def draw() -> Portrait:
            return self._loaded().draw(request, step_done)

        try:
            return await loop.run_in_executor(self._thread, draw)
        finally:
            abandoned.set()

    async def cancel(self, request_id: str) -> None:
        """Refused: whoever stops waiting for `generate` has stopped the drawing.

        Raises:
            ProviderError: it is another provider's, of which a worker may still be running.
        """
        raise request_of_others(request_id)

    async def close(self) -> None:
        """Give the card's memory back, once the step under way is done."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        if self._flux is not None:
            flux, self._flux = self._flux, None
            flux.unload()

    def _loaded(self) -> Flux:
        if self._flux is None:
            from avatar_creator_tasks.providers.diffusers.flux import Flux

            self._flux = Flux.load(self._settings)
        return self._flux


class _AbandonedError(Exception):
    """Nobody waits for the picture any more."""
