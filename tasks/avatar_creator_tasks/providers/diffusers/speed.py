"""MODEL_SPEED: compiled blocks of the model, and a cache that leaves out blocks between similar steps.

`compiled` compiles the blocks that a model repeats: to compile a whole transformer takes minutes and loses
precision. On an H200, FLUX.1-dev then needed 0.77 of the time. `fast` also uses the First Block Cache of
diffusers: if the output of the first block has changed little since the last step, the model leaves out the
others and adds their last change again. Only trained weights show the effect on a picture.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.util import find_spec
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig, Flux2Transformer2DModel
from diffusers.hooks import apply_first_block_cache

from avatar_creator_server.model_table import find_model
from avatar_creator_tasks.providers.diffusers.failures import gone
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings

_CACHE_THRESHOLD = 0.05
"""Maximum relative change of the first block's output without the other blocks; the default of diffusers."""
_COMPILED_FORMS = 64
"""Maximum number of forms of a compiled block, one for each kind of sizes: torch's default of 8 is too low
for pictures of many sizes with and without references."""


def require_speed(settings: ModelSettings, device: torch.device) -> None:
    """Check that this worker can prepare a model for MODEL_SPEED.

    Raises:
        ProviderError: PROVIDER_GONE, with advice.
    """
    if settings.speed == "exact":
        return
    if settings.speed == "fast" and find_model(settings.model) is None:
        raise gone(
            f"MODEL_SPEED=fast is possible only with the models in docs/models.md, and {settings.model} is "
            "not one of them: set MODEL_SPEED=compiled"
        )
    on_cpu = device.type == "cpu"
    # torch compiles C++ for a CPU; Triton compiles C for a GPU.
    named = os.environ.get("CXX" if on_cpu else "CC", "")
    compilers = (named,) if named else ("g++", "clang++") if on_cpu else ("gcc", "clang", "cc")
    if not any(map(shutil.which, compilers)):
        raise gone(
            f"MODEL_SPEED={settings.speed} needs a compiler, and this worker has none: install "
            f"{compilers[0]}, or set MODEL_SPEED=exact"
        )
    if not on_cpu and find_spec("triton") is None:
        raise gone(f"MODEL_SPEED={settings.speed} needs triton: install it, or set MODEL_SPEED=exact")


def apply_speed(pipeline: Any, speed: str) -> CacheContexts | None:
    """Prepare a pipeline for MODEL_SPEED, before it is moved to its device.

    Returns:
        The contexts of the cache; None without a cache.

    Raises:
        ProviderError: PROVIDER_GONE if the model has no repeated blocks or no cache.
    """
    if speed == "exact":
        return None
    denoiser = denoiser_of(pipeline)
    repeated = getattr(denoiser, "_repeated_blocks", None) or ()
    blocks = [block for block in denoiser.modules() if type(block).__name__ in repeated]
    if not blocks:
        raise gone(f"MODEL_SPEED={speed} is not possible with this model: set MODEL_SPEED=exact")
    if speed == "fast" and not hasattr(denoiser, "enable_cache"):
        raise gone("MODEL_SPEED=fast is not possible with this model: set MODEL_SPEED=compiled")
    torch._dynamo.config.recompile_limit = _COMPILED_FORMS
    for block in blocks:
        # Not `compile_repeated_blocks`: the cache's code around a block must not be compiled with it.
        block.forward = torch.compile(block.forward, fullgraph=True)
    return CacheContexts(denoiser, blocks[-1]) if speed == "fast" else None


def denoiser_of(pipeline: Any) -> Any:
    """Return the part of a pipeline that draws: its transformer, or its U-Net."""
    return getattr(pipeline, "transformer", None) or pipeline.unet


class CacheContexts:
    """The cache of a model. It has a context for each pass of a step, which compares only like with like.

    Some pipelines set the contexts themselves and some do not, so this class does it for all.
    """

    def __init__(self, denoiser: Any, last_block: Any) -> None:
        run_last_block = last_block.forward

        @wraps(run_last_block)
        def run_and_count(*arguments: Any, **named: Any) -> Any:
            self._done += 1
            return run_last_block(*arguments, **named)

        # The cache leaves this call out, with those of the other blocks.
        last_block.forward = run_and_count
        config = FirstBlockCacheConfig(threshold=_CACHE_THRESHOLD)
        if isinstance(denoiser, Flux2Transformer2DModel):
            # The cache does not support its other blocks, 8 of 56: they return another kind of value.
            singles = torch.nn.ModuleDict({"single_transformer_blocks": denoiser.single_transformer_blocks})
            apply_first_block_cache(singles, config)
        else:
            denoiser.enable_cache(config)
        self._denoiser = denoiser
        self._passes = 1
        self._begun = self._done = 0
        self._forward = denoiser.forward
        denoiser.forward = self._in_context

    @contextmanager
    def drawing(self, *, passes: int) -> Iterator[None]:
        """Begin a picture with this number of passes in each step, with an empty cache."""
        self._passes = passes
        self._begun = self._done = 0
        try:
            yield
        finally:
            self._denoiser._reset_stateful_cache()

    @property
    def cached(self) -> str:
        """The passes of the last picture in which the cache acted, for example `12 of 50`."""
        return f"{self._begun - self._done} of {self._begun}"

    def _in_context(self, *arguments: Any, **named: Any) -> Any:
        name = f"pass {self._begun % self._passes}"
        self._begun += 1
        with self._denoiser.cache_context(name):
            return self._forward(*arguments, **named)
