"""The checks of Replicate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import httpx

from avatar_creator_server.generations.routes import Route
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reference
from avatar_creator_tasks.providers.replicate.inputs import prediction_input
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

_SECONDS = 60.0


def checks_of(target: Target, recorder: Recorder) -> list[Check]:
    """Return the checks, in the order of their run."""
    cheapest = cheapest_route("replicate")
    klein = routes_with("replicate", "black-forest-labs/FLUX.2-klein-4B")
    dev = routes_with("replicate", "black-forest-labs/FLUX.1-dev").from_text
    assert klein.from_reference is not None
    reference = klein.from_reference

    async def second_process(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            ids: list[str] = []
            result = await drawing.draw(request_for(cheapest), ids)
            # The picture was downloaded without the token.
            findings.expect("the first process", outcome_of(result), "a picture")
            if ids:
                seen = await fetch_in_second_process("replicate", ids[0])
                findings.expect("the prediction, fetched by its id", seen, "a picture")
                await drawing.provider.cancel(ids[0])
                answer = recorder.last("POST", "/cancel")
                findings.expect(
                    "the answer to cancelling a prediction that has succeeded",
                    (answer.status, answer.words.get("status", "")),
                    (200, "succeeded"),
                )

    async def unsafe(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            result = await drawing.draw(request_for(cheapest, prompt=UNSAFE_PROMPT))
        findings.expect(
            "a prompt for nudity", outcome_of(result), "PROVIDER_NSFW", "PROVIDER_CONTENT_REFUSED"
        )
        if isinstance(result, ProviderError):
            findings.note(result.message)

    async def schemas(findings: Findings) -> None:
        for route in routes_of_all_models("replicate"):
            app = route.app.name if route.app else ""
            answer = await _get(target, f"/v1/models/{app}")
            findings.expect(f"GET /v1/models/{app}", answer.status_code, 200)
            if answer.is_success:
                for problem in _misfits(answer.json(), prediction_input(_request(route))):
                    findings.expect(f"{app}: {problem}", "a misfit", "an input that fits")

    async def refused_key(findings: Findings) -> None:
        async with _drawing(target, recorder, key=f"r8_{'x' * 37}") as drawing:
            result = await drawing.draw(request_for(cheapest))
        findings.expect("a wrong token", outcome_of(result), "PROVIDER_CREDENTIALS")
        findings.note(str(recorder.last("POST")))

    async def unknown_prediction(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            await drawing.provider.cancel("0" * 26)
        answer = await _get(target, f"/v1/predictions/{'0' * 26}")
        findings.expect("the status of an unknown prediction", answer.status_code, 404)
        findings.expect("the status of cancelling it", recorder.last("POST", "/cancel").status, 404)

    async def short_deadline(findings: Findings) -> None:
        async with httpx.AsyncClient(timeout=_SECONDS) as client:
            answer = await client.post(
                f"{recorder.url}/v1/models/black-forest-labs/flux-schnell/predictions",
                headers={"authorization": f"Bearer {target.key}", "cancel-after": "1s"},
                json={"input": prediction_input(request_for(cheapest))},
            )
        findings.expect("the status of Cancel-After: 1s", answer.status_code, 400)

    async def cancel(findings: Findings) -> None:
        async with _drawing(target, recorder) as drawing:
            prediction = await drawing.submit(request_for(dev, steps=50, width=1024, height=1024))
            await drawing.provider.cancel(prediction)
        answer = recorder.last("POST", "/cancel")
        findings.expect(
            "the answer to a cancellation",
            (answer.status, answer.words.get("status", "")),
            *((200, status) for status in ("canceled", "aborted", "processing", "starting", "succeeded")),
        )
        findings.note(str(answer))

    def drawing_of(route: Route) -> Check:
        async def run(findings: Findings) -> None:
            async with _drawing(target, recorder) as drawing:
                result = await drawing.draw(_request(route))
            findings.expect("the result", outcome_of(result), "a picture")
            if isinstance(result, Portrait):
                findings.expect("the size", result.image.size, (512, 512))
                for warning in result.warnings:
                    findings.note(warning)
            else:
                findings.note(result.message)
            findings.note(f"an answer with its input has {recorder.last('GET').size:,} bytes")

        name = f"draw {route.app.name if route.app else ''} for {route.name}"
        return Check(name, "a picture and its size", _price(route), run)

    return [
        Check("second process", "whether a result can be resumed by id", _price(cheapest), second_process),
        Check("nudity", "how the safety checker answers", _price(cheapest), unsafe),
        Check("schemas", "whether each model takes the input that we send", 0, schemas),
        Check("wrong token", "the answer to a wrong token", 0, refused_key),
        Check("unknown prediction", "the answers about an unknown prediction", 0, unknown_prediction),
        Check("short deadline", "whether Cancel-After: 1s is refused", _price(cheapest), short_deadline),
        Check("cancel", "the answer to a cancellation", dev.price(1024, 1024), cancel),
        *(drawing_of(route) for route in (klein.from_text, reference)),
    ]


def _drawing(target: Target, recorder: Recorder, key: str = "") -> AbstractAsyncContextManager[Drawing]:
    return Drawing.opened(target.open(recorder.url, key))


def _request(route: Route) -> PortraitRequest:
    request = request_for(route)
    if route.app and route.app.max_references:
        request = replace(request, references=(Reference(pictures.scene(512, 512), 0.5),))
    return request


def _price(route: Route) -> int:
    references = 1 if route.app and route.app.max_references else 0
    return route.price(512, 512, references=references)


async def _get(target: Target, path: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=_SECONDS) as client:
        return await client.get(
            f"{target.url.rstrip('/')}{path}", headers={"authorization": f"Bearer {target.key}"}
        )


def _misfits(model: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the inputs that a model's OpenAPI schema does not accept."""
    version = model.get("latest_version") or {}
    schemas = version.get("openapi_schema", {}).get("components", {}).get("schemas", {})
    properties = schemas.get("Input", {}).get("properties")
    if not properties:
        yield "the model shows no schema"
        return
    for name, value in body.items():
        if name not in properties:
            yield f"it has no input {name}"
            continue
        rules = dict(properties[name])
        for part in (*rules.get("allOf", ()), *rules.get("anyOf", ()), rules):
            rules |= schemas.get(str(part.get("$ref", "")).rpartition("/")[2], {})
        if "enum" in rules and value not in rules["enum"]:
            yield f"{name} does not take {value}"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not rules.get("minimum", value) <= value <= rules.get("maximum", value):
            yield f"{name} does not take {value}"
    for name in schemas["Input"].get("required", ()):
        if name not in body:
            yield f"it needs the input {name}"
