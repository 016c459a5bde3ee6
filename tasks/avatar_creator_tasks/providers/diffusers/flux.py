"""A FLUX model in this process: load it, draw with it, and turn its failures into provider errors.

Every call blocks, and all calls must come from one thread. The import needs the extra `gpu`.
"""

from __future__ import annotations

import gc
import logging
import socket
import time
from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import Any

import diffusers
import structlog
import torch
import transformers
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from PIL import Image, ImageOps

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError
from avatar_creator_tasks.providers.diffusers.settings import INSTALL_HINT, FluxSettings

log = structlog.get_logger()

TRUE_CFG_SCALE = 2.0
"""Strength of true classifier-free guidance, which a negative prompt needs; values above 1 turn it on.

The value is low because it adds to the guidance that is already distilled into FLUX.1-dev.
"""

_ADAPTER = "lora"
_GIBIBYTE = 2**30
_SERVER_ERROR = 500
_TRY_LATER = frozenset({408, 429})


class Flux:
    """A loaded FLUX model, which makes one drawing at a time."""

    def __init__(self, pipeline: Any, settings: FluxSettings, device: torch.device) -> None:
        """Wrap a pipeline that is ready to draw; `load` creates one from settings."""
        self.pipeline = pipeline
        """`FluxPipeline` that draws from text."""
        self._settings = settings
        self._device = device
        # Shares the parts without a copy. `from_pipe` would convert their weights to 32 bits.
        self._image_pipeline = diffusers.FluxImg2ImgPipeline(**pipeline.components)
        self._image_pipeline.set_progress_bar_config(disable=True)
        # Only FLUX.1-schnell, which was trained on shorter prompts, has no guidance.
        self._max_tokens = 512 if pipeline.transformer.config.guidance_embeds else 256

    @classmethod
    def load(cls, settings: FluxSettings) -> Flux:
        """Load the model onto its device.

        Raises:
            ProviderError: PROVIDER_GONE if the model does not exist or cannot be loaded at all;
                PROVIDER_UNAVAILABLE if a later attempt may load it.
        """
        _silence_libraries()
        log.info("model_load_started", model=settings.model)
        started = time.monotonic()
        try:
            device = _device(settings)
            flux = cls(_load_pipeline(settings, device), settings, device)
        except Exception as error:
            failure = _loading_failure(error, settings)
        else:
            seconds = round(time.monotonic() - started, 1)
            log.info("model_loaded", model=settings.model, device=str(device), seconds=seconds)
            return flux
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
            ProviderError: PROVIDER_UNAVAILABLE if the portrait could not be drawn.
        """
        steps = _Steps(step_done)
        try:
            return self._draw(request, steps)
        except Exception as error:
            if error is steps.stopped_by:
                raise
            failure = _drawing_failure(error, request)
        finally:
            # A stopped drawing leaves parts on the GPU that offloading would otherwise have moved away.
            self.pipeline.maybe_free_model_hooks()
        _release_memory()
        raise failure

    def unload(self) -> None:
        """Release the device's memory. The model can no longer draw."""
        del self.pipeline, self._image_pipeline
        _release_memory()

    def _draw(self, request: PortraitRequest, steps: _Steps) -> Portrait:
        pipeline, options = self.pipeline, dict[str, Any]()
        if request.references:
            reference = request.references[0]
            pipeline = self._image_pipeline
            options["image"] = _fitted(reference.image, request)
            # The strength is the part of the steps that is drawn, and at least one step must be drawn.
            options["strength"] = max(reference.strength, 1 / (request.steps or 1))
        if request.negative_prompt:
            options |= {"negative_prompt": request.negative_prompt, "true_cfg_scale": TRUE_CFG_SCALE}
        on_cuda = self._device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        image: Image.Image = pipeline(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            # Always on the CPU, so that the noise does not depend on the device.
            generator=torch.Generator("cpu").manual_seed(request.seed),
            max_sequence_length=self._max_tokens,
            callback_on_step_end=steps.done,
            callback_on_step_end_tensor_inputs=[],
            **options,
        ).images[0]
        facts = {
            "device": torch.cuda.get_device_name(self._device) if on_cuda else str(self._device),
            "dtype": str(_dtype(self._device)).removeprefix("torch."),
            "quantization": self._settings.quantization,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "seconds_per_step": f"{steps.seconds:.3f}",
        }
        if request.negative_prompt:
            facts["true_cfg_scale"] = str(TRUE_CFG_SCALE)
        if on_cuda:
            facts["peak_memory_gib"] = f"{torch.cuda.max_memory_allocated(self._device) / _GIBIBYTE:.1f}"
        return Portrait(image.convert("RGB"), facts, tuple(self._warnings(request)))

    def _warnings(self, request: PortraitRequest) -> Iterator[str]:
        texts = {"the prompt": request.prompt, "the negative prompt": request.negative_prompt}
        for name, text in texts.items():
            # The other text encoder always reads 77 tokens, and only for the general look of the picture.
            tokens = self.pipeline.tokenizer_2(text).input_ids
            unread = len(tokens) - self._max_tokens
            if unread > 0:
                # The last token that the model reads is always the end-of-text token.
                left_out = tokens[self._max_tokens - 1 :]
                words = self.pipeline.tokenizer_2.decode(left_out, skip_special_tokens=True)
                yield (
                    f"{name} has {len(tokens)} tokens and the model reads {self._max_tokens}: "
                    f"the last {unread} were ignored, starting at “{shorten(words, 60, placeholder=' …')}”"
                )


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


