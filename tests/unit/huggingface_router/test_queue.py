"""fal's queue in the fake follows fal's documentation."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.huggingface_router.router_plan import PutRefusal
from tests.support.waiting import wait_until
from tests.unit.huggingface_router.requests import (
    IMMEDIATE,
    KONTEXT,
    LORA,
    PLAIN,
    decode,
    get,
    submit,
    submit_job,
)


def test_a_job_runs_from_the_receipt_to_the_picture(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(queue_seconds=0.1, run_seconds=0.1))
    receipt = submit(http)
    request_id = receipt.json()["request_id"]
    assert receipt.status_code == 200
    assert receipt.json() == {
        "status": "IN_QUEUE",
        "request_id": request_id,
        "response_url": f"{router.url}/fal-ai/flux-lora/requests/{request_id}",
        "status_url": f"{router.url}/fal-ai/flux-lora/requests/{request_id}/status",
        "cancel_url": f"{router.url}/fal-ai/flux-lora/requests/{request_id}/cancel",
        "queue_position": 0,
        "logs": None,
        "metrics": {},
    }
    job = f"/fal-ai/fal-ai/flux-lora/requests/{request_id}"
    states: list[tuple[int, str]] = []

    def completed() -> bool:
        response = get(http, f"{job}/status")
        states.append((response.status_code, response.json()["status"]))
        return states[-1][1] == "COMPLETED"

    wait_until(completed)
    order = [(202, "IN_QUEUE"), (202, "IN_PROGRESS"), (200, "COMPLETED")]
    assert states == sorted(states, key=order.index)
    assert get(http, f"{job}/status").json()["metrics"] == {"inference_time": 0.1}

    result = get(http, job)
    assert result.headers["x-fal-request-id"] == request_id
    assert result.headers["x-fal-billable-units"] == "1"
    assert result.json() == {
        "images": [
            {
                "url": f"{router.url}/files/{request_id}/0.jpeg",
                "width": 256,
                "height": 320,
                "content_type": "image/jpeg",
            }
        ],
        "timings": {"inference": 0.1},
        "seed": 7,
        "has_nsfw_concepts": [False],
        "prompt": "confident business woman",
    }
    picture = httpx.get(result.json()["images"][0]["url"], **PLAIN)
    assert picture.headers["content-type"] == "image/jpeg"
    assert decode(picture.content).size == (256, 320)


def test_a_status_contains_the_queue_position(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(queue_seconds=60, queue_position=3))
    receipt = submit(http).json()
    assert receipt["queue_position"] == 3
    job = f"/fal-ai/fal-ai/flux-lora/requests/{receipt['request_id']}"
    status = get(http, f"{job}/status").json()
    assert (status["status"], status["queue_position"]) == ("IN_QUEUE", 3)


def test_a_status_contains_logs_on_request(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(hold=True))
    job = submit_job(http)
    assert get(http, f"{job}/status").json()["logs"] is None
    assert [entry["level"] for entry in get(http, f"{job}/status", logs="1").json()["logs"]] == ["INFO"]


def test_an_app_with_a_subpath_is_polled_at_its_response_url(http: httpx.Client) -> None:
    job = submit_job(http, "fal-ai/flux/dev")
    assert job.startswith("/fal-ai/fal-ai/flux/requests/")
    assert get(http, job).status_code == 200
    assert get(http, job.replace("/flux/", "/flux/dev/")).status_code == 405


def test_every_request_needs_the_subdomain(http: httpx.Client) -> None:
    job = submit_job(http)
    assert http.get(f"{job}/status").status_code == 404


def test_the_response_url_itself_refuses_a_hugging_face_token(http: httpx.Client) -> None:
    url = submit(http).json()["response_url"]
    assert http.get(url).status_code == 401
    assert http.get(url, headers={"Authorization": "Key id:secret"}).status_code == 200


def test_a_held_job_runs_until_it_is_finished(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(hold=True, run_seconds=0))
    job = submit_job(http)
    assert get(http, f"{job}/status").json()["status"] == "IN_PROGRESS"
    early = get(http, job)
    assert (early.status_code, early.json()) == (400, {"detail": "Request is still in progress"})
    router.finish(job.rpartition("/")[2])
    assert get(http, f"{job}/status").json()["status"] == "COMPLETED"
    with pytest.raises(ValueError, match="no job"):
        router.finish("another")


@pytest.mark.parametrize(
    ("queue_seconds", "answer"), [(60, (200, "OK")), (0, (202, "CANCELLATION_REQUESTED"))]
)
def test_a_waiting_or_running_job_can_be_cancelled(
    router: RouterFake, http: httpx.Client, queue_seconds: float, answer: tuple[int, str]
) -> None:
    router.behave(Behavior(queue_seconds=queue_seconds, hold=True))
    job = submit_job(http)
    cancelled = http.put(f"{job}/cancel", params={"_subdomain": "queue"})
    assert (cancelled.status_code, cancelled.json()["status"]) == answer
    status = get(http, f"{job}/status").json()
    assert (status["status"], status["error_type"]) == ("COMPLETED", "client_cancelled")
    assert get(http, job).status_code == 499
    assert router.submissions()[0]["cancelled"]


def test_a_completed_or_unknown_job_cannot_be_cancelled(http: httpx.Client) -> None:
    job = submit_job(http)
    late = http.put(f"{job}/cancel", params={"_subdomain": "queue"})
    assert (late.status_code, late.json()) == (400, {"status": "ALREADY_COMPLETED"})
    unknown = http.put(f"{job}0/cancel", params={"_subdomain": "queue"})
    assert (unknown.status_code, unknown.json()) == (404, {"status": "NOT_FOUND"})


def test_a_runner_can_ignore_a_cancellation(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(hold=True, ignores_cancel=True))
    job = submit_job(http)
    assert http.put(f"{job}/cancel", params={"_subdomain": "queue"}).status_code == 202
    assert get(http, f"{job}/status").json()["status"] == "IN_PROGRESS"
    router.finish()
    assert get(http, job).status_code == 200
    assert not router.submissions()[0]["cancelled"]


def test_a_runner_can_take_its_time_to_stop(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(hold=True, stop_seconds=0.2))
    job = submit_job(http)
    assert http.put(f"{job}/cancel", params={"_subdomain": "queue"}).status_code == 202
    assert not router.submissions()[0]["cancelled"]
    wait_until(lambda: get(http, f"{job}/status").json()["status"] == "COMPLETED")
    assert get(http, job).status_code == 499
    assert router.submissions()[0]["cancelled"]


@pytest.mark.parametrize(
    ("how", "code", "content_type"),
    [
        ("html", 404, "text/html"),
        ("json", 404, "application/json"),
        ("405", 405, "text/plain"),
        ("401", 401, "text/html"),
    ],
)
def test_a_router_can_refuse_put(
    router: RouterFake, http: httpx.Client, how: PutRefusal, code: int, content_type: str
) -> None:
    router.behave(Behavior(hold=True))
    job = submit_job(http)
    router.refuse_put(how)
    refused = http.put(f"{job}/cancel", params={"_subdomain": "queue"})
    assert (refused.status_code, refused.headers["content-type"]) == (code, content_type)
    assert b"NOT_FOUND" not in refused.content
    assert "x-fal-request-id" not in refused.headers
    assert get(http, f"{job}/status").json()["status"] == "IN_PROGRESS"
    router.refuse_put(None)
    assert http.put(f"{job}/cancel", params={"_subdomain": "queue"}).status_code == 202


def test_the_addresses_of_a_receipt_may_have_the_whole_app(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(run_seconds=0, address_path="fal-ai/flux-2/klein/4b"))
    job = submit_job(http)
    assert job.startswith("/fal-ai/fal-ai/flux-2/klein/4b/requests/")
    assert get(http, job).status_code == 200
    assert get(http, job.replace("flux-2/klein/4b", "flux-lora")).status_code == 404


@pytest.mark.parametrize(
    ("headers", "prompt", "kept_seconds"),
    [
        ({}, "short", 30 * 24 * 3600),
        ({"X-Fal-Store-IO": "1"}, "short", 30 * 24 * 3600),
        ({"X-Fal-Store-IO": "0"}, "short", 3600),
        ({"X-Fal-Store-IO": "0"}, "long" * 2500, 360),
    ],
)
def test_a_result_expires(
    router: RouterFake, http: httpx.Client, headers: dict[str, str], prompt: str, kept_seconds: float
) -> None:
    router.behave(IMMEDIATE)
    http.headers.update(headers)
    job = submit_job(http, prompt=prompt)
    router.let_pass(kept_seconds - 60)
    assert get(http, job).status_code == 200
    router.let_pass(60)
    assert get(http, job).status_code == 404
    assert get(http, f"{job}/status").json()["status"] == "COMPLETED"


@pytest.mark.parametrize(("seconds", "is_kept"), [("7200", False), ("172800", True), ("null", True)])
def test_the_file_of_a_picture_expires(
    router: RouterFake, http: httpx.Client, seconds: str, is_kept: bool
) -> None:
    router.behave(IMMEDIATE)
    preference = f'{{"expiration_duration_seconds": {seconds}}}'
    http.headers["X-Fal-Object-Lifecycle-Preference"] = preference
    url = get(http, submit_job(http)).json()["images"][0]["url"]
    router.let_pass(7_100)
    assert httpx.get(url, **PLAIN).status_code == 200
    router.let_pass(100)
    assert httpx.get(url, **PLAIN).status_code == (200 if is_kept else 404)


@pytest.mark.parametrize("preference", ["soon", "{}", "7200", '{"expiration_duration_seconds": "7200"}'])
def test_a_lifetime_that_is_not_valid_is_refused(http: httpx.Client, preference: str) -> None:
    http.headers["X-Fal-Object-Lifecycle-Preference"] = preference
    assert submit(http).status_code == 400


@pytest.mark.parametrize(
    ("fault", "code", "body", "is_from_fal"),
    [
        (
            Fault(stage="result", status=500),
            500,
            {"detail": "Internal error", "error_type": "internal_error"},
            True,
        ),
        (Fault(stage="result", status=500, error_type=""), 500, {"detail": "Internal Server Error"}, True),
        (Fault(stage="result", status=503, error_type=""), 503, {"detail": "GPU error"}, True),
        (Fault(stage="result", status=502, made_by="proxy"), 502, {"error": "Bad Gateway"}, False),
        (Fault(stage="result", status=401), 401, {"error": "Invalid username or password."}, False),
    ],
)
def test_only_answers_of_fal_name_the_request(
    router: RouterFake, http: httpx.Client, fault: Fault, code: int, body: object, is_from_fal: bool
) -> None:
    router.behave(Behavior(run_seconds=0, faults=(fault,)))
    answer = get(http, submit_job(http))
    assert (answer.status_code, answer.json()) == (code, body)
    assert ("x-fal-request-id" in answer.headers) == is_from_fal


def test_a_page_of_a_gateway_does_not_name_the_request(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(run_seconds=0, faults=(Fault(stage="result", how="html"),)))
    page = get(http, submit_job(http))
    assert page.status_code == 502
    assert "x-fal-request-id" not in page.headers


@pytest.mark.parametrize(
    ("app", "changed", "place", "kind"),
    [
        (LORA, {"prompt": None}, ["body", "prompt"], "string_type"),
        (LORA, {"num_inference_steps": 51}, ["body", "num_inference_steps"], "less_than_equal"),
        (LORA, {"num_inference_steps": 0}, ["body", "num_inference_steps"], "greater_than_equal"),
        (LORA, {"guidance_scale": 35.5}, ["body", "guidance_scale"], "less_than_equal"),
        (LORA, {"seed": "many"}, ["body", "seed"], "int_parsing"),
        (LORA, {"output_format": "gif"}, ["body", "output_format"], "one_of"),
        (LORA, {"loras": [{"scale": 1}]}, ["body", "loras", 0, "path"], "missing"),
        (
            LORA,
            {"loras": [{"path": "a/b", "scale": 5}]},
            ["body", "loras", 0, "scale"],
            "less_than_equal",
        ),
        (KONTEXT, {}, ["body", "image_url"], "missing"),
        (
            KONTEXT,
            {"num_inference_steps": 9, "image_url": ""},
            ["body", "num_inference_steps"],
            "greater_than_equal",
        ),
        (
            KONTEXT,
            {"image_url": "data:image/png;base64,AAAA"},
            ["body", "image_url"],
            "image_load_error",
        ),
        (
            KONTEXT,
            {"image_url": "https://example.com/a.png"},
            ["body", "image_url"],
            "file_download_error",
        ),
    ],
)
def test_invalid_input_is_accepted_and_refused_in_the_result(
    http: httpx.Client, app: str, changed: dict[str, Any], place: list[Any], kind: str
) -> None:
    job = submit_job(http, app, **changed)
    assert get(http, f"{job}/status").json()["status"] == "COMPLETED"
    result = get(http, job)
    assert result.status_code == 422
    error = result.json()["detail"][0]
    assert (error["loc"], error["type"]) == (place, kind)
    assert error["msg"]
    assert error["url"] == f"https://docs.fal.ai/errors/#{kind}"


def test_unknown_apps_and_jobs_are_not_found(http: httpx.Client) -> None:
    assert submit(http, "fal-ai/flux-nonsense").status_code == 404
    job = submit_job(http)
    assert get(http, f"{job}0/status").status_code == 404
    assert get(http, job.replace("flux-lora", "flux")).status_code == 404


@pytest.mark.parametrize("token", ["", "Bearer sk_invalid", "Key hf_valid"])
def test_an_invalid_token_is_refused(router: RouterFake, http: httpx.Client, token: str) -> None:
    job = submit_job(http)
    http.headers["Authorization"] = token
    for response in (submit(http), get(http, job), get(http, f"{job}/status")):
        assert response.status_code == 401
        assert response.json() == {"error": "Invalid username or password."}
    assert [each["answered"] for each in router.submissions()] == [200, 401]


def test_the_valid_tokens_can_be_set(router: RouterFake, http: httpx.Client) -> None:
    router.know_tokens("hf_other")
    assert submit(http).status_code == 401
    http.headers["Authorization"] = "Bearer hf_other"
    assert submit(http).status_code == 200
