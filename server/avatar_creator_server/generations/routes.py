"""Routes: the ways a portrait can be made, what each of them supports, and what it costs.

Servers and workers make the same routes of the same settings, so that a server can say beforehand what a
worker will be able to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from avatar_creator_server.errors import FieldViolation
from avatar_creator_server.generations.records import Options

PIXELS_OF_A_MEGAPIXEL = 1024 * 1024
"""Providers bill begun megapixels (https://fal.ai/models/fal-ai/flux-lora) and do not say which; integrators
found a picture of 1,024 by 1,024 billed as one (veniceai/api-docs#241)."""

GUIDANCE_DISTILLED = ("FLUX.1-dev", "FLUX.1-schnell", "FLUX.1-Krea-dev", "FLUX.1-Kontext-dev")
"""Models that guidance was distilled into: they have no negative prompt (model card of FLUX.1-dev)."""

WISHES = frozenset(
    {"prompt", "negative_prompt", "steps", "guidance_scale", "reference", "reference_strength"}
)
"""What a caller may wish for and a route may be unable to honour."""


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adaptation that is put on the model."""

    repository: str
    """Its id on the hub, or a folder."""
    weight_file: str
    """File in the repository; empty: the repository's only one."""
    revision: str
    """Commit or tag of the repository; empty: not pinned."""
    scale: float
    """How strongly it acts; 1.0 is as trained."""
    trigger: str
    """Words that have to be in the prompt for it to act; may be empty."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way of making a portrait."""

    provider: str
    """`sketch`, `huggingface` or `diffusers`."""
    name: str
    """`local`, `fal-ai`, `fal-ai-kontext`, `hf-inference` or `endpoint`."""
    model: str
    """Its id on the hub, a folder, or empty where there is none."""
    model_revision: str
    """Commit or tag of the model; empty: not pinned, or the route does not say."""
    lora: Lora | None
    """None also where the route cannot take one."""
    supports: frozenset[str]
    """Those of `WISHES` that it can fulfil."""
    default_negative_prompt: bool = False
    """Whether the service's own negative prompt goes to it: only where that costs nothing."""
    least_steps: int = 1
    """It takes no fewer."""
    lora_dropped: bool = False
    """Whether the settings ask for a LoRA that this route cannot take."""
    price_per_megapixel: int = 0
    """Millionths of a US dollar."""

    @property
    def charges(self) -> bool:
        """Whether a request may cost money."""
        return self.price_per_megapixel > 0

    def price(self, width: int, height: int) -> int:
        """What a picture of this size costs, in millionths of a US dollar; begun megapixels count."""
        return math.ceil(width * height / PIXELS_OF_A_MEGAPIXEL) * self.price_per_megapixel

    def prompt_for(self, enhanced_prompt: str) -> str:
        """The prompt as it is sent: with the trigger words in front, unless they are in it."""
        trigger = self.lora.trigger if self.lora else ""
        if not trigger or trigger.casefold() in enhanced_prompt.casefold():
            return enhanced_prompt
        return f"{trigger}, {enhanced_prompt}"

    def unsupported_options(self, options: Options, *, has_reference: bool) -> Iterator[FieldViolation]:
        """What of a caller's wishes this route leaves out, by field of `CreateGenerationRequest`."""
        place = f"the route {self.name} of {self.provider}"
        if "prompt" not in self.supports:
            yield FieldViolation("prompt", f"{place} draws from the attributes and does not read the prompt")
        if options.negative_prompt and "negative_prompt" not in self.supports:
            yield FieldViolation(
                "options.negative_prompt", f"{place} has no negative prompt: it was left out"
            )
        if options.steps and "steps" not in self.supports:
            yield FieldViolation("options.steps", f"{place} does not let the steps be chosen")
        elif options.steps and options.steps < self.least_steps:
            yield FieldViolation(
                "options.steps", f"{place} takes no fewer than {self.least_steps} steps: these were taken"
            )
        if options.guidance_scale and "guidance_scale" not in self.supports:
            yield FieldViolation("options.guidance_scale", f"{place} does not let the guidance be chosen")
        if has_reference and options.reference_strength and "reference_strength" not in self.supports:
            yield FieldViolation(
                "options.reference_strength", f"{place} does not let the strength of a reference be chosen"
            )
        if self.lora_dropped:
            yield FieldViolation("options.strict", f"{place} cannot put the service's LoRA on the model")


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of one service."""

    from_text: Route
    from_reference: Route | None
    """None where no picture can be made from another."""

    def route(self, *, has_reference: bool) -> Route | None:
        """The one an order takes; None if it can take none."""
        return self.from_reference if has_reference else self.from_text

    def named(self) -> Mapping[str, Route]:
        """All of them, by name."""
        both = (self.from_text, self.from_reference)
        return {route.name: route for route in both if route is not None}
