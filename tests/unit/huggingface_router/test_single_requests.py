"""Single requests to fal, hf-inference and endpoints in the fake follow their documentation."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.waiting import wait_until
from tests.unit.huggingface_router.requests import (
    INPUT,
    LORA,
    SHORT,
    decode,
)


def test_fal_answers_with_the_result(http: httpx.Client) -> None:
    result = http.post(f"/fal-ai/{LORA}", json={**INPUT, "sync_mode": True})
    assert result.json()["seed"] == 7
    head, _, encoded = result.json()["images"][0]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert decode(base64.b64decode(encoded)).size == (256, 320)


def test_fal_refuses_invalid_input_immediately(http: httpx.Client) -> None:
    assert http.post(f"/fal-ai/{LORA}", json={}).status_code == 422


def test_fal_can_lose_its_answer(router: RouterFake, http: httpx.Client) -> None:
    router.behave(
        Behavior(run_seconds=0, faults=(Fault(how="drop", accepted=True),)),
        Behavior(run_seconds=0, faults=(Fault(stage="result", status=500),)),
    )
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(f"/fal-ai/{LORA}", json=INPUT)
    assert http.post(f"/fal-ai/{LORA}", json=INPUT).status_code == 500
    assert [each["accepted"] for each in router.submissions()] == [True, True]


@pytest.mark.parametrize("path", ["/hf-inference/models/black-forest-labs/FLUX.1-dev", "/"])
@pytest.mark.parametrize(("accept", "format"), [("image/png", "PNG"), ("*/*", "JPEG")])
def test_hugging_face_answers_with_the_picture(
    http: httpx.Client, path: str, accept: str, format: str
) -> None:
    body = {"inputs": "a portrait", "parameters": {"width": 128, "height": 96, "seed": 1}}
    response = http.post(path, json=body, headers={"Accept": accept})
    assert response.headers["content-type"] == f"image/{format.lower()}"
    picture = decode(response.content)
    assert (picture.format, picture.size) == (format, (128, 96))
    assert http.post(path, json=body, headers={"Accept": accept}).content == response.content


def test_hugging_face_answers_with_documented_errors(router: RouterFake, http: httpx.Client) -> None:
    path = "/hf-inference/models/black-forest-labs/FLUX.1-dev"
    assert http.post(path, json={"prompt": "x"}).status_code == 400
    assert http.post(path, json={"inputs": "x"}, headers={"Authorization": ""}).status_code == 401
    router.behave(Fault(status=503), Fault(stage="result", status=402))
    loading = http.post(path, json={"inputs": "x"})
    assert loading.status_code == 503
    assert loading.json()["error"] == "Model black-forest-labs/FLUX.1-dev is currently loading"
    assert loading.json()["estimated_time"] > 0
    assert "monthly included credits" in http.post(path, json={"inputs": "x"}).json()["error"]


def test_a_single_request_ends_when_its_caller_disconnects(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(hold=True))
    with pytest.raises(httpx.ReadTimeout):
        http.post("/", json={"inputs": "x"}, timeout=SHORT)
    wait_until(lambda: router.submissions()[0]["cancelled"])
