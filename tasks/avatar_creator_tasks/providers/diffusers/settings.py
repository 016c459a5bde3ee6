"""Settings of the local model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avatar_creator_server.generations.routes import Lora


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The model that draws, and how it uses the device."""

    model: str
    """The model's id on the Hugging Face hub, or a folder."""
    model_revision: str = ""
    """Commit or tag of the model; empty means the newest."""
    lora: Lora | None = None
    """LoRA that the model uses for every portrait."""
    device: str = ""
    """Torch's name of the device, such as `cuda:1`; empty means `cuda` if available, otherwise `cpu`."""
    offload: Literal["none", "model", "sequential"] = "none"
    """Parts that stay in main memory while unused: none, whole parts of the model, or single layers."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Bits of each weight of the transformer and the text encoders; `none` means 16, or 32 on a CPU."""
    speed: Literal["exact", "compiled", "fast"] = "exact"
    """Means to draw faster: none, compiled blocks, or also a cache that leaves out blocks."""
