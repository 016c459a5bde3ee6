"""A model in this process: load it, draw with it, and turn its failures into provider errors.

Every call blocks, and all calls must come from one thread. The import needs the extra `gpu`.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import diffusers
import structlog
import torch
import transformers
from PIL import Image

from avatar_creator_server.generations.routes import OPTIONS, Route
from avatar_creator_server.model_table import find_model
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reference
from avatar_creator_tasks.providers.diffusers.failures import (
    SpeedError,
    drawing_failure,
    gone,
    loading_failure,
)
from avatar_creator_tasks.providers.diffusers.families import family_of
from avatar_creator_tasks.providers.diffusers.loading import device_of, dtype_of, load_pipeline, place
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings
from avatar_creator_tasks.providers.diffusers.speed import apply_speed, require_speed

log = structlog.get_logger()

_GIBIBYTE = 2**30
_WARM_UP_SIDE = 1024
"""Width and height of the picture for which the blocks are compiled, in pixels: the usual size."""


class LocalModel:
    """A loaded model, which makes one drawing at a time."""

    def __init__(self, pipeline: Any, settings: ModelSettings, device: torch.device) -> None:
        """Prepare a pipeline in main memory to draw; `load` creates one from settings."""
        self.pipeline = pipeline
        """Pipeline of diffusers that the model's index names."""
        self._settings = settings
        self._device = device
        self._model = find_model(settings.model)
        self._family = family_of(pipeline)
        self._cache = apply_speed(pipeline, settings.speed)
        place(pipeline, settings, device)
        self._reference_pipeline = pipeline
        if self._family.reference_pipeline:
            # Shares the parts without a copy. `from_pipe` would convert their weights to 32 bits.
            from_reference = getattr(diffusers, self._family.reference_pipeline)
            self._reference_pipeline = from_reference(**pipeline.components)
            self._reference_pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def load(cls, settings: ModelSettings) -> LocalModel:
        """Load the model onto its device, and compile it if MODEL_SPEED asks for that.

        Raises:
            ProviderError: PROVIDER_GONE if the model does not exist or cannot be loaded at all;
                PROVIDER_UNAVAILABLE if a later attempt may load it.
        """
        _silence_libraries()
        log.info("model_load_started", model=settings.model)
        started = time.monotonic()
        try:
            device = device_of(settings)
            require_speed(settings, device)
            model = cls(load_pipeline(settings, device), settings, device)
            if settings.speed != "exact":
                model._warm_up()
        except Exception as error:
            failure = loading_failure(error, settings)
        else:
            seconds = round(time.monotonic() - started, 1)
            log.info("model_loaded", model=settings.model, device=str(device), seconds=seconds)
            return model
        # Outside the except block, because the error's traceback would keep GPU memory in use.
        _release_memory()
        raise failure

    def draw(self, request: PortraitRequest, step_done: Callable[[float], None]) -> Portrait:
        """Draw a portrait.

        Args:
            request: The portrait to draw.
            step_done: Receives the part of the drawing that is done, above 0 to 1, after each step. An
                exception that it raises ends the drawing and propagates.

        Raises:
            ProviderError: PROVIDER_REJECTED if the model cannot draw this request; PROVIDER_UNAVAILABLE if
                the portrait could not be drawn.
        """
        steps = _Steps(step_done)
        try:
            return self._draw(request, steps)
        except Exception as error:
            if error is steps.stopped_by:
                raise
            failure = drawing_failure(error, request)
        finally:
            # A stopped drawing leaves parts on the GPU that offloading would otherwise have moved away.
            self.pipeline.maybe_free_model_hooks()
        _release_memory()
        raise failure

    def unload(self) -> None:
        """Release the device's memory. The model can no longer draw."""
        del self.pipeline, self._reference_pipeline, self._cache
        _release_memory()

    def _draw(self, request: PortraitRequest, steps: _Steps) -> Portrait:
        pipeline = self._reference_pipeline if request.references else self.pipeline
        arguments = self._family.arguments(pipeline, self._model, request)
        on_cuda = self._device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        passes = 2 if "negative_prompt" in arguments else 1
        with self._cache.drawing(passes=passes) if self._cache else nullcontext():
            made = pipeline(
                **arguments,
                # Always on the CPU, so that the noise does not depend on the device.
                generator=torch.Generator("cpu").manual_seed(request.seed),
                callback_on_step_end=steps.done,
                callback_on_step_end_tensor_inputs=[],
            )
        if not hasattr(made, "images"):
            raise gone(f"the model {self._settings.model} does not draw pictures: choose another model")
        image: Image.Image = made.images[0]
        facts = {
            "device": torch.cuda.get_device_name(self._device) if on_cuda else str(self._device),
            "dtype": str(dtype_of(self._device)).removeprefix("torch."),
            "pipeline": type(pipeline).__name__,
            "quantization": self._settings.quantization,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "seconds_per_step": f"{steps.seconds:.3f}",
        }
        if "true_cfg_scale" in arguments:
            facts["true_cfg_scale"] = str(arguments["true_cfg_scale"])
        if self._cache:
            facts["cached_passes"] = self._cache.cached
        if on_cuda:
            facts["peak_memory_gib"] = f"{torch.cuda.max_memory_allocated(self._device) / _GIBIBYTE:.1f}"
        return Portrait(image.convert("RGB"), facts, tuple(self._warnings(request)))

    def _warnings(self, request: PortraitRequest) -> Iterator[str]:
        yield from self._family.unread_words(self.pipeline, self._model, request)
        if self._family.ignores_negative_prompt(request):
            off = self._family.guidance_off
            yield f"the negative prompt has no effect with a guidance scale of {off:g} or less"

    def _warm_up(self) -> None:
        """Draw two steps of a picture, which compiles the blocks and fills the cache."""
        size = (_WARM_UP_SIDE, _WARM_UP_SIDE)
        gray = Reference(Image.new("RGB", size, "gray"), 1.0)
        request = PortraitRequest(
            route=Route("diffusers", "local", self._settings.model, "", None, OPTIONS),
            prompt="a portrait",
            attributes=Attributes(),
            seed=0,
            width=_WARM_UP_SIDE,
            height=_WARM_UP_SIDE,
            steps=2,
            references=(gray,) if self._family.needs_reference else (),
        )
        try:
            self._draw(request, _Steps(lambda _: None))
        except ProviderError:
            raise
        except Exception as error:
            raise SpeedError from error
        finally:
            self.pipeline.maybe_free_model_hooks()


class _Steps:
    """Callback that times and reports the steps of one drawing."""

    def __init__(self, step_done: Callable[[float], None]) -> None:
        self._step_done = step_done
        self._start = self._end = time.perf_counter()
        self._timed = 0
        self.stopped_by: BaseException | None = None
        """Exception that `step_done` raised; None if it raised none."""

    @property
    def seconds(self) -> float:
        """Average seconds per step. The first of several steps does not count: it includes text encoding."""
        return (self._end - self._start) / max(self._timed, 1)

    def done(self, pipeline: Any, step: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        """Time and report a finished step; the pipeline calls this with the step's number, from 0."""
        self._end = time.perf_counter()
        self._timed = step
        if step == 0 and pipeline.num_timesteps > 1:
            self._start = self._end
        try:
            self._step_done((step + 1) / pipeline.num_timesteps)
        except BaseException as error:
            self.stopped_by = error
            raise
        return {}


def _silence_libraries() -> None:
    """Keep progress bars and warnings that quote prompts out of the worker's output."""
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def _release_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
