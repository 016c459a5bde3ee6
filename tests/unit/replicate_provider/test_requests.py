"""The predictions that the provider creates, and the pictures that it accepts."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy
import pytest
from PIL import Image

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Route
from avatar_creator_server.model_table import MODELS
from avatar_creator_server.settings import Settings, SettingsError
from avatar_creator_tasks.providers.base import Reference
from avatar_creator_tasks.providers.hosted.pictures import reference_uri
from avatar_creator_tasks.providers.replicate import Access
from avatar_creator_tasks.providers.replicate.inputs import MAX_REFERENCE_BYTES
from avatar_creator_tasks.providers.replicate.schemas import SCHEMAS
from tests.support.provider_recorder import LIMITS, Outputs
from tests.support.replicate_api import ReplicateFake
from tests.support.replicate_api.models import MODELS as MODELS_OF_FAKE
from tests.unit.replicate_provider.drawing import (
    DEV,
    KEY,
    REQUEST,
    draw,
    request_of,
    route_of,
)

LARGE = replace(LIMITS, picture_bytes=4 * 1024 * 1024)
"""Limits for pictures with two megapixels."""


def routes() -> list[Route]:
    """Return all routes to models on Replicate."""
    drawn = [model for model in MODELS if model.is_drawn_by("replicate")]
    pairs = [
        routes_of(Settings(provider="replicate", model=model.id, lora_repository="none")) for model in drawn
    ]
    both = [route for pair in pairs for route in (pair.from_text, pair.from_reference) if route is not None]
    return [*both, route_of(lora="XLabs-AI/flux-RealismLora")]


def only_body(fake: ReplicateFake) -> dict[str, Any]:
    """Return the input of the only prediction."""
    [submission] = fake.submissions()
    body: dict[str, Any] = submission["body"]["input"]
    return body


def test_each_model_has_a_schema_here_and_in_the_fake() -> None:
    apps = {route.app.name for route in routes() if route.app is not None}

    assert apps == SCHEMAS.keys() == MODELS_OF_FAKE.keys()


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.app.name} for {route.name}")
@pytest.mark.parametrize("size", [(1024, 1024), (256, 1440)], ids=str)
async def test_every_model_accepts_its_input_and_the_picture_has_the_requested_size(
    fake: ReplicateFake, outputs: Outputs, route: Route, size: tuple[int, int]
) -> None:
    request = request_of(route, width=size[0], height=size[1])
    portrait = await draw(fake, outputs, request, limits=LARGE)

    assert portrait.image.size == size
    body = only_body(fake)
    assert (body["prompt"], body["seed"]) == (request.prompt, request.seed)
    assert body["output_format"] == "png"
    assert not body.get("go_fast")
    assert not body.get("disable_safety_checker")
    assert not body.get("prompt_upsampling")
    assert not body.get("enhance_prompt")


@pytest.mark.parametrize(
    ("model", "form"),
    [
        (DEV, {"aspect_ratio": "3:4", "megapixels": "1"}),
        ("black-forest-labs/FLUX.2-dev", {"aspect_ratio": "custom", "width": 896, "height": 1152}),
        ("black-forest-labs/FLUX.2-klein-4B", {"aspect_ratio": "4:5", "output_megapixels": "1"}),
        ("Tongyi-MAI/Z-Image-Turbo", {"width": 896, "height": 1152}),
        ("Qwen/Qwen-Image", {"aspect_ratio": "3:4"}),
    ],
)
async def test_the_size_is_sent_in_the_form_of_the_model(
    fake: ReplicateFake, outputs: Outputs, model: str, form: dict[str, Any]
) -> None:
    await draw(fake, outputs, request_of(route_of(model), width=896, height=1152), limits=LARGE)

    body = only_body(fake)
    names = ("aspect_ratio", "megapixels", "output_megapixels", "width", "height")
    assert {name: body[name] for name in names if name in body} == form


async def test_a_prediction_has_the_documented_form(fake: ReplicateFake, outputs: Outputs) -> None:
    portrait = await draw(fake, outputs)

    [submission] = fake.submissions()
    assert (submission["method"], submission["path"]) == (
        "POST",
        "/v1/models/black-forest-labs/flux-dev/predictions",
    )
    assert submission["body"] == {
        "input": {
            "prompt": "a confident business woman",
            "seed": 4_294_967_295,
            "num_inference_steps": 28,
            "guidance": 3.5,
            "aspect_ratio": "1:1",
            "megapixels": "0.25",
            "num_outputs": 1,
            "output_format": "png",
            "go_fast": False,
            "disable_safety_checker": False,
        }
    }
    sent = {name.lower(): value for name, value in submission["headers"]}
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["cancel-after"] == "60s"
    # The call must return the id before the model works.
    assert "prefer" not in sent
    assert portrait.facts == {
        "request": submission["request_id"],
        "version": "hidden",
        "predict_seconds": portrait.facts["predict_seconds"],
    }
    assert portrait.warnings == ()
    for headers in submission["image_headers"]:
        assert {name.lower() for name, _ in headers} <= {
            "host",
            "accept",
            "accept-encoding",
            "connection",
            "user-agent",
        }


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "huggingface.co/XLabs-AI/flux-RealismLora"),
        (
            {"lora_weight_file": "lora.safetensors", "lora_revision": "refs/pr/1"},
            "https://huggingface.co/XLabs-AI/flux-RealismLora/resolve/refs%2Fpr%2F1/lora.safetensors",
        ),
    ],
    ids=["repository", "file of a revision"],
)
async def test_a_lora_is_sent_to_the_model_for_loras(
    fake: ReplicateFake, outputs: Outputs, settings: dict[str, Any], address: str
) -> None:
    route = route_of(lora="XLabs-AI/flux-RealismLora", lora_scale=0.8, **settings)
    await draw(fake, outputs, replace(REQUEST, route=route))

    body = only_body(fake)
    assert (body["lora_weights"], body["lora_scale"]) == (address, 0.8)
    assert fake.submissions()[0]["model"] == "black-forest-labs/flux-dev-lora"


async def test_a_reference_is_sent_to_kontext_in_the_requested_size(
    fake: ReplicateFake, outputs: Outputs
) -> None:
    request = request_of(route_of(has_reference=True), width=912, height=1152)
    portrait = await draw(fake, outputs, request)

    body = only_body(fake)
    head, _, encoded = body["input_image"].partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(BytesIO(base64.b64decode(encoded))) as sent:
        assert (sent.size, sent.mode) == ((912, 1152), "RGB")
    assert (body["aspect_ratio"], body["guidance"]) == ("match_input_image", 2.5)
    assert fake.submissions()[0]["model"] == "black-forest-labs/flux-kontext-dev"
    assert portrait.image.size == (912, 1152)


async def test_a_model_for_several_references_gets_a_list(fake: ReplicateFake, outputs: Outputs) -> None:
    request = request_of(route_of("black-forest-labs/FLUX.2-klein-4B", has_reference=True), width=512)
    await draw(fake, outputs, request)

    assert len(only_body(fake)["images"]) == 1


async def test_a_route_for_references_is_not_drawn_without_one(fake: ReplicateFake, outputs: Outputs) -> None:
    request = replace(request_of(route_of(has_reference=True)), references=())
    with pytest.raises(ValueError, match="needs a reference"):
        await draw(fake, outputs, request)

    assert fake.count == 0


def test_a_reference_with_much_detail_becomes_a_small_file() -> None:
    noise = numpy.random.default_rng(1).integers(0, 256, (1440, 1440, 3), dtype=numpy.uint8)
    smooth = Image.linear_gradient("L").convert("RGB")

    detailed, plain = (
        reference_uri(image, (720, 720), max_bytes=MAX_REFERENCE_BYTES)
        for image in (Image.fromarray(noise).resize((720, 720)), smooth)
    )

    assert len(plain) < len(detailed)
    assert len(file_in(detailed)) <= MAX_REFERENCE_BYTES
    for uri in (plain, detailed):
        with Image.open(BytesIO(file_in(uri))) as picture:
            assert picture.size == (720, 720)


async def test_the_most_references_with_the_most_detail_are_accepted_and_the_picture_comes(
    fake: ReplicateFake, outputs: Outputs
) -> None:
    route = route_of("black-forest-labs/FLUX.2-pro", has_reference=True)
    noise = numpy.random.default_rng(1).integers(0, 256, (1440, 1440, 3), dtype=numpy.uint8)
    references = (Reference(Image.fromarray(noise), 0.5),) * route.max_references
    request = request_of(route, width=1440, height=1440, references=references)

    portrait = await draw(fake, outputs, request, limits=LARGE)

    assert portrait.image.size == (1440, 1440)
    sent = [file_in(uri) for uri in only_body(fake)["input_images"]]
    assert len(sent) == route.max_references == 8
    assert max(map(len, sent)) <= MAX_REFERENCE_BYTES
    with Image.open(BytesIO(sent[0])) as picture:
        width, height = picture.size
    assert width == height < 1440


def file_in(uri: str) -> bytes:
    """Return the file in a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def test_access_does_not_show_its_token() -> None:
    assert KEY not in repr(Access(KEY))


