"""Routes: the ways to make a portrait, with the options and the price of each.

Servers and workers make the same routes from the same settings, so a server knows in advance what a worker
can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from avatar_creator_server.errors import FieldViolation
from avatar_creator_server.generations.records import Options, RouteChoice
from avatar_creator_server.model_table import NO_PRICES, App, Model, Prices, References, Setting

OPTIONS = frozenset(
    {"prompt", "negative_prompt", "steps", "guidance_scale", "reference", "reference_strength"}
)
"""Parts of a request that a route may not support."""

_LOCAL_PROVIDERS = frozenset({"sketch", "diffusers"})
"""Providers that draw on the worker itself, where a picture costs only time."""

_LIMITATIONS = {
    "prompt": "draws from the attributes and from words of the prompt that it knows",
    "options.negative_prompt": "ignores the negative prompt",
    "options.steps": "ignores the number of steps",
    "options.guidance_scale": "ignores the guidance scale",
    "options.reference_strength": "ignores the strength of the reference",
}
"""Behavior of a route that does not support an option, by field of `CreateGenerationRequest`."""
_RESTYLES = "restyles the reference and ignores the attributes and the prompt"
"""Behavior of a route that does not support the prompt, with a reference."""


_FORMER_NAMES = {"fal-ai-kontext": "fal-ai-reference"}
"""Names that version 0.1.0 stores for routes of today. Its workers still write them during an upgrade."""


def current_name(stored: str) -> str:
    """Return today's name of a route that this version or an earlier one has stored."""
    return _FORMER_NAMES.get(stored, stored)


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
    """`sketch`, `huggingface`, `replicate` or `diffusers`."""
    name: str
    """One of `avatar_creator_server.settings.ROUTES`."""
    model: str
    """Id of the model on the hub, or a folder; empty if the route has no model."""
    model_revision: str
    """Commit or tag of the model, or the version of `sketch`'s drawing; empty if it is not pinned, or the
    route does not say."""
    lora: Lora | None
    """LoRA on the model; None if there is none, or the route does not support one."""
    supports: frozenset[str]
    """The supported ones of `OPTIONS`."""
    known_model: Model | None = None
    """Entry of the model in the table; None if the table does not have it."""
    app: App | None = None
    """Hosted app that draws; None if the route has no apps."""
    steps: Setting | None = None
    """Numbers of steps; None if the model draws with its own number, or its range is unknown."""
    guidance_scale: Setting | None = None
    """Guidance scales; None if the model has none, or its range is unknown."""
    max_references: int = 1
    """Maximum number of references; without effect on a route that draws from text."""
    references: References = References.NONE
    """The way in which the route draws from references."""
    default_negative_prompt: bool = False
    """True if the service sends its own negative prompt: only where that costs nothing."""
    lora_dropped: bool = False
    """True if the settings ask for a LoRA that this route does not support."""
    lora_model: str = ""
    """Id of the model for which the dropped LoRA is, if this route draws with another one; else empty."""
    missing_app: str = ""
    """App that would draw, but that Hugging Face's router does not offer; empty if there is no such app. If
    the router offers none that could draw instead, it is this route's own app."""
    prices: Prices = NO_PRICES
    price_unknown: bool = False
    """True if the provider charges for pictures, but the table and the settings do not have the price."""
    speed: str = "exact"
    """Means to draw faster on the worker's own card: `exact`, `compiled` or `fast`; see MODEL_SPEED."""

    @property
    def model_warning(self) -> str | None:
        """A warning about the model if the table does not have it; else None."""
        if self.known_model is not None or not self.model:
            return None
        return (
            f"MODEL {self.model} is not in the service's table of models: it draws with its own steps and "
            "guidance, and the service does not know which options it ignores"
        )

    @property
    def needs_reference(self) -> bool:
        """True if the model only edits pictures, and cannot draw from text alone."""
        return self.known_model is not None and self.known_model.needs_reference

    @property
    def follows_instructions(self) -> bool:
        """True if the route edits references by an instruction, so that a list of words does not suit it."""
        return self.references in (References.EDITED, References.COMBINED)

    @property
    def is_hosted(self) -> bool:
        """True if another company draws, so that a request may cost money even if its price is not set."""
        return self.provider not in _LOCAL_PROVIDERS

    @property
    def price_warning(self) -> str | None:
        """A warning that the price is unknown; None if the service knows the price."""
        if not self.price_unknown:
            return None
        return f"the price of the route {self.name} is unknown and counts as $0.00"

    @property
    def app_name(self) -> str:
        """The provider's name of the app that draws; empty if the route has no apps."""
        return self.app.name if self.app else ""

    @property
    def choice(self) -> RouteChoice | None:
        """The app and the LoRA, to find this route again in the same settings; None if it has no app."""
        if self.app is None:
            return None
        if self.lora is None:
            return RouteChoice(self.model, self.app.name)
        lora = self.lora
        return RouteChoice(
            self.model, self.app.name, lora.repository, lora.weight_file, lora.revision, lora.scale
        )

    @property
    def notice(self) -> str:
        """Sentence about an app that the router does not offer, if it costs no option; empty otherwise."""
        if not self.missing_app:
            return ""
        if self.missing_app == self.app_name:
            return (
                f"Hugging Face's router does not offer {self.missing_app}, or any app in place of it: the "
                "provider will probably refuse the request"
            )
        if self.lora_dropped and not self.lora_model:
            return ""  # The sentence about the LoRA says it.
        return (
            f"Hugging Face's router does not offer {self.missing_app}, so {self.app_name} draws the picture"
        )

    def price(self, width: int, height: int, *, references: int = 0) -> int:
        """Return the price of a picture in millionths of a US dollar, for started megapixels."""
        return self.prices.price(width, height, references)

    def too_many_references(self, count: int) -> str:
        """Return the sentence that refuses this number of references."""
        limit = f"{self.max_references} reference" + ("s" if self.max_references > 1 else "")
        return f"the route {self.name} of {self.provider} takes at most {limit} (got {count}): give fewer"

    def prompt_for(self, text: str) -> str:
        """Return the prompt to send: with the LoRA's trigger words in front, unless it contains them."""
        trigger = self.lora.trigger if self.lora else ""
        if not trigger or trigger.casefold() in text.casefold():
            return text
        return f"{trigger}, {text}"

    def steps_for(self, asked: int) -> int | None:
        """Return the number of steps for a request that asks for this number, or for none with 0.

        None leaves the number to the model.
        """
        if "steps" not in self.supports or (self.steps is None and not asked):
            return None
        if self.steps is None:
            return asked
        return int(self.steps.clamp(asked or self.steps.default))

    def guidance_scale_for(self, asked: float) -> float | None:
        """Return the guidance scale for a request that asks for this one, or for none with 0.

        None leaves the guidance to the model.
        """
        if "guidance_scale" not in self.supports or (self.guidance_scale is None and not asked):
            return None
        if self.guidance_scale is None:
            return asked
        return self.guidance_scale.clamp(asked or self.guidance_scale.default)

    def unsupported_sizes(self, options: Options) -> Iterator[FieldViolation]:
        """Yield the sides of the picture that the route cannot draw, by field of the request."""
        smallest = self.app.min_side if self.app is not None else 0
        for side, pixels in (("width", options.width), ("height", options.height)):
            if pixels < smallest:
                yield FieldViolation(
                    f"options.{side}",
                    f"the route {self.name} draws pictures from {smallest} pixels on (got {pixels})",
                )

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
        ranges = {
            "options.steps": (options.steps, self.steps, "steps"),
            "options.guidance_scale": (options.guidance_scale, self.guidance_scale, "guidance scale"),
        }
        for field, is_given in given.items():
            if not is_given:
                continue
            if field.removeprefix("options.") not in self.supports:
                ignores = _RESTYLES if field == "prompt" and has_reference else _LIMITATIONS[field]
                yield FieldViolation(field, f"{route} {ignores}")
            elif field in ranges:
                value, taken, name = ranges[field]
                if taken is not None and taken.clamp(value) != value:
                    nearest = taken.clamp(value)
                    result = f"give {nearest:g}" if options.strict else f"drawn with {nearest:g}"
                    yield FieldViolation(
                        field,
                        f"{name} {value:g} is outside {taken.minimum:g} to {taken.maximum:g}, the range of "
                        f"{route}: {result}",
                    )
        if self.lora_dropped:
            yield FieldViolation("options.strict", self._dropped_lora(route))

    def _dropped_lora(self, route: str) -> str:
        if self.lora_model:
            return (
                f"{route} draws with {self.model}, and the LoRA of the service is for {self.lora_model}: the "
                "picture is drawn without it"
            )
        if self.missing_app not in ("", self.app_name):
            return (
                f"Hugging Face's router does not offer {self.missing_app}, which draws with the LoRA of the "
                f"service: {self.app_name} draws the picture without it"
            )
        return f"{route} does not support the LoRA of the service"


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of one service."""

    from_text: Route
    from_reference: Route | None
    """Route for requests with a reference; None if the service does not support references."""
    missing_reference_app: str = ""
    """App that would draw from a reference, but that Hugging Face's router does not offer; else empty."""
    candidates_from_text: tuple[Route, ...] = ()
    """All routes of the same settings, offered or not, the best first; empty if the routes have no apps."""
    candidates_from_reference: tuple[Route, ...] = ()
    """The same for requests with a reference."""

    def chosen(self, choice: RouteChoice, *, has_reference: bool) -> Route | None:
        """Return the route that was chosen for a generation; None if the settings do not have it."""
        candidates = self.candidates_from_reference if has_reference else self.candidates_from_text
        return next((route for route in candidates if route.choice == choice), None)

    def route(self, *, has_reference: bool) -> Route | None:
        """Return the route for a request with or without a reference; None if there is none."""
        return self.from_reference if has_reference else self.from_text

    def named(self) -> Mapping[str, Route]:
        """Return the routes by name."""
        both = (self.from_text, self.from_reference)
        return {route.name: route for route in both if route is not None}