def quantization_of(bits: str) -> Any:
    """Return diffusers' configuration for MODEL_QUANTIZATION; None for `none`."""
    if bits == "none":
        return None
    return diffusers.PipelineQuantizationConfig(
        quant_backend=f"bitsandbytes_{bits}",
        quant_kwargs={
            "8bit": {"load_in_8bit": True},
            "4bit": {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_compute_dtype": torch.bfloat16,
            },
        }[bits],
        components_to_quantize=["transformer", "text_encoder_2"],
    )


def _device(settings: FluxSettings) -> torch.device:
    name = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:
        raise _unavailable(
            f"the device {name} is not available on this worker: set MODEL_DEVICE to a device that it has"
        ) from error
    return device


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def _load_pipeline(settings: FluxSettings, device: torch.device) -> Any:
    if settings.quantization != "none" and device.type == "cpu":
        raise _gone(
            f"MODEL_QUANTIZATION={settings.quantization} needs a GPU, which this worker does not have: "
            "set MODEL_QUANTIZATION=none"
        )
    pipeline = diffusers.FluxPipeline.from_pretrained(
        settings.model,
        revision=settings.model_revision or None,
        dtype=_dtype(device),
        # Weights in any other format can execute code.
        use_safetensors=True,
        quantization_config=quantization_of(settings.quantization),
    )
    pipeline.set_progress_bar_config(disable=True)
    if settings.lora is not None:
        try:
            pipeline.load_lora_weights(
                settings.lora.repository,
                weight_name=settings.lora.weight_file or None,
                revision=settings.lora.revision or None,
                adapter_name=_ADAPTER,
                use_safetensors=True,
            )
            pipeline.set_adapters([_ADAPTER], adapter_weights=[settings.lora.scale])
        except Exception as error:
            raise _LoraError from error
    match settings.offload:
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "sequential" if device.type != "cpu":
            pipeline.enable_sequential_cpu_offload(device=device)
        case _:
            pipeline.to(device)
    return pipeline


class _LoraError(Exception):
    """The LoRA, not the model, cannot be loaded."""


def _fitted(reference: Image.Image, request: PortraitRequest) -> Image.Image:
    size = (request.width, request.height)
    return ImageOps.fit(reference, size, Image.Resampling.LANCZOS)


def _silence_libraries() -> None:
    """Keep progress bars and warnings that quote prompts out of the worker's output."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("diffusers.pipelines.flux").setLevel(logging.ERROR)


def _loading_failure(error: Exception, settings: FluxSettings) -> ProviderError:
    # Without the traceback, because the hub's requests have this worker's token in their headers.
    links = list(_chain(error))
    log.warning(
        "model_load_failed", model=settings.model, error=[f"{type(link).__name__}: {link}" for link in links]
    )
    if isinstance(error, ProviderError):
        return error
    subject = f"the model {settings.model}"
    if isinstance(error, _LoraError) and settings.lora is not None:
        subject = f"the LoRA {settings.lora.repository}"
    if any(_is_out_of_memory(link) for link in links):
        return _out_of_memory(f"loading {subject}")
    if any(isinstance(link, ImportError) for link in links):
        return _gone(f"a library for {subject} is missing: {INSTALL_HINT}")
    if any(isinstance(link, RepositoryNotFoundError) for link in links):
        return _gone(
            f"{subject} is not on the hub, or HF_TOKEN does not give access: check the name and the token"
        )
    if any(_is_outage(link) for link in links):
        return _unavailable(f"{subject} could not be downloaded: the hub could not be reached")
    return _gone(f"{subject} could not be loaded: see model_load_failed in the worker's log")


def _drawing_failure(error: Exception, request: PortraitRequest) -> ProviderError:
    log.warning("portrait_drawing_failed", exc_info=error)
    if _is_out_of_memory(error):
        return _out_of_memory(f"drawing {request.width}x{request.height} pixels")
    return _unavailable("the model failed: see portrait_drawing_failed in the worker's log")


def _out_of_memory(activity: str) -> ProviderError:
    return _unavailable(
        f"out of memory {activity}: request a smaller picture, or set MODEL_OFFLOAD=model or sequential, "
        "or MODEL_QUANTIZATION=8bit or 4bit"
    )


def _unavailable(message: str) -> ProviderError:
    return ProviderError("PROVIDER_UNAVAILABLE", message, retryable=True)


def _gone(message: str) -> ProviderError:
    return ProviderError("PROVIDER_GONE", message, retryable=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    # On a CPU, torch has no exception type for this.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _is_outage(error: BaseException) -> bool:
    """Return whether the hub, or the network to the hub, failed."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return bool(status >= _SERVER_ERROR or status in _TRY_LATER)
    return isinstance(error, ConnectionError | TimeoutError | socket.gaierror | LocalEntryNotFoundError)


def _release_memory() -> None:
    """Return unused memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
