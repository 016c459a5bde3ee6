"""Creation of the routes from the settings."""

from __future__ import annotations

from avatar_creator_server.generations.routes import GUIDANCE_DISTILLED, OPTIONS, Lora, Route, Routes
from avatar_creator_server.settings import Settings

_NO_LORA = "none"

KONTEXT_MODEL = "black-forest-labs/FLUX.1-Kontext-dev"
"""Model with which fal.ai draws from a reference."""


def routes_of(settings: Settings) -> Routes:
    """Create the routes of a service with these settings."""
    match settings.chosen_provider:
        case "huggingface":
            return _huggingface(settings)
        case "diffusers":
            # A negative prompt doubles the time, so the route takes only the caller's own.
            route = _route(settings, "diffusers", "local", _lora(settings), OPTIONS)
            return Routes(route, route)
        case _:
            route = Route("sketch", "local", "", "", None, frozenset({"reference", "reference_strength"}))
            return Routes(route, route)


def _huggingface(settings: Settings) -> Routes:
    lora = _lora(settings)
    sampling = {"prompt", "steps", "guidance_scale"}
    if settings.huggingface_route == "fal-ai":
        kontext = Route(
            provider="huggingface",
            name="fal-ai-kontext",
            model=KONTEXT_MODEL,
            model_revision="",
            lora=lora,
            supports=frozenset(sampling | {"reference"}),
            min_steps=10,
            price_per_megapixel=_price(settings, "fal-ai-kontext"),
        )
        return Routes(_route(settings, "huggingface", "fal-ai", lora, frozenset(sampling)), kontext)
    distilled = settings.model.endswith(GUIDANCE_DISTILLED)
    supports = frozenset(sampling if distilled else sampling | {"negative_prompt"})
    route = Route(
        provider="huggingface",
        name=settings.huggingface_route,
        model=settings.model,
        model_revision="",
        lora=None,
        supports=supports,
        default_negative_prompt=not distilled,
        lora_dropped=lora is not None,
        price_per_megapixel=_price(settings, settings.huggingface_route),
    )
    return Routes(route, None)


def _route(
    settings: Settings, provider: str, name: str, lora: Lora | None, supports: frozenset[str]
) -> Route:
    return Route(
        provider=provider,
        name=name,
        model=settings.model,
        model_revision=settings.model_revision if provider == "diffusers" else "",
        lora=lora,
        supports=supports,
        price_per_megapixel=_price(settings, name),
    )


def _lora(settings: Settings) -> Lora | None:
    if settings.lora_repository in ("", _NO_LORA):
        return None
    return Lora(
        repository=settings.lora_repository,
        weight_file=settings.lora_weight_file,
        revision=settings.lora_revision,
        scale=settings.lora_scale,
        trigger=settings.lora_trigger,
    )


def _price(settings: Settings, route: str) -> int:
    return round(settings.prices_per_megapixel.get(route, 0.0) * 1_000_000)
