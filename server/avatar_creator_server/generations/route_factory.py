"""Creation of the routes from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from avatar_creator_server.generations.routes import Lora, Route, Routes
from avatar_creator_server.model_table import (
    FAL,
    NO_PRICES,
    App,
    Guidance,
    Model,
    Prices,
    References,
    find_model,
)
from avatar_creator_server.settings import Settings

_UNKNOWN_MODEL = frozenset({"prompt", "steps", "guidance_scale", "negative_prompt"})
"""Options that a model which is not in the table probably supports."""

SKETCH_REVISION = "2"
"""Version of `sketch`'s drawing. Raise it whenever the same request gives other pixels: older recipes are
then refused, not redrawn differently."""

Offered: TypeAlias = frozenset[str] | None
"""The apps that Hugging Face's router offers; None if that is unknown, so that all count as offered."""


def routes_of(settings: Settings, offered: Offered = None) -> Routes:
    """Create the routes of a service with these settings."""
    match settings.chosen_provider:
        case "huggingface":
            if settings.huggingface_route == FAL:
                return _hosted(settings, "huggingface", FAL, offered)
            return Routes(_single_requests(settings), None)
        case "replicate":
            return _hosted(settings, "replicate", "replicate")
        case "diffusers":
            return _local(settings)
        case _:
            options = frozenset({"reference", "reference_strength"})
            route = Route("sketch", "local", "", SKETCH_REVISION, None, options)
            return Routes(route, route)


def _hosted(settings: Settings, provider: str, name: str, offered: Offered = None) -> Routes:
    """Return the routes to a provider that hosts each model in apps."""
    from_text = _candidates(settings, provider, name, has_reference=False)
    from_reference = _candidates(settings, provider, name, has_reference=True)
    text = _first_offered(from_text, offered)
    reference = _first_offered(from_reference, offered)
    return Routes(
        # The list may be wrong, and nothing else draws: the provider's own answer decides.
        text or replace(from_text[0], missing_app=from_text[0].app_name),
        reference,
        missing_reference_app=from_reference[0].app_name if from_reference and not reference else "",
        candidates_from_text=from_text,
        candidates_from_reference=from_reference,
    )


def _first_offered(candidates: Sequence[Route], offered: Offered) -> Route | None:
    for route in candidates:
        if offered is None or route.app_name in offered:
            return route if route is candidates[0] else replace(route, missing_app=candidates[0].app_name)
    return None


def _candidates(settings: Settings, provider: str, name: str, *, has_reference: bool) -> tuple[Route, ...]:
    """Return the routes to a provider's apps that draw from text or from a reference, the best first."""
    model = find_model(settings.model)
    if model is None or not model.is_drawn_by(name):
        raise ValueError(f"{name} does not have the model {settings.model}")
    if not has_reference:
        hosted = model.hosted[name]
        return _app_routes(settings, provider, name, model, hosted.text, hosted.text_lora)
    candidates: list[Route] = []
    for other in map(find_model, model.reference_models or (model.id,)):
        if other is not None and name in other.hosted:
            hosted = other.hosted[name]
            candidates += _app_routes(
                settings,
                provider,
                f"{name}-reference",
                other,
                hosted.reference,
                hosted.reference_lora,
                # The LoRA was trained on the model that draws from text, so another one does not get it.
                lora_model="" if other is model else model.id,
            )
    return tuple(candidates)


def _app_routes(
    settings: Settings,
    provider: str,
    name: str,
    model: Model,
    plain: App | None,
    with_lora: App | None,
    lora_model: str = "",
) -> tuple[Route, ...]:
    lora = _lora(settings)
    apps = [
        *(
            (app, lora)
            for app in (with_lora, plain)
            if app and lora and not lora_model and "lora" in app.inputs
        ),
        # An app for a LoRA also draws without one.
        *((app, None) for app in (plain, with_lora) if app),
    ]
    return tuple(
        Route(
            provider=provider,
            name=name,
            model=model.id,
            model_revision="",
            lora=drawn_with,
            supports=_supported_by(app),
            known_model=model,
            app=app,
            steps=app.steps or model.steps,
            guidance_scale=app.guidance_scale or model.guidance_scale,
            max_references=app.max_references,
            references=_references_of(app, model),
            default_negative_prompt="negative_prompt" in app.inputs,
            lora_dropped=lora is not None and drawn_with is None,
            lora_model=lora_model if lora else "",
            prices=_prices(settings, name, app),
        )
        for app, drawn_with in apps
    )


