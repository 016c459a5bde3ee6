"""The requests that the provider sends, and the pictures that it accepts."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image, ImageChops

from avatar_creator_server.errors import UnavailableError
from avatar_creator_server.images.picture import Picture
from avatar_creator_tasks.providers.base import (
    ProviderError,
    Reference,
)
from avatar_creator_tasks.providers.hosted.http_client import Deadline
from avatar_creator_tasks.providers.hosted.outcomes import Signal
from avatar_creator_tasks.providers.hosted.picture_addresses import (
    picture_address,
    redirected,
)
from avatar_creator_tasks.providers.hosted.pictures import BadPictureError, PictureReader
from avatar_creator_tasks.providers.huggingface import Access, HuggingFaceProvider
from tests import pictures
from tests.support.decoders import DECODERS
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.provider_recorder import LIMITS, Outputs, RecordedReports
from tests.unit.huggingface_provider.drawing import (
    KEY,
    LORA,
    REQUEST,
    by_route,
    draw,
    header_of,
    only_submission,
    provider_of,
    route_of,
    status,
)


async def test_the_text_to_image_app_receives_the_documented_body(fake: RouterFake, outputs: Outputs) -> None:
    portrait = await draw(fake, outputs, bill_to="acme")
    submission = only_submission(fake)
    assert (submission["method"], submission["path"], submission["query"]) == (
        "POST",
        "/fal-ai/fal-ai/flux/dev",
        "_subdomain=queue",
    )
    assert submission["body"] == {
        "prompt": "a confident business woman",
        "image_size": {"width": 128, "height": 160},
        "num_inference_steps": 20,
        "guidance_scale": 2.75,
        "seed": 4_294_967_295,
        "output_format": "png",
        "acceleration": "none",
        "enable_safety_checker": True,
    }
    sent = {name.lower(): value for name, value in submission["headers"]}
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["content-type"] == "application/json"
    assert sent["x-hf-bill-to"] == "acme"
    assert sent["x-fal-no-retry"] == "1"
    assert sent["x-app-fal-disable-fallback"] == "1"
    assert sent["x-fal-request-timeout"] == "60"
    assert sent["x-fal-store-io"] == "0"
    assert json.loads(sent["x-fal-object-lifecycle-preference"]) == {"expiration_duration_seconds": 86_400}
    assert portrait.facts == {
        "request": f"fal-ai/flux/requests/{submission['request_id']}",
        "seed": "4294967295",
        "inference_seconds": "0",
        "billable_units": "1",
    }
    assert portrait.warnings == ()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param({}, "XLabs-AI/flux-RealismLora", id="repository"),
        pytest.param(
            {"lora_weight_file": "lora.safetensors"},
            "https://huggingface.co/XLabs-AI/flux-RealismLora/resolve/main/lora.safetensors",
            id="file",
        ),
        pytest.param(
            {"lora_weight_file": "in a/lora.safetensors", "lora_revision": "refs/pr/1"},
            "https://huggingface.co/XLabs-AI/flux-RealismLora/resolve/refs%2Fpr%2F1/in%20a/lora.safetensors",
            id="file of a revision",
        ),
    ],
)
async def test_a_lora_is_sent_to_the_app_for_loras(
    fake: RouterFake, outputs: Outputs, changes: Mapping[str, Any], path: str
) -> None:
    route = route_of(**LORA, **changes)
    await draw(fake, outputs, replace(REQUEST, route=route))
    submission = only_submission(fake)
    assert submission["path"] == "/fal-ai/fal-ai/flux-lora"
    assert submission["body"]["loras"] == [{"path": path, "scale": 0.8}]


async def test_a_lora_revision_that_cannot_be_sent_causes_a_warning(
    fake: RouterFake, outputs: Outputs
) -> None:
    route = route_of(**LORA, lora_revision="0ef5fff")
    portrait = await draw(fake, outputs, replace(REQUEST, route=route))
    assert "weight file" in portrait.warnings[0]


async def test_a_lora_changes_the_pixels_and_a_repeated_request_does_not(
    fake: RouterFake, outputs: Outputs
) -> None:
    with_lora = replace(REQUEST, route=route_of(**LORA))
    plain, again = await draw(fake, outputs), await draw(fake, outputs)
    adapted, stronger = (
        await draw(fake, outputs, with_lora),
        await draw(fake, outputs, replace(REQUEST, route=route_of(**(LORA | {"lora_scale": 1.0})))),
    )
    assert plain.image.tobytes() == again.image.tobytes()
    assert len({picture.image.tobytes() for picture in (plain, adapted, stronger)}) == 3


@pytest.mark.parametrize(
    ("lora", "app"), [({}, "fal-ai/flux-kontext/dev"), (LORA, "fal-ai/flux-kontext-lora")]
)
async def test_a_reference_is_sent_to_kontext_in_the_requested_size(
    fake: RouterFake, outputs: Outputs, lora: dict[str, Any], app: str
) -> None:
    route = route_of("fal-ai-reference", **lora)
    scene = pictures.scene(300, 100)
    request = replace(
        REQUEST, route=route, width=912, height=1152, references=(Reference(scene, strength=0.5),)
    )
    recorded = RecordedReports()
    portrait = await draw(fake, outputs, request, recorded)
    submission = only_submission(fake)
    body = submission["body"]
    assert submission["path"] == f"/fal-ai/{app}"
    assert recorded.ids == [f"{'/'.join(app.split('/')[:2])}/requests/{submission['request_id']}"]
    head, _, encoded = body.pop("image_url").partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(BytesIO(base64.b64decode(encoded))) as sent:
        assert (sent.size, sent.mode) == ((912, 1152), "RGB")
    assert body.pop("loras", None) == ([{"path": LORA["lora_repository"], "scale": 0.8}] if lora else None)
    assert body == {
        "prompt": "a confident business woman",
        "num_inference_steps": 20,
        "guidance_scale": 2.75,
        "seed": 4_294_967_295,
        "output_format": "png",
        "acceleration": "none",
        "enable_safety_checker": True,
        "resolution_mode": "match_input",
    }
    assert (portrait.image.size, portrait.warnings) == ((912, 1152), ())


async def test_a_kontext_picture_of_another_size_is_scaled_with_a_warning(
    fake: RouterFake, outputs: Outputs
) -> None:
    request = by_route("fal-ai-reference", references=(Reference(pictures.scene(), strength=0.5),))
    portrait = await draw(fake, outputs, request)
    other = await draw(
        fake, outputs, replace(request, references=(Reference(Image.new("RGB", (64, 64), "teal"), 0.5),))
    )
    assert portrait.image.size == (128, 160)
    assert portrait.warnings == (
        "the provider drew 912x1152 pixels; the picture was scaled and cropped to 128x160",
    )
    assert ImageChops.difference(portrait.image, other.image).getbbox() is not None


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference", "endpoint"])
async def test_a_picture_of_another_size_is_scaled_with_a_warning(
    fake: RouterFake, outputs: Outputs, route: str
) -> None:
    fake.behave(Behavior(run_seconds=0, picture_width=160, picture_height=40))
    portrait = await draw(fake, outputs, by_route(route))
    assert portrait.image.size == (128, 160)
    assert portrait.warnings == (
        "the provider drew 160x40 pixels; the picture was scaled and cropped to 128x160",
    )


@pytest.mark.parametrize(
    ("route", "path", "bill_to"),
    [
        ("hf-inference", "/hf-inference/models/black-forest-labs/FLUX.1-dev", ["acme"]),
        ("endpoint", "/", []),
    ],
)
async def test_a_single_request_has_the_documented_body(
    fake: RouterFake, outputs: Outputs, route: str, path: str, bill_to: list[str]
) -> None:
    recorded = RecordedReports()
    portrait = await draw(fake, outputs, by_route(route, negative_prompt="blurry"), recorded, bill_to="acme")
    submission = only_submission(fake)
    assert (submission["method"], submission["path"], submission["query"]) == ("POST", path, "")
    assert submission["body"] == {
        "inputs": "a confident business woman",
        "parameters": {
            "width": 128,
            "height": 160,
            "num_inference_steps": 20,
            "guidance_scale": 2.75,
            "seed": 4_294_967_295,
            "negative_prompt": "blurry",
        },
    }
    headers = submission["headers"]
    assert header_of(headers, "authorization") == [f"Bearer {KEY}"]
    assert header_of(headers, "accept") == ["image/png"]
    assert header_of(headers, "x-hf-bill-to") == bill_to
    assert not [name for name, _ in headers if name.lower().startswith("x-fal")]
    assert recorded.ids == []
    assert (portrait.image.mode, portrait.image.size) == ("RGB", (128, 160))
    assert list(portrait.facts) == ["request"]


async def test_an_endpoint_without_authorization_receives_no_key(fake: RouterFake, outputs: Outputs) -> None:
    provider = HuggingFaceProvider(Access("", endpoint_url=fake.url), DECODERS, limits=LIMITS)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(by_route("endpoint"), RecordedReports().reports)
    await provider.close()
    assert caught.value.reason == "PROVIDER_CREDENTIALS"
    assert header_of(only_submission(fake)["headers"], "authorization") == []


async def test_each_submission_uses_a_new_connection(outputs: Outputs) -> None:
    connections = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                # The server keeps the connection open.
                writer.write(b"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with provider_of(f"http://{host}:{port}") as provider:
            for _ in range(3):
                with pytest.raises(ProviderError):
                    await provider.generate(REQUEST, RecordedReports().reports)
    assert connections == 3


async def test_the_host_of_the_picture_receives_no_key(fake: RouterFake, outputs: Outputs) -> None:
    redirect = status(302, "image", headers={"Location": "0.png"}, times=2)
    fake.behave(Behavior(run_seconds=0, faults=(redirect,)))
    await draw(fake, outputs, bill_to="acme")
    fetches = only_submission(fake)["image_headers"]
    assert len(fetches) == 3
    for headers in fetches:
        names = {name.lower() for name, _ in headers}
        assert names <= {"host", "accept", "accept-encoding", "connection", "user-agent"}


@pytest.mark.parametrize(
    ("address", "is_of_the_web"),
    [
        ("https://v3.fal.media/files/a.png", True),
        ("http://v3.fal.media/files/a.png", True),
        ("https://user:word@v3.fal.media/a.png", False),
        ("ftp://v3.fal.media/a.png", False),
        ("//v3.fal.media/a.png", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://x:y/", False),
        ("", False),
    ],
)
def test_a_result_has_a_picture_if_its_address_is_one_of_the_web(address: str, is_of_the_web: bool) -> None:
    assert picture_address({"images": [{"url": address}]}) == (address if is_of_the_web else None)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("http://files.internal/b.png", "http://files.internal/b.png"),
        ("b.png", "https://fal.media/files/b.png"),
        ("//other/b.png", "https://other/b.png"),
        ("ftp://fal.media/b.png", None),
        ("https://a:b@fal.media/b.png", None),
        ("https://[::1", None),
    ],
)
def test_a_redirect_leads_to_an_address_of_the_web(location: str, target: str | None) -> None:
    url = httpx.URL("https://fal.media/files/a.png")
    assert redirected(url, 302, httpx.Headers({"location": location})) == target
    assert redirected(url, 200, httpx.Headers({"location": location})) is None


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
async def test_a_picture_in_each_usual_format_is_read(format: str) -> None:
    content = {"png": pictures.png, "jpeg": pictures.jpeg, "webp": pictures.webp}[format]()
    reader = PictureReader(DECODERS, max_pixels=48 * 32)
    image = await reader.read(content, f"image/{format}", (48, 32), Deadline(30))
    assert (image.mode, image.size) == ("RGB", (48, 32))


async def test_a_picture_without_its_last_row_is_damaged() -> None:
    reader = PictureReader(DECODERS, max_pixels=10_000)
    for rows, signal in ((65 * 64, None), (65 * 63, Signal.BROKEN_PICTURE)):
        try:
            await reader.read(pictures.png_of_rows(bytes(rows)), "image/png", (64, 64), Deadline(30))
            found = None
        except BadPictureError as error:
            found = error.signal
        assert found == signal


async def test_a_picture_waits_for_a_free_decoder_until_the_deadline() -> None:
    decoders = _BusyDecoders(2)
    reader = PictureReader(decoders, max_pixels=48 * 32)  # type: ignore[arg-type]

    image = await reader.read(pictures.png(), "image/png", (48, 32), Deadline(30))

    assert image.size == (48, 32)
    with pytest.raises(UnavailableError):
        await PictureReader(_BusyDecoders(9), max_pixels=48 * 32).read(  # type: ignore[arg-type]
            pictures.png(), "image/png", (48, 32), Deadline(0)
        )


class _BusyDecoders:
    """Decoders of which none is free the first times."""

    def __init__(self, times: int) -> None:
        self._times = times

    async def accept(self, *arguments: Any) -> Picture:
        if self._times:
            self._times -= 1
            raise UnavailableError("OVERLOADED", "no decoder is free")
        return await DECODERS.accept(*arguments)

    async def reference(self, *arguments: Any) -> Image.Image:
        return await DECODERS.reference(*arguments)
