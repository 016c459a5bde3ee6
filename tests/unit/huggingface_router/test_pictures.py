"""The pictures of the fake, as a client sees them."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.huggingface_router import Behavior, RouterFake
from tests.unit.huggingface_router.requests import (
    KONTEXT,
    LORA,
    PLAIN,
    data_uri,
    decode,
    fetch_picture,
    get,
    submit_job,
)


def test_pictures_differ_exactly_when_their_inputs_differ(http: httpx.Client) -> None:
    def pixels(app: str = LORA, **changed: Any) -> str:
        return hashlib.sha256(decode(fetch_picture(http, app, **changed).content).tobytes()).hexdigest()

    seen = [
        pixels(),
        pixels("fal-ai/flux/dev"),
        pixels(prompt="shy business woman"),
        pixels(seed=8),
        pixels(num_inference_steps=29),
        pixels(guidance_scale=3.6),
        pixels(loras=[]),
        pixels(loras=[{"path": "XLabs-AI/flux-RealismLora", "scale": 0.9}]),
        pixels(image_size={"width": 320, "height": 256}),
        pixels(KONTEXT, image_url=data_uri("red")),
        pixels(KONTEXT, image_url=data_uri("blue")),
    ]
    assert len(set(seen)) == len(seen)
    assert pixels() == seen[0]


def test_pictures_have_the_requested_size_and_format(http: httpx.Client) -> None:
    png = decode(fetch_picture(http, image_size="portrait_4_3", output_format="png").content)
    assert (png.format, png.size) == ("PNG", (768, 1024))
    # Kontext keeps the proportions of its reference and scales it to one megapixel.
    kept = decode(fetch_picture(http, KONTEXT, image_url=data_uri("red", (300, 200))).content)
    assert kept.size == (1248, 832)


def test_each_request_without_a_seed_gets_a_new_one(http: httpx.Client) -> None:
    results = [get(http, submit_job(http, seed=None, num_images=2)).json() for _ in range(2)]
    assert results[0]["seed"] != results[1]["seed"]
    assert len(results[0]["images"]) == len(results[0]["has_nsfw_concepts"]) == 2


def test_flagged_pictures_are_black(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(run_seconds=0, nsfw=True))
    result = get(http, submit_job(http)).json()
    assert result["has_nsfw_concepts"] == [True]
    picture = decode(httpx.get(result["images"][0]["url"], **PLAIN).content)
    assert picture.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_pictures_can_have_a_wrong_size(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(run_seconds=0, picture_width=64, picture_height=48))
    assert decode(fetch_picture(http).content).size == (64, 48)


def test_pictures_can_be_huge_as_a_file_or_in_memory(router: RouterFake, http: httpx.Client) -> None:
    router.behave(
        Behavior(run_seconds=0, picture_bytes=3_000_000),
        Behavior(run_seconds=0, picture_width=20_000, picture_height=20_000),
    )
    assert len(fetch_picture(http).content) == 3_000_000
    bomb = fetch_picture(http).content
    assert len(bomb) < 100_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(bomb))


def test_the_result_can_contain_another_address(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(run_seconds=0, image_url="file:///etc/passwd"))
    assert get(http, submit_job(http)).json()["images"][0]["url"] == "file:///etc/passwd"