def _references_of(app: App, model: Model) -> References:
    if not app.max_references:
        return References.NONE
    return References.NOISED if "reference_strength" in app.inputs else model.references


def _supported_by(app: App) -> frozenset[str]:
    options = {"steps", "guidance_scale", "negative_prompt", "reference_strength"} & set(app.inputs)
    return frozenset(options | {"prompt"} | ({"reference"} if app.max_references else set()))


def _single_requests(settings: Settings) -> Route:
    """Return the route to Hugging Face's own inference, or to an endpoint."""
    model = find_model(settings.model)
    return Route(
        provider="huggingface",
        name=settings.huggingface_route,
        model=settings.model,
        model_revision="",
        lora=None,
        supports=_supported_without_reference(model),
        known_model=model,
        steps=model.steps if model else None,
        guidance_scale=model.guidance_scale if model else None,
        default_negative_prompt=_has_classifier_free_guidance(model),
        lora_dropped=_lora(settings) is not None,
        prices=_prices(settings, settings.huggingface_route, None),
        price_unknown=settings.huggingface_route not in settings.prices_per_megapixel,
    )


def _local(settings: Settings) -> Routes:
    """Return the routes to a model on the worker's own card."""
    model = find_model(settings.model)
    lora = _lora(settings) if model is None or model.lora else None
    supports = _supported_without_reference(model)
    if model is not None and model.true_guidance:
        # A negative prompt doubles the time, so the route takes only the caller's own.
        supports |= {"negative_prompt"}

    def route(more: frozenset[str]) -> Route:
        return Route(
            provider="diffusers",
            name="local",
            model=settings.model,
            model_revision=settings.model_revision,
            lora=lora,
            supports=supports | more,
            known_model=model,
            steps=model.steps if model else None,
            guidance_scale=model.guidance_scale if model else None,
            max_references=model.max_references if model else 0,
            references=model.references if model else References.NONE,
            default_negative_prompt=_has_classifier_free_guidance(model),
            lora_dropped=_lora(settings) is not None and lora is None,
            prices=_prices(settings, "local", None),
            speed=settings.model_speed,
        )

    if model is None or model.references is References.NONE:
        return Routes(route(frozenset()), None)
    strength = {"reference_strength"} if model.references is References.NOISED else set()
    both = route(frozenset({"reference"} | strength))
    return Routes(both, both)


def _supported_without_reference(model: Model | None) -> frozenset[str]:
    if model is None:
        return _UNKNOWN_MODEL
    supports = {"prompt"}
    if model.steps is not None:
        supports.add("steps")
    if model.guidance_scale is not None:
        supports.add("guidance_scale")
    if _has_classifier_free_guidance(model):
        supports.add("negative_prompt")
    return frozenset(supports)


def _has_classifier_free_guidance(model: Model | None) -> bool:
    return model is not None and model.guidance is Guidance.CLASSIFIER_FREE


def _lora(settings: Settings) -> Lora | None:
    if not settings.chosen_lora:
        return None
    return Lora(
        repository=settings.chosen_lora,
        weight_file=settings.lora_weight_file,
        revision=settings.lora_revision,
        scale=settings.lora_scale,
        trigger=settings.chosen_lora_trigger,
    )


def _prices(settings: Settings, route: str, app: App | None) -> Prices:
    """Return the operator's price of a route, else the app's own."""
    price = settings.prices_per_megapixel.get(route)
    if price is not None:
        return Prices(per_megapixel=round(price * 1_000_000))
    return NO_PRICES if app is None else app.prices
