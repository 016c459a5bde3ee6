"""Each app of fal in the table takes what the service sends, and the service sends nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from PIL import Image

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.model_table import MODELS, App
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.providers.base import PortraitRequest, Reference
from tests.support.huggingface_router import RouterFake
from tests.support.huggingface_router.fal_apps import APPS
from tests.support.provider_recorder import Outputs
from tests.unit.huggingface_provider.drawing import REQUEST, draw

LORA = "example/lora"
SIDE = 640


def apps_of_the_table() -> Iterator[App]:
    for model in MODELS:
        hosted = model.hosted.get("fal-ai")
        if hosted is not None:
            apps = (hosted.text, hosted.text_lora, hosted.reference, hosted.reference_lora)
            yield from filter(None, apps)


def routes() -> list[Route]:
    """Return all routes to fal, with and without a LoRA."""
    found: list[Route] = []
    for model in MODELS:
        for lora in ("none", LORA) if model.is_drawn_by("fal-ai") else ():
            settings = Settings(provider="huggingface", model=model.id, lora_repository=lora)
            found += routes_of(settings).named().values()
    return found


def case_name(route: Route) -> str:
    assert route.app is not None
    return f"{route.app.name} with a LoRA" if route.lora else route.app.name


def request_for(route: Route, *, steps: int, guidance_scale: float, references: int) -> PortraitRequest:
    """Return the request that the worker makes for a user who asks for these options."""
    reference = Reference(Image.new("RGB", (SIDE, SIDE), "peru"), 0.5)
    return replace(
        REQUEST,
        route=route,
        width=SIDE,
        height=SIDE,
        steps=route.steps_for(steps),
        guidance_scale=route.guidance_scale_for(guidance_scale),
        negative_prompt="hats" if "negative_prompt" in route.supports else "",
        references=(reference,) * references,
    )


def test_the_fake_has_exactly_the_apps_of_the_table() -> None:
    assert {app.name for app in apps_of_the_table()} == set(APPS)


@pytest.mark.parametrize("route", routes(), ids=case_name)
async def test_an_app_takes_all_that_it_is_sent_and_bills_the_price(
    route: Route, fake: RouterFake, outputs: Outputs
) -> None:
    assert route.app is not None
    takes_acceleration = "acceleration" in APPS[route.app.name].model_fields
    prices = route.app.prices
    references = route.max_references if route.name == "fal-ai-reference" else 0
    for asked in ((0, 0.0), (1, 0.01), (50, 20.0)):
        portrait = await draw(
            fake,
            outputs,
            request_for(route, steps=asked[0], guidance_scale=asked[1], references=references),
        )

        *_, submission = fake.submissions()
        assert submission["path"] == f"/fal-ai/{route.app.name}"
        assert submission["unknown_inputs"] == []
        # An app that could skip steps must not.
        assert submission["body"].get("acceleration") == ("none" if takes_acceleration else None)
        units = int(portrait.facts["billable_units"])
        assert route.price(SIDE, SIDE, references=references) == (
            units * prices.per_megapixel + prices.first_megapixel + prices.per_picture
        )
