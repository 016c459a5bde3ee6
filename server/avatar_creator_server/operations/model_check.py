"""The check of `doctor` for the model: its license, its size in memory, and whether it fits the card."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from avatar_creator_server.generations.routes import Route
from avatar_creator_server.model_table import COMMERCIAL_MODEL, Model, find_model
from avatar_creator_server.operations.checks import ANSWER_SECONDS
from avatar_creator_server.settings import NO_LORA, Settings

_WORKING_GIB = 3.0
"""Memory for the pictures and the steps, in GiB: a rough number for one megapixel."""
_LAYER_GIB = 1.0
"""Memory for the layers of a model that is offloaded layer by layer, in GiB: a rough number."""
_SHARE_OF_16_BITS = {"none": 1.0, "8bit": 0.55, "4bit": 0.3}
"""Size of quantized weights: the scales and the parts that keep 16 bits make them larger than 1/2 and 1/4."""
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
_MIB_PER_GIB = 1024


def describe_license(routes: Sequence[Route]) -> tuple[str, str]:
    """Return the licenses of the routes' models, and advice if one of them is not for commercial use.

    The check of the moderation says which licenses demand a filter.
    """
    models = {route.known_model.id: route.known_model for route in routes if route.known_model is not None}
    unknown = {route.model for route in routes if route.known_model is None and route.model}
    found = [f"{model.name}: license {model.license}" for model in models.values()]
    found += [
        f"{name}: not in the service's table of models, so read its license" for name in sorted(unknown)
    ]
    found += [
        f"LoRA {name}: its license is not known here, so read its page on the hub"
        for name in sorted({route.lora.repository for route in routes if route.lora})
    ]
    refused = [model for model in models.values() if not model.commercial]
    return "; ".join(found), _commercial_advice(refused) if refused else ""


def _commercial_advice(models: Sequence[Model]) -> str:
    names = " and ".join(model.name for model in models)
    conditions = {model.commercial_condition for model in models if model.commercial_condition}
    unless = f" (allowed {' and '.join(conditions)})" if conditions else ""
    return (
        f"for commercial use of {names}{unless}, get a license, or use a provider that has one, "
        f"or set MODEL={COMMERCIAL_MODEL} and LORA_REPOSITORY={NO_LORA}"
    )


async def describe_memory(settings: Settings) -> tuple[str, str]:
    """Return the size of a model on the worker's own card, and advice if the model does not fit the card."""
    model = find_model(settings.model)
    if model is None or not model.weights_gib:
        return "", ""
    needed = needed_gib(model, settings)
    found = f"{model.weights_gib:g} GiB of weights in 16 bits; with these settings about {needed:.0f} GiB"
    card = await _card_gib(settings.model_device)
    if card is None:
        return f"{found} (an estimate; no NVIDIA card is on this machine)", ""
    if needed <= card:
        return f"{found}, which should fit the card's {card:.0f} GiB (an estimate)", ""
    return (
        f"{found}, which probably does not fit the card's {card:.0f} GiB (an estimate)",
        "set MODEL_OFFLOAD=model or MODEL_QUANTIZATION=8bit, or choose a smaller model",
    )


def needed_gib(model: Model, settings: Settings) -> float:
    """Estimate the memory on the card for one megapixel, in GiB."""
    share = _SHARE_OF_16_BITS[settings.model_quantization]
    match settings.model_offload:
        case "sequential":
            return _LAYER_GIB + _WORKING_GIB
        case "model":
            return model.largest_part_gib * share + _WORKING_GIB
    return model.weights_gib * share + _WORKING_GIB


async def _card_gib(device: str) -> float | None:
    """Return the memory of the card that the device names, in GiB; None if there is none."""
    if device and not device.startswith("cuda"):
        return None
    try:
        process = await asyncio.create_subprocess_exec(
            *_NVIDIA_SMI, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    number = re.fullmatch(r"cuda:(\d+)", device)
    cards = re.findall(r"^\s*(\d+)\s*$", output.decode(errors="replace"), re.MULTILINE)
    index = int(number[1]) if number else 0
    return int(cards[index]) / _MIB_PER_GIB if index < len(cards) else None
