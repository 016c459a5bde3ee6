"""The hub's list of the apps that the router offers: how it is read, and what it means for the routes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from avatar_creator_server.generations.offered_apps import NoMappingError, read_offered_apps
from avatar_creator_server.generations.records import Options
from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.settings import DEFAULT_MODEL, Settings
from tests.support.huggingface_router import Fault, RouterFake, unanswering_address
from tests.support.service import CLOSED_ADDRESS

LORA = "strangerzonehf/Flux-Super-Realism-LoRA"
FLUX_LORA, FLUX = "fal-ai/flux-lora", "fal-ai/flux/dev"
KONTEXT, KONTEXT_LORA = "fal-ai/flux-kontext/dev", "fal-ai/flux-kontext-lora"


def read(hub_url: str, seconds: float = 20.0) -> frozenset[str]:
    return asyncio.run(read_offered_apps(hub_url, seconds=seconds))


def problem_of(hub_url: str, seconds: float = 20.0) -> str:
    with pytest.raises(NoMappingError) as refusal:
        read(hub_url, seconds)
    return refusal.value.problem


def entry(app: Any, status: str = "live") -> dict[str, Any]:
    return {"providerId": app, "status": status}


def test_a_hub_whose_name_is_unknown_is_named_so() -> None:
    assert problem_of("http://hub.invalid") == "its name cannot be resolved"


def test_all_live_apps_are_read_without_a_key(router: RouterFake) -> None:
    router.map_apps(FLUX_LORA, KONTEXT)

    # The fake refuses a request with a key.
    assert read(router.url) == {FLUX_LORA, KONTEXT}
    assert read(f"{router.url}/") == {FLUX_LORA, KONTEXT}


@pytest.mark.parametrize(
    "body",
    [
        {"text-to-image": {"a/b": entry(FLUX)}},
        {"text-to-image": [{"hfModelId": "a/b", **entry(FLUX)}]},
        {"text-to-image": {"a/b": [entry(FLUX), entry("fal-ai/other", "staging")]}},
        [{"task": "text-to-image", **entry(FLUX)}],
        {"text-to-image": {"a/b": {"providerId": FLUX}}, "text-to-video": {}},
        {
            "text-to-image": {
                "a/b": entry(FLUX),
                "c/d": None,
                "e/f": entry(7),
                "g/h": entry("a b\n"),
                "i": "j",
            }
        },
    ],
    ids=["objects", "lists", "a list for a model", "one list", "no status", "with nonsense"],
)
def test_objects_and_lists_are_read_and_unknown_parts_ignored(router: RouterFake, body: Any) -> None:
    router.fail_mapping(Fault(status=200, body=body))

    assert read(router.url) == {FLUX}


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault(status=503), "it answers with the status 503"),
        (Fault(status=302, headers={"Location": "/api/partners/fal-ai/models"}), "the status 302"),
        (Fault(how="truncated"), "its answer is not JSON"),
        (Fault(status=200, body="<html>sign in</html>"), "its answer is not JSON"),
        (Fault(status=200, body="[" * 100_000), "its answer is not JSON"),
        (Fault(status=200, body={}), "its answer has no live model"),
        (Fault(status=200, body={"error": "later"}), "its answer has no live model"),
        (Fault(status=200, body={"t": {"m": entry(FLUX, "staging")}}), "its answer has no live model"),
        (Fault(headers={"Content-Encoding": "gzip"}), "its answer is compressed, which was not requested"),
        (Fault(how="endless"), "its answer has more than 8,388,608 bytes"),
        (Fault(how="drop"), "the connection broke"),
        (Fault(how="cut"), "the connection broke"),
    ],
    ids=lambda value: (
        (value.how if value.how != "answer" else str(value.body or value.status)[:20])
        if isinstance(value, Fault)
        else ""
    ),
)
def test_an_answer_that_is_no_list_is_named(router: RouterFake, fault: Fault, problem: str) -> None:
    router.fail_mapping(fault)

    assert problem in problem_of(router.url)


@pytest.mark.parametrize("how", ["hang", "stall", "trickle"])
def test_a_slow_answer_is_given_up(router: RouterFake, how: Any) -> None:
    router.fail_mapping(Fault(how=how))

    assert problem_of(router.url, seconds=0.5) == "no answer in time"


def test_a_hub_that_cannot_be_reached_is_named() -> None:
    assert problem_of(f"http://{CLOSED_ADDRESS}") == "no connection to its address"
    with unanswering_address() as address:
        assert problem_of(address, seconds=0.5) == "no answer in time"


# The routes


def settings(**changed: str) -> Settings:
    # Set what the routes depend on, so that a developer's environment does not change the test.
    own: dict[str, Any] = {"provider": "huggingface", "huggingface_route": "fal-ai", "model": DEFAULT_MODEL}
    lora = {"lora_repository": "", "lora_scale": "1", "lora_revision": "", "lora_weight_file": ""}
    return Settings(**{"huggingface_api_key": "hf_x", **own, **lora, **changed})


def drawn_by(route: Route | None) -> tuple[str, str] | None:
    return (route.app_name, route.lora.repository if route.lora else "") if route else None


ALL = {FLUX_LORA, FLUX, KONTEXT, KONTEXT_LORA}
KONTEXT_MODEL = {"model": "black-forest-labs/FLUX.1-Kontext-dev", "lora_repository": "a/portrait-lora"}
KONTEXT_TEXT = "fal-ai/flux-kontext-lora/text-to-image"


@pytest.mark.parametrize(
    ("changed", "offered", "text", "reference"),
    [
        ({}, None, (FLUX_LORA, LORA), (KONTEXT, "")),
        ({}, ALL, (FLUX_LORA, LORA), (KONTEXT, "")),
        ({}, ALL - {FLUX_LORA}, (FLUX, ""), (KONTEXT, "")),
        ({}, ALL - {FLUX}, (FLUX_LORA, LORA), (KONTEXT, "")),
        ({}, ALL - {KONTEXT}, (FLUX_LORA, LORA), (KONTEXT_LORA, "")),
        ({}, ALL - {KONTEXT_LORA}, (FLUX_LORA, LORA), (KONTEXT, "")),
        ({}, ALL - {KONTEXT, KONTEXT_LORA}, (FLUX_LORA, LORA), None),
        ({}, ALL - {FLUX, FLUX_LORA}, (FLUX_LORA, LORA), (KONTEXT, "")),
        ({}, {"fal-ai/other"}, (FLUX_LORA, LORA), None),
        ({"lora_repository": "none"}, ALL - {FLUX_LORA}, (FLUX, ""), (KONTEXT, "")),
        ({"lora_repository": "none"}, ALL - {FLUX}, (FLUX_LORA, ""), (KONTEXT, "")),
        (KONTEXT_MODEL, ALL, (KONTEXT_TEXT, "a/portrait-lora"), (KONTEXT_LORA, "a/portrait-lora")),
        (KONTEXT_MODEL, {KONTEXT_TEXT, KONTEXT}, (KONTEXT_TEXT, "a/portrait-lora"), (KONTEXT, "")),
    ],
)
def test_the_best_app_that_is_offered_draws(
    changed: dict[str, str],
    offered: set[str] | None,
    text: tuple[str, str],
    reference: tuple[str, str] | None,
) -> None:
    routes = routes_of(settings(**changed), None if offered is None else frozenset(offered))

    assert drawn_by(routes.from_text) == text
    assert drawn_by(routes.from_reference) == reference
    assert routes.missing_reference_app == ("" if reference else KONTEXT)


@pytest.mark.parametrize(
    ("changed", "missing", "has_reference", "violation", "notice"),
    [
        ({}, "", False, None, ""),
        ({}, FLUX, False, None, ""),
        (
            {},
            FLUX_LORA,
            False,
            "Hugging Face's router does not offer fal-ai/flux-lora, which draws with the LoRA of the "
            "service: fal-ai/flux/dev draws the picture without it",
            "",
        ),
        (
            {},
            "",
            True,
            "the route fal-ai-reference of huggingface draws with black-forest-labs/FLUX.1-Kontext-dev, and "
            "the LoRA of the service is for black-forest-labs/FLUX.1-dev: the picture is drawn without it",
            "",
        ),
        (
            {"lora_repository": "none"},
            KONTEXT,
            True,
            None,
            "Hugging Face's router does not offer fal-ai/flux-kontext/dev, so fal-ai/flux-kontext-lora draws "
            "the picture",
        ),
        (
            {"lora_repository": "none", "model": "Qwen/Qwen-Image"},
            "",
            False,
            None,
            "Hugging Face's router does not offer fal-ai/qwen-image, or any app in place of it: the provider "
            "will probably refuse the request",
        ),
    ],
    ids=["all offered", "unused", "LoRA", "another model", "app with a LoRA", "none offered"],
)
def test_a_route_says_what_its_app_costs_the_picture(
    changed: dict[str, str], missing: str, has_reference: bool, violation: str | None, notice: str
) -> None:
    routes = routes_of(settings(**changed), frozenset(ALL - {missing}))
    route = routes.route(has_reference=has_reference)

    assert route is not None
    violations = [
        (found.field, found.description)
        for found in route.unsupported_options(Options(), has_reference=has_reference)
    ]
    assert violations == ([("options.strict", violation)] if violation else [])
    assert route.notice == notice


def test_a_choice_finds_its_route_again_and_only_in_the_same_settings() -> None:
    fallen_back = routes_of(settings(), frozenset({FLUX})).from_text
    first = routes_of(settings()).from_text
    assert fallen_back.choice is not None
    assert first.choice is not None

    # Servers and workers may know different lists.
    assert routes_of(settings()).chosen(fallen_back.choice, has_reference=False) == routes_of(
        settings(), frozenset({"fal-ai/other"})
    ).chosen(fallen_back.choice, has_reference=False)
    found = routes_of(settings()).chosen(fallen_back.choice, has_reference=False)
    assert drawn_by(found) == (FLUX, "")
    for changed in (
        {"lora_scale": "0.5"},
        {"lora_repository": "none"},
        {"lora_repository": "a/b"},
        {"model": "black-forest-labs/FLUX.2-dev"},
        {"provider": "sketch"},
        {"huggingface_route": "hf-inference"},
    ):
        other = routes_of(settings(**changed))
        assert other.chosen(first.choice, has_reference=False) is None, changed
    assert routes_of(settings()).chosen(first.choice, has_reference=True) is None
