"""The checks of Hugging Face's router with fal.ai."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import httpx
from PIL import Image

from avatar_creator_server.generations.routes import Route
from avatar_creator_tasks.providers.base import Portrait, ProviderError, Reference
from tests import pictures
from tests.live.checks import (
    UNSAFE_PROMPT,
    Check,
    Drawing,
    Findings,
    fetch_in_second_process,
    outcome_of,
    request_for,
)
from tests.live.keys import Target
from tests.live.recorder import Recorder
from tests.live.routes import cheapest_route, routes_of_all_models, routes_with

_CANCEL_ANSWERS = ((200, "OK"), (202, "CANCELLATION_REQUESTED"), (400, "ALREADY_COMPLETED"))
_DRAWN_TEXT_MODELS = (
    "black-forest-labs/FLUX.1-schnell",
    "black-forest-labs/FLUX.1-dev",
    "black-forest-labs/FLUX.2-klein-4B",
    "Tongyi-MAI/Z-Image-Turbo",
    "Qwen/Qwen-Image",
)
_HUB_SECONDS = 30.0


def checks_of(target: Target, recorder: Recorder, hub_url: str) -> list[Check]:
    """Return the checks, in the order of their run."""
    cheapest = cheapest_route("huggingface")
    dev = routes_with("huggingface", "black-forest-labs/FLUX.1-dev")
    kontext = dev.from_reference
    assert kontext is not None
    drawn = [routes_with("huggingface", model).from_text for model in _DRAWN_TEXT_MODELS]

    async def second_process(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            ids: list[str] = []
            result = await drawing.draw(request_for(cheapest), ids)
        findings.expect("the first process", outcome_of(result), "a picture")
        if ids:
            seen = await fetch_in_second_process("huggingface", ids[0])
            findings.expect(
                "the result of a request that is not stored (X-Fal-Store-IO: 0), fetched by its id",
                seen,
                "a picture",
            )

    async def unsafe(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            result = await drawing.draw(request_for(cheapest, prompt=UNSAFE_PROMPT))
        findings.expect(
            "a prompt for nudity", outcome_of(result), "PROVIDER_NSFW", "PROVIDER_CONTENT_REFUSED"
        )

    async def mapping(findings: Findings) -> None:
        async with httpx.AsyncClient(timeout=_HUB_SECONDS) as client:
            answer = await client.get(f"{hub_url}/api/partners/fal-ai/models", params={"status": "live"})
        findings.expect("the status of the public mapping", answer.status_code, 200)
        mapped = set(_provider_ids(answer.json())) if answer.is_success else set()
        for route in routes_of_all_models("huggingface"):
            app = route.app.name if route.app else ""
            findings.expect(f"{app} in the mapping", "yes" if app in mapped else "no", "yes")

    async def refused_key(findings: Findings) -> None:
        async with _drawing(target, recorder, key=f"hf_{'x' * 34}") as drawing:
            result = await drawing.draw(request_for(cheapest))
        findings.expect("a wrong key", outcome_of(result), "PROVIDER_CREDENTIALS")
        findings.note(str(recorder.last("POST")))

    async def unknown_app(findings: Findings) -> None:
        assert cheapest.app is not None
        route = replace(cheapest, app=replace(cheapest.app, name="fal-ai/no-such-app-a8f3"))
        async with _drawing(target, recorder) as drawing:
            result = await drawing.draw(request_for(route))
        findings.expect("an unknown app", outcome_of(result), "PROVIDER_GONE")
        findings.note(str(recorder.last("POST")))

    async def cancel(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            request_id = await drawing.submit(request_for(dev.from_text, steps=50, width=1024, height=1024))
            try:
                await drawing.provider.cancel(request_id)
            except ProviderError as error:
                findings.expect("a cancellation", error.reason, "no error")
        answer = recorder.last("PUT", "/cancel")
        findings.expect(
            "the router's answer to PUT …/cancel",
            (answer.status, answer.words.get("status", "")),
            *_CANCEL_ANSWERS,
        )

    def drawing_of(route: Route) -> Check:
        async def run(findings: Findings) -> None:
            await _draw(target, recorder, route, findings)

        app = route.app.name if route.app else ""
        return Check(f"draw {app}", "a picture, its size and its price header", _price(route), run)

    return [
        Check(
            "second process",
            "whether a result that fal does not store can be resumed by id",
            _price(cheapest),
            second_process,
        ),
        Check("nudity", "how the safety checker answers", _price(cheapest), unsafe),
        Check("mapping", "whether the router knows each app", 0, mapping),
        Check("wrong key", "the answer to a wrong key", 0, refused_key),
        Check("unknown app", "the answer to an unknown app", 0, unknown_app),
        Check("cancel", "whether the router forwards PUT", dev.from_text.price(1024, 1024), cancel),
        *(drawing_of(route) for route in [*drawn, kontext]),
    ]


def _drawing(target: Target, recorder: Recorder, key: str = "") -> AbstractAsyncContextManager[Drawing]:
    return Drawing.opened(target.open(recorder.url, key))


async def _draw(target: Target, recorder: Recorder, route: Route, findings: Findings) -> None:
    reference = Reference(pictures.scene(512, 512), 0.5)
    references = (reference,) if route.app and route.app.max_references else ()
    async with _drawing(target, recorder) as drawing:
        result = await drawing.draw(request_for(route, references=references))
    findings.expect("the result", outcome_of(result), "a picture")
    if isinstance(result, Portrait):
        image: Image.Image = result.image
        findings.expect("the size", image.size, (512, 512))
        findings.expect("x-fal-billable-units", result.facts.get("billable_units", "none"), "1", "1.0")
        findings.expect("the seed", result.facts.get("seed", "none"), "7")
        for warning in result.warnings:
            findings.note(warning)
    else:
        findings.note(result.message)


def _price(route: Route) -> int:
    references = 1 if route.app and route.app.max_references else 0
    return route.price(512, 512, references=references)


def _provider_ids(mapping: Any) -> Iterator[str]:
    """Yield every live `providerId` in a mapping, at any depth."""
    if isinstance(mapping, dict):
        found = mapping.get("providerId")
        if isinstance(found, str) and mapping.get("status", "live") == "live":
            yield found
        for each in mapping.values():
            yield from _provider_ids(each)
    elif isinstance(mapping, list):
        for each in mapping:
            yield from _provider_ids(each)
