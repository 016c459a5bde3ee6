"""FLUX in this process: loading it, drawing with it, and what can go wrong with either.

Everything here blocks, and wants to be called from one thread. Importing this needs the extra `gpu`.
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
from avatar_creator_tasks.providers.diffusers.provider import FluxSettings

log = structlog.get_logger()

TRUE_CFG_SCALE = 2.0
"""How far true classifier-free guidance pushes away from the negative prompt; more than 1 turns it on.
Little, because FLUX.1-dev has guidance distilled into it already, and this comes on top."""

_ADAPTER = "lora"
_GIBIBYTE = 2**30
_SERVER_ERROR = 500
_TRY_LATER = frozenset({408, 429})


class Flux:
    """A FLUX that is loaded. One drawing at a time."""

    def __init__(self, pipeline: Any, settings: FluxSettings, device: torch.device) -> None:
        """Take a pipeline that is ready to draw; `load` makes one of settings."""
        self.pipeline = pipeline
        """The `FluxPipeline`, which draws from text."""
        self._settings = settings
        self._device = device
        # The same parts once more, and no copy: `from_pipe` would turn their weights into 32-bit ones.
        self._from_picture = diffusers.FluxImg2ImgPipeline(**pipeline.components)
        self._from_picture.set_progress_bar_config(disable=True)
        # The distilled FLUX.1-schnell alone has no guidance, and was trained on shorter texts.
        self._tokens_read = 512 if pipeline.transformer.config.guidance_embeds else 256

    @classmethod
    def load(cls, settings: FluxSettings) -> Flux:
        """Load the model onto its device.

        Raises:
            ProviderError: PROVIDER_GONE, it is not to be had; PROVIDER_UNAVAILABLE, not at present.
        """
        _quieten_libraries()
        log.info("model_loading", model=settings.model)
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
        # Only here is the error gone, and with it what its stack held of the card's memory.
        _give_memory_back()
        raise failure

    def draw(self, request: PortraitRequest, step_done: Callable[[float], None]) -> Portrait:
        """Draw a portrait.

        Args:
            request: what is to be drawn.
            step_done: told after each step which part of all is done, above 0 to 1. What it raises ends the
                drawing there and is raised from here.

        Raises:
            ProviderError: PROVIDER_UNAVAILABLE, it could not be drawn.
        """
        steps = _Steps(step_done)
        try:
            return self._draw(request, steps)
        except Exception as error:
            if error is steps.stopped_by:
                raise
            failure = _drawing_failure(error, request)
        finally:
            # A drawing that was stopped leaves on the card what would else have been put off it.
            self.pipeline.maybe_free_model_hooks()
        _give_memory_back()
        raise failure

    def unload(self) -> None:
        """Give the device's memory back. It cannot draw any more."""
        del self.pipeline, self._from_picture
        _give_memory_back()

    def _draw(self, request: PortraitRequest, steps: _Steps) -> Portrait:
        pipeline, wishes = self.pipeline, dict[str, Any]()
        if request.reference is not None:
            pipeline = self._from_picture
            wishes["image"] = _fitted(request.reference.image, request)
            # The strength says with how many of the steps; there has to be one.
            wishes["strength"] = max(request.reference.strength, 1 / request.steps)
        if request.negative_prompt:
            wishes |= {"negative_prompt": request.negative_prompt, "true_cfg_scale": TRUE_CFG_SCALE}
        on_cuda = self._device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        image: Image.Image = pipeline(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            # On the CPU on every device, so that the noise does not depend on the card.
            generator=torch.Generator("cpu").manual_seed(request.seed),
            max_sequence_length=self._tokens_read,
            callback_on_step_end=steps.done,
            callback_on_step_end_tensor_inputs=[],
            **wishes,
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
            # The other text encoder reads 77 tokens, always, and only for the picture's general look.
            tokens = self.pipeline.tokenizer_2(text).input_ids
            unread = len(tokens) - self._tokens_read
            if unread > 0:
                # The last token that is read is always the one that ends a text.
                left_out = tokens[self._tokens_read - 1 :]
                words = self.pipeline.tokenizer_2.decode(left_out, skip_special_tokens=True)
                yield (
                    f"{name} has {len(tokens)} tokens and the model reads {self._tokens_read}: "
                    f"the last {unread} were left out, from “{shorten(words, 60, placeholder=' …')}” on"
                )


class _Steps:
    """The steps of one drawing, as the pipeline tells of them."""

    def __init__(self, step_done: Callable[[float], None]) -> None:
        self._step_done = step_done
        self._begun = self._ended = time.perf_counter()
        self._timed = 0
        self.stopped_by: BaseException | None = None
        """What `step_done` raised, if it did."""

    @property
    def seconds(self) -> float:
        """How long a step took on average, without the first if there are others: the text is in that."""
        return (self._ended - self._begun) / max(self._timed, 1)

    def done(self, pipeline: Any, step: int, _timestep: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        """The pipeline's callback: this step, counted from 0, is done."""
        self._ended = time.perf_counter()
        self._timed = step
        if step == 0 and pipeline.num_timesteps > 1:
            self._begun = self._ended
        try:
            self._step_done((step + 1) / pipeline.num_timesteps)
        except BaseException as error:
            self.stopped_by = error
            raise
        return {}


def quantization_of(bits: str) -> Any:
    """What diffusers is to be told of the setting: None for `none`."""
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
        raise _unavailable(f"the device {name} is not to be had on this worker") from error
    return device


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def _load_pipeline(settings: FluxSettings, device: torch.device) -> Any:
    if settings.quantization != "none" and device.type == "cpu":
        raise _gone(
            f"MODEL_QUANTIZATION={settings.quantization} needs a graphics card, which is not to be had"
        )
    pipeline = diffusers.FluxPipeline.from_pretrained(
        settings.model,
        revision=settings.model_revision or None,
        dtype=_dtype(device),
        # Weights in any other format can run code.
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
    """It is the LoRA that does not load."""


def _fitted(reference: Image.Image, request: PortraitRequest) -> Image.Image:
    size = (request.width, request.height)
    return ImageOps.fit(reference, size, Image.Resampling.LANCZOS)


def _quieten_libraries() -> None:
    """Keep progress bars, and warnings that quote prompts, out of the worker's output."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("diffusers.pipelines.flux").setLevel(logging.ERROR)


def _loading_failure(error: Exception, settings: FluxSettings) -> ProviderError:
    # Without the stack: the hub's requests are on it, with this worker's token in their headers.
    links = list(_chain(error))
    log.warning(
        "model_not_loaded", model=settings.model, error=[f"{type(link).__name__}: {link}" for link in links]
    )
    if isinstance(error, ProviderError):
        return error
    thing = f"the model {settings.model}"
    if isinstance(error, _LoraError) and settings.lora is not None:
        thing = f"the LoRA {settings.lora.repository}"
    if any(_is_out_of_memory(link) for link in links):
        return _out_of_memory(f"loading {thing}")
    if any(isinstance(link, ImportError) for link in links):
        return _gone(f'the libraries for {thing} are not complete: pip install "avatar-creator[gpu]"')
    if any(isinstance(link, RepositoryNotFoundError) for link in links):
        return _gone(f"{thing} is not on the hub, or this worker's HF_TOKEN may not read it")
    if any(_is_outage(link) for link in links):
        return _unavailable(f"{thing} could not be fetched: the hub could not be reached")
    return _gone(f"{thing} could not be loaded; the worker's log says why")


def _drawing_failure(error: Exception, request: PortraitRequest) -> ProviderError:
    log.warning("portrait_not_drawn", exc_info=error)
    if _is_out_of_memory(error):
        return _out_of_memory(f"drawing {request.width}x{request.height} pixels")
    return _unavailable(f"the model failed ({type(error).__name__}); the worker's log says more")


def _out_of_memory(doing: str) -> ProviderError:
    return _unavailable(
        f"out of memory {doing}: smaller pictures need less, and so do MODEL_OFFLOAD=model or sequential "
        "and MODEL_QUANTIZATION=8bit or 4bit"
    )


def _unavailable(message: str) -> ProviderError:
    return ProviderError("PROVIDER_UNAVAILABLE", message, retryable=True)


def _gone(message: str) -> ProviderError:
    return ProviderError("PROVIDER_GONE", message, retryable=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    # On a CPU torch has no type for it.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _is_outage(error: BaseException) -> bool:
    """Whether the hub, or the way to it, is what failed."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return bool(status >= _SERVER_ERROR or status in _TRY_LATER)
    return isinstance(error, ConnectionError | TimeoutError | socket.gaierror | LocalEntryNotFoundError)


def _give_memory_back() -> None:
    """Let the device have the memory that nothing uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
