"""The routes that the live checks draw with."""

from __future__ import annotations

from typing import Any

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route, Routes
from avatar_creator_server.model_table import MODELS
from avatar_creator_server.settings import Settings

_HOSTS = {"huggingface": "fal-ai", "replicate": "replicate"}
"""Names of the providers in the table of models."""
_CHEAPEST = "black-forest-labs/FLUX.1-schnell"


def routes_with(provider: str, model: str) -> Routes:
    """Return the routes of a service with this provider and model."""
    chosen: dict[str, Any] = {"provider": provider, "model": model, "lora_repository": "none"}
    return routes_of(Settings(**chosen))


def cheapest_route(provider: str) -> Route:
    """Return the route with the cheapest model."""
    return routes_with(provider, _CHEAPEST).from_text


def routes_of_all_models(provider: str) -> list[Route]:
    """Return the routes to all models of a provider, from text and from references."""
    pairs = [routes_with(provider, model.id) for model in MODELS if model.is_drawn_by(_HOSTS[provider])]
    both = [route for pair in pairs for route in (pair.from_text, pair.from_reference) if route is not None]
    return list({(route.app.name if route.app else "", route.name): route for route in both}.values())
