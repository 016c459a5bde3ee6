"""Routes: the ways to make a portrait, with the options and the price of each.

Servers and workers make the same routes from the same settings, so a server knows in advance what a worker
can do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from avatar_creator_server.errors import FieldViolation
from avatar_creator_server.generations.records import Options

PIXELS_OF_A_MEGAPIXEL = 1024 * 1024
"""Providers bill started megapixels (https://fal.ai/models/fal-ai/flux-lora) without a definition. Users
report that a picture of 1,024 by 1,024 is billed as one megapixel (veniceai/api-docs#241)."""

GUIDANCE_DISTILLED = ("FLUX.1-dev", "FLUX.1-schnell", "FLUX.1-Krea-dev", "FLUX.1-Kontext-dev")
"""Guidance-distilled models, which have no negative prompt (model card of FLUX.1-dev)."""

OPTIONS = frozenset(
    {"prompt", "negative_prompt", "steps", "guidance_scale", "reference", "reference_strength"}
)
"""Parts of a request that a route may not support."""

_LOCAL_PROVIDERS = frozenset({"sketch", "diffusers"})
"""Providers that draw on the worker itself, where a picture costs only time."""

_LIMITATIONS = {
    "prompt": "draws from the attributes and does not read the prompt",
    "options.negative_prompt": "ignores the negative prompt",
    "options.steps": "ignores the number of steps",
    "options.guidance_scale": "ignores the guidance scale",
    "options.reference_strength": "ignores the strength of the reference",
}
"""Behavior of a route that does not support an option, by field of `CreateGenerationRequest`."""


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adaptation that changes the model."""

    repository: str
    """Id of the repository on the hub, or a folder."""
    weight_file: str
    """File in the repository; empty if the repository has only one."""
    revision: str
    """Commit or tag of the repository; empty if it is not pinned."""
    scale: float
    """Strength of its effect; 1.0 is the strength of the training."""
    trigger: str
    """Words that the prompt must contain for the LoRA to have an effect; may be empty."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to make a portrait."""

    provider: str
    """`sketch`, `huggingface` or `diffusers`."""
    name: str
    """`local`, `fal-ai`, `fal-ai-kontext`, `hf-inference` or `endpoint`."""
    model: str
    """Id of the model on the hub, or a folder; empty if the route has no model."""
    model_revision: str
    """Commit or tag of the model; empty if it is not pinned, or the route does not say."""
    lora: Lora | None
    """LoRA on the model; None if there is none, or the route does not support one."""
    supports: frozenset[str]
    """The supported ones of `OPTIONS`."""
    default_negative_prompt: bool = False
    """True if the service sends its own negative prompt: only where that costs nothing."""
    min_steps: int = 1
    """Minimum number of denoising steps."""
    lora_dropped: bool = False
    """True if the settings ask for a LoRA that this route does not support."""
    price_per_megapixel: int = 0
    """Price in millionths of a US dollar."""

    @property
    def is_hosted(self) -> bool:
        """True if another company draws, so that a request may cost money even if its price is not set."""
        return self.provider not in _LOCAL_PROVIDERS

    @property
    def charges(self) -> bool:
        """True if a request may cost money."""
        return self.price_per_megapixel > 0

    def price(self, width: int, height: int) -> int:
        """Return the price of a picture of this size in millionths of a US dollar, for started megapixels."""
        return math.ceil(width * height / PIXELS_OF_A_MEGAPIXEL) * self.price_per_megapixel

    def prompt_for(self, enhanced_prompt: str) -> str:
        """Return the prompt to send: with the LoRA's trigger words in front, unless it contains them."""
        trigger = self.lora.trigger if self.lora else ""
        if not trigger or trigger.casefold() in enhanced_prompt.casefold():
            return enhanced_prompt
        return f"{trigger}, {enhanced_prompt}"

    def unsupported_options(self, options: Options, *, has_reference: bool) -> Iterator[FieldViolation]:
        """Yield the options of a request that this route does not support, by field of the request."""
        route = f"the route {self.name} of {self.provider}"
        given = {
            "prompt": True,
            "options.negative_prompt": bool(options.negative_prompt),
            "options.steps": bool(options.steps),
            "options.guidance_scale": bool(options.guidance_scale),
            "options.reference_strength": has_reference and bool(options.reference_strength),
        }
        for field, is_given in given.items():
            if is_given and field.removeprefix("options.") not in self.supports:
                yield FieldViolation(field, f"{route} {_LIMITATIONS[field]}")
            elif field == "options.steps" and 0 < options.steps < self.min_steps:
                yield FieldViolation(field, f"{route} draws with at least {self.min_steps} steps")
        if self.lora_dropped:
            yield FieldViolation("options.strict", f"{route} does not support the LoRA of the service")


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of one service."""

    from_text: Route
    from_reference: Route | None
    """Route for requests with a reference; None if the service does not support references."""

    def route(self, *, has_reference: bool) -> Route | None:
        """Return the route for a request with or without a reference; None if there is none."""
        return self.from_reference if has_reference else self.from_text

    def named(self) -> Mapping[str, Route]:
        """Return the routes by name."""
        both = (self.from_text, self.from_reference)
        return {route.name: route for route in both if route is not None}
