"""The provider `diffusers`, which keeps one model loaded and draws in one thread.

Its libraries come with the extra `gpu`. They are imported with the first portrait, not with this module.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from avatar_creator_tasks.gpu_extra import require_extra
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports, foreign_request_error
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings
from avatar_creator_tasks.providers.step_reporter import StepReporter

if TYPE_CHECKING:
    from avatar_creator_tasks.providers.diffusers.pipeline import LocalModel

_LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft")


def require_libraries() -> None:
    """Check that the extra `gpu` is installed, without importing it.

    Raises:
        SettingsError: A library is missing.
    """
    require_extra("PROVIDER is diffusers", _LIBRARIES)


class DiffusersProvider:
    """Draws one portrait at a time, in the order of the calls, with a model that stays loaded."""

    estimates_progress = False
    max_concurrency = 1

    def __init__(self, settings: ModelSettings) -> None:
        """Create the provider; the model is loaded with the first portrait.

        Raises:
            SettingsError: The extra `gpu` is not installed.
        """
        require_libraries()
        self._settings = settings
        # One thread: a GPU has room for one drawing, and waiting drawings keep their order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._model: LocalModel | None = None

    async def load(self) -> LocalModel:
        """Load the model now instead of with the first portrait, unless it is loaded already.

        Raises:
            ProviderError: As `generate`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)

    async def generate(self, request: PortraitRequest, reports: Reports) -> Portrait:
        """Draw the portrait and report each step."""
        with StepReporter(reports.progress) as reporter:

            def draw() -> Portrait:
                # The thread waits for each report. The GPU does not: its work is queued ahead.
                return self._loaded().draw(request, reporter.step_done)

            return await asyncio.get_running_loop().run_in_executor(self._thread, draw)

    async def cancel(self, request_id: str) -> None:
        """Refuse: cancelling `generate` has stopped the drawing already.

        Raises:
            ProviderError: The request belongs to another provider, of which a worker may still be running.
        """
        raise foreign_request_error(request_id)

    async def close(self) -> None:
        """Release the GPU's memory after the current step."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        if self._model is not None:
            model, self._model = self._model, None
            model.unload()

    def _loaded(self) -> LocalModel:
        if self._model is None:
            from avatar_creator_tasks.providers.diffusers.pipeline import LocalModel

            self._model = LocalModel.load(self._settings)
        return self._model
