"""Loading of a local model: its pipeline, LoRA and place in memory."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Any

import diffusers
import torch

from avatar_creator_tasks.providers.diffusers.failures import (
    LoraError,
    VisionLibraryError,
    gone,
    unavailable,
)
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings

_ADAPTER = "lora"
_VISION_PARTS = frozenset({"PixtralProcessor", "Qwen2VLProcessor", "Qwen3VLProcessor"})
"""Parts of FLUX.2-dev, Qwen-Image-Edit and Qwen-Image-2.1."""
_REQUIRED = ("prompt", "width", "height", "generator", "callback_on_step_end")


def device_of(settings: ModelSettings) -> torch.device:
    """Return the device that draws.

    Raises:
        ProviderError: PROVIDER_UNAVAILABLE if this worker does not have the device.
    """
    name = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except Exception as error:
        raise unavailable(
            f"the device {name} is not available on this worker: set MODEL_DEVICE to a device that it has"
        ) from error
    return device


def dtype_of(device: torch.device) -> torch.dtype:
    """Return the type of the weights on a device."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def load_pipeline(settings: ModelSettings, device: torch.device) -> Any:
    """Load the pipeline that the model's index names, with its LoRA, into main memory.

    Raises:
        ProviderError: PROVIDER_GONE if the settings and the model do not fit.
        Exception: diffusers or the hub failed; see `loading_failure`.
    """
    _require_memory_settings(settings, device)
    revision = settings.model_revision or None
    index = diffusers.DiffusionPipeline.load_config(settings.model, revision=revision)
    _require_known_pipeline(settings.model, index)
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            settings.model,
            revision=revision,
            dtype=dtype_of(device),
            # Weights in any other format, and code from the model's repository, could do anything.
            use_safetensors=True,
            trust_remote_code=False,
            quantization_config=quantization_of(settings.quantization, index),
        )
    except Exception as error:
        # transformers has these processors only with torchvision, and its own errors do not always say so.
        if find_spec("torchvision") is None and _VISION_PARTS & _classes(index):
            raise VisionLibraryError from error
        raise
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
            raise LoraError from error
    return pipeline


def _classes(index: dict[str, Any]) -> set[str]:
    """Return the names of the classes of a model's parts."""
    return {str(part[1]) for part in index.values() if isinstance(part, list) and len(part) > 1}


def place(pipeline: Any, settings: ModelSettings, device: torch.device) -> None:
    """Move a pipeline to its device, or let it move its parts while it draws."""
    match settings.offload:
        case "model":
            pipeline.enable_model_cpu_offload(device=device)
        case "sequential" if device.type != "cpu":
            pipeline.enable_sequential_cpu_offload(device=device)
        case _:
            pipeline.to(device)


def quantization_of(bits: str, index: dict[str, Any]) -> Any:
    """Return diffusers' configuration for MODEL_QUANTIZATION; None for `none`.

    Args:
        bits: Value of MODEL_QUANTIZATION.
        index: Index of the model, which names the class of each part.
    """
    if bits == "none":
        return None
    large = ("transformer", "unet", "text_encoder")
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
        # CLIP is small, and loses more than it saves.
        components_to_quantize=[
            name
            for name, part in index.items()
            if name.startswith(large) and _is_part(part) and not part[1].startswith("CLIP")
        ],
    )


def _is_part(value: Any) -> bool:
    """Return whether a value of a model's index names the class of a part; Krea 2 also lists numbers."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value)


def _require_memory_settings(settings: ModelSettings, device: torch.device) -> None:
    if settings.quantization != "none" and device.type == "cpu":
        raise gone(
            f"MODEL_QUANTIZATION={settings.quantization} needs a GPU, which this worker does not have: "
            "set MODEL_QUANTIZATION=none"
        )


def _require_known_pipeline(model: str, index: dict[str, Any]) -> None:
    """Refuse a model that needs code that is not part of diffusers, or draws no picture from a text."""
    name = index.get("_class_name")
    known = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(known, type) and issubclass(known, diffusers.DiffusionPipeline)):
        shown = name if isinstance(name, str) else "of its own"
        raise gone(
            f"the model {model} needs the pipeline {shown}, which diffusers {diffusers.__version__} does not "
            "have: choose another model, or a newer diffusers; code from a model's repository is never run"
        )
    parameters = inspect.signature(known.__call__).parameters
    if not all(name in parameters for name in _REQUIRED):
        raise gone(f"the model {model} does not draw pictures from a text: choose another model")