@pytest.mark.parametrize("bad", [f"{KEY}\n", f" {KEY}", f"{KEY}é"])
def test_a_token_that_no_header_can_carry_is_refused_without_repeating_it(outputs: Outputs, bad: str) -> None:
    with pytest.raises(ValueError, match="no header can carry") as caught:
        Access(bad)
    outputs.texts.append(str(caught.value))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "acme/unknown"}, "replicate only has"),
        ({"model": "Qwen/Qwen-Image-Edit"}, "replicate only has"),
        ({"provider_deadline_seconds": 1801}, "at most 1800"),
        ({"lora_revision": "0ef5fff"}, "LORA_WEIGHT_FILE"),
    ],
)
def test_settings_that_replicate_cannot_serve_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(provider="replicate", **settings).require_legal_combination()


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({"replicate_api_token": KEY}, "replicate"),
        ({"replicate_api_token": KEY, "huggingface_api_key": "hf_x"}, "huggingface"),
        ({"replicate_api_token": KEY, "provider": "sketch"}, "sketch"),
        ({}, "sketch"),
    ],
)
def test_the_token_chooses_the_provider_unless_there_is_a_key_for_hugging_face(
    settings: dict[str, Any], chosen: str
) -> None:
    assert Settings(**settings).chosen_provider == chosen
