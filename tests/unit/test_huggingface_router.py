"""The fake of the Hugging Face router answers and fails as the real one's documents and clients say."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from tests.support.guarded_process import GuardedProcess
from tests.support.huggingface_router import Behavior, Fault, RouterFake, unanswering_address
from tests.support.waiting import wait_until

LORA = "fal-ai/flux-lora"
KONTEXT = "fal-ai/flux-kontext/dev"
AT_ONCE = Behavior(run_seconds=0)
# Loading the system's certificates would take most of a test's time.
PLAIN: Any = {"verify": False, "trust_env": False}
SHORT = httpx.Timeout(10.0, read=0.05)
"""The patience with an answer that will not come."""
ASKED = {
    "prompt": "confident business woman",
    "image_size": {"width": 256, "height": 320},
    "num_inference_steps": 28,
    "guidance_scale": 3.5,
    "seed": 7,
    "loras": [{"path": "XLabs-AI/flux-RealismLora", "scale": 0.8}],
}


@pytest.fixture
def http(router: RouterFake) -> Iterator[httpx.Client]:
    """A client with a right token, of a router whose jobs are done at once."""
    router.behave(always=AT_ONCE)
    with httpx.Client(
        base_url=router.url, headers={"Authorization": "Bearer hf_right"}, timeout=10.0, **PLAIN
    ) as client:
        yield client


def submit(http: httpx.Client, app: str = LORA, **changed: Any) -> httpx.Response:
    return http.post(f"/fal-ai/{app}", params={"_subdomain": "queue"}, json={**ASKED, **changed})


def accepted(http: httpx.Client, app: str = LORA, **changed: Any) -> str:
    """Submit, and give the path of the job, derived as huggingface.js does."""
    response = submit(http, app, **changed)
    assert response.status_code == 200, response.text
    return f"/fal-ai{urlsplit(response.json()['response_url']).path}"


def get(http: httpx.Client, path: str, **query: str) -> httpx.Response:
    return http.get(path, params={"_subdomain": "queue", **query})


def picture_of(http: httpx.Client, app: str = LORA, **changed: Any) -> httpx.Response:
    job = accepted(http, app, **changed)
    result = get(http, job)
    assert result.status_code == 200, result.text
    return httpx.get(result.json()["images"][0]["url"], **PLAIN)


def decoded(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def data_uri(color: str, size: tuple[int, int] = (300, 200)) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


class TestQueue:
    def test_takes_a_job_from_the_receipt_to_the_picture(
        self, router: RouterFake, http: httpx.Client
    ) -> None:
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
        said: list[tuple[int, str]] = []

        def completed() -> bool:
            response = get(http, f"{job}/status")
            said.append((response.status_code, response.json()["status"]))
            return said[-1][1] == "COMPLETED"

        wait_until(completed)
        order = [(202, "IN_QUEUE"), (202, "IN_PROGRESS"), (200, "COMPLETED")]
        assert said == sorted(said, key=order.index)
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
        assert decoded(picture.content).size == (256, 320)

    def test_says_how_many_are_ahead(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(queue_seconds=60, queue_position=3))
        receipt = submit(http).json()
        assert receipt["queue_position"] == 3
        job = f"/fal-ai/fal-ai/flux-lora/requests/{receipt['request_id']}"
        status = get(http, f"{job}/status").json()
        assert (status["status"], status["queue_position"]) == ("IN_QUEUE", 3)

    def test_shows_logs_to_who_asks(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(hold=True))
        job = accepted(http)
        assert get(http, f"{job}/status").json()["logs"] is None
        assert [entry["level"] for entry in get(http, f"{job}/status", logs="1").json()["logs"]] == ["INFO"]

    def test_polls_an_app_with_a_subpath_where_its_response_url_says(self, http: httpx.Client) -> None:
        job = accepted(http, "fal-ai/flux/dev")
        assert job.startswith("/fal-ai/fal-ai/flux/requests/")
        assert get(http, job).status_code == 200
        assert get(http, job.replace("/flux/", "/flux/dev/")).status_code == 405

    def test_needs_the_subdomain_on_every_request(self, http: httpx.Client) -> None:
        job = accepted(http)
        assert http.get(f"{job}/status").status_code == 404

    def test_serves_nobody_with_a_hugging_face_token_at_the_response_url_itself(
        self, http: httpx.Client
    ) -> None:
        url = submit(http).json()["response_url"]
        assert http.get(url).status_code == 401
        assert http.get(url, headers={"Authorization": "Key id:secret"}).status_code == 200

    def test_holds_a_job_until_it_is_finished(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(hold=True, run_seconds=0))
        job = accepted(http)
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
    def test_cancels_a_waiting_or_running_job(
        self, router: RouterFake, http: httpx.Client, queue_seconds: float, answer: tuple[int, str]
    ) -> None:
        router.behave(Behavior(queue_seconds=queue_seconds, hold=True))
        job = accepted(http)
        cancelled = http.put(f"{job}/cancel", params={"_subdomain": "queue"})
        assert (cancelled.status_code, cancelled.json()["status"]) == answer
        status = get(http, f"{job}/status").json()
        assert (status["status"], status["error_type"]) == ("COMPLETED", "client_cancelled")
        assert get(http, job).status_code == 499
        assert router.submissions()[0]["cancelled"]

    def test_cancels_neither_a_completed_nor_an_unknown_job(self, http: httpx.Client) -> None:
        job = accepted(http)
        late = http.put(f"{job}/cancel", params={"_subdomain": "queue"})
        assert (late.status_code, late.json()) == (400, {"status": "ALREADY_COMPLETED"})
        unknown = http.put(f"{job}0/cancel", params={"_subdomain": "queue"})
        assert (unknown.status_code, unknown.json()) == (404, {"status": "NOT_FOUND"})

    def test_lets_a_runner_ignore_a_cancellation(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(hold=True, ignores_cancel=True))
        job = accepted(http)
        assert http.put(f"{job}/cancel", params={"_subdomain": "queue"}).status_code == 202
        assert get(http, f"{job}/status").json()["status"] == "IN_PROGRESS"
        router.finish()
        assert get(http, job).status_code == 200
        assert not router.submissions()[0]["cancelled"]

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
    def test_takes_invalid_input_and_refuses_it_in_the_result(
        self, http: httpx.Client, app: str, changed: dict[str, Any], place: list[Any], kind: str
    ) -> None:
        job = accepted(http, app, **changed)
        assert get(http, f"{job}/status").json()["status"] == "COMPLETED"
        result = get(http, job)
        assert result.status_code == 422
        error = result.json()["detail"][0]
        assert (error["loc"], error["type"]) == (place, kind)
        assert error["msg"]
        assert error["url"] == f"https://docs.fal.ai/errors/#{kind}"

    def test_knows_its_apps_and_jobs(self, http: httpx.Client) -> None:
        assert submit(http, "fal-ai/flux-nonsense").status_code == 404
        job = accepted(http)
        assert get(http, f"{job}0/status").status_code == 404
        assert get(http, job.replace("flux-lora", "flux")).status_code == 404

    @pytest.mark.parametrize("token", ["", "Bearer sk_wrong", "Key hf_right"])
    def test_refuses_a_wrong_token(self, router: RouterFake, http: httpx.Client, token: str) -> None:
        job = accepted(http)
        http.headers["Authorization"] = token
        for response in (submit(http), get(http, job), get(http, f"{job}/status")):
            assert response.status_code == 401
            assert response.json() == {"error": "Invalid username or password."}
        assert [each["answered"] for each in router.submissions()] == [200, 401]

    def test_can_be_told_the_right_tokens(self, router: RouterFake, http: httpx.Client) -> None:
        router.know_tokens("hf_other")
        assert submit(http).status_code == 401
        http.headers["Authorization"] = "Bearer hf_other"
        assert submit(http).status_code == 200


class TestSingleRequest:
    def test_of_fal_answers_with_the_result(self, http: httpx.Client) -> None:
        result = http.post(f"/fal-ai/{LORA}", json={**ASKED, "sync_mode": True})
        assert result.json()["seed"] == 7
        head, _, encoded = result.json()["images"][0]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        assert decoded(base64.b64decode(encoded)).size == (256, 320)

    def test_of_fal_refuses_invalid_input_at_once(self, http: httpx.Client) -> None:
        assert http.post(f"/fal-ai/{LORA}", json={}).status_code == 422

    def test_of_fal_can_lose_its_answer(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(
            Behavior(run_seconds=0, faults=(Fault(how="drop", accepted=True),)),
            Behavior(run_seconds=0, faults=(Fault(stage="result", status=500),)),
        )
        with pytest.raises(httpx.RemoteProtocolError):
            http.post(f"/fal-ai/{LORA}", json=ASKED)
        assert http.post(f"/fal-ai/{LORA}", json=ASKED).status_code == 500
        assert [each["accepted"] for each in router.submissions()] == [True, True]

    @pytest.mark.parametrize("path", ["/hf-inference/models/black-forest-labs/FLUX.1-dev", "/"])
    @pytest.mark.parametrize(("accept", "format"), [("image/png", "PNG"), ("*/*", "JPEG")])
    def test_of_hugging_face_answers_with_the_picture(
        self, http: httpx.Client, path: str, accept: str, format: str
    ) -> None:
        body = {"inputs": "a portrait", "parameters": {"width": 128, "height": 96, "seed": 1}}
        response = http.post(path, json=body, headers={"Accept": accept})
        assert response.headers["content-type"] == f"image/{format.lower()}"
        picture = decoded(response.content)
        assert (picture.format, picture.size) == (format, (128, 96))
        assert http.post(path, json=body, headers={"Accept": accept}).content == response.content

    def test_of_hugging_face_says_what_is_wrong(self, router: RouterFake, http: httpx.Client) -> None:
        path = "/hf-inference/models/black-forest-labs/FLUX.1-dev"
        assert http.post(path, json={"prompt": "x"}).status_code == 400
        assert http.post(path, json={"inputs": "x"}, headers={"Authorization": ""}).status_code == 401
        router.behave(Fault(status=503), Fault(stage="result", status=402))
        loading = http.post(path, json={"inputs": "x"})
        assert loading.status_code == 503
        assert loading.json()["error"] == "Model black-forest-labs/FLUX.1-dev is currently loading"
        assert loading.json()["estimated_time"] > 0
        assert "monthly included credits" in http.post(path, json={"inputs": "x"}).json()["error"]

    def test_ends_when_its_caller_goes(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(hold=True))
        with pytest.raises(httpx.ReadTimeout):
            http.post("/", json={"inputs": "x"}, timeout=SHORT)
        wait_until(lambda: router.submissions()[0]["cancelled"])


class TestPictures:
    def test_differ_with_everything_asked_for_and_with_nothing_else(self, http: httpx.Client) -> None:
        def pixels(app: str = LORA, **changed: Any) -> str:
            return hashlib.sha256(decoded(picture_of(http, app, **changed).content).tobytes()).hexdigest()

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

    def test_have_the_size_and_format_asked_for(self, http: httpx.Client) -> None:
        png = decoded(picture_of(http, image_size="portrait_4_3", output_format="png").content)
        assert (png.format, png.size) == ("PNG", (768, 1024))
        # Kontext keeps the shape of its reference, at a megapixel.
        kept = decoded(picture_of(http, KONTEXT, image_url=data_uri("red", (300, 200))).content)
        assert kept.size == (1248, 832)

    def test_come_with_a_seed_of_their_own_where_none_was_given(self, http: httpx.Client) -> None:
        results = [get(http, accepted(http, seed=None, num_images=2)).json() for _ in range(2)]
        assert results[0]["seed"] != results[1]["seed"]
        assert len(results[0]["images"]) == len(results[0]["has_nsfw_concepts"]) == 2

    def test_are_black_when_flagged(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(run_seconds=0, nsfw=True))
        result = get(http, accepted(http)).json()
        assert result["has_nsfw_concepts"] == [True]
        picture = decoded(httpx.get(result["images"][0]["url"], **PLAIN).content)
        assert picture.getextrema() == ((0, 0), (0, 0), (0, 0))

    def test_can_be_of_a_wrong_size(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(run_seconds=0, picture_width=64, picture_height=48))
        assert decoded(picture_of(http).content).size == (64, 48)

    def test_can_be_huge_in_the_file_or_in_memory(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(
            Behavior(run_seconds=0, picture_bytes=3_000_000),
            Behavior(run_seconds=0, picture_width=20_000, picture_height=20_000),
        )
        assert len(picture_of(http).content) == 3_000_000
        bomb = picture_of(http).content
        assert len(bomb) < 100_000
        with pytest.raises(Image.DecompressionBombError):
            Image.open(io.BytesIO(bomb))

    def test_can_be_said_to_be_elsewhere(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(run_seconds=0, image_url="file:///etc/passwd"))
        assert get(http, accepted(http)).json()["images"][0]["url"] == "file:///etc/passwd"


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "status", "headers", "body"),
        [
            (Fault(status=429, retry_after=7), 429, {"retry-after": "7"}, {"detail": "Too Many Requests"}),
            (Fault(status=200, body={"error": "busy"}), 200, {}, {"error": "busy"}),
            (
                Fault(error_type="runner_disconnected"),
                503,
                {"x-fal-error-type": "runner_disconnected"},
                {"detail": "Runner disconnected", "error_type": "runner_disconnected"},
            ),
            (
                Fault(error_type="internal_server_error", headers={"X-Fal-Retryable": "false"}),
                500,
                {"x-fal-retryable": "false"},
                None,
            ),
        ],
    )
    def test_answer_a_submission_otherwise(
        self,
        router: RouterFake,
        http: httpx.Client,
        fault: Fault,
        status: int,
        headers: dict[str, str],
        body: Any,
    ) -> None:
        router.behave(fault)
        response = submit(http)
        assert response.status_code == status
        assert headers.items() <= dict(response.headers).items()
        if body is not None:
            assert response.json() == body
        assert not router.submissions()[0]["accepted"]
        assert submit(http).json()["status"] == "IN_QUEUE"

    def test_say_when_to_come_back_as_a_date(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Fault(status=429, retry_after=60, retry_after_as_date=True))
        then = parsedate_to_datetime(submit(http).headers["retry-after"])
        assert timedelta(seconds=50) < then - datetime.now(UTC) <= timedelta(seconds=60)

    def test_answer_with_what_is_no_json(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(
            Fault(how="html", status=502), Fault(how="empty"), Fault(how="truncated", accepted=True)
        )
        page = submit(http)
        assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
        assert b"502 Bad Gateway" in page.content
        assert submit(http).content == b""
        broken = submit(http)
        assert broken.headers["content-type"] == "application/json"
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            broken.json()

    def test_lose_the_answer_to_a_job_that_runs(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(
            Fault(how="drop"),
            Behavior(run_seconds=0, faults=(Fault(how="drop", accepted=True),)),
            Behavior(run_seconds=0, faults=(Fault(status=504, accepted=True),)),
        )
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                submit(http)
        assert submit(http).status_code == 504
        lost = router.submissions()
        assert [each["accepted"] for each in lost] == [False, True, True]
        assert [each["answered"] for each in lost] == [None, None, 504]
        assert get(http, f"/fal-ai/fal-ai/flux-lora/requests/{lost[1]['request_id']}").status_code == 200

    @pytest.mark.parametrize("stage", ["status", "result", "image"])
    def test_keep_the_client_waiting(self, router: RouterFake, http: httpx.Client, stage: Any) -> None:
        router.behave(Behavior(run_seconds=0, faults=(Fault(stage=stage, how="hang", times=1),)))
        job = accepted(http)
        paths = {"status": f"{job}/status", "result": job, "image": f"/files/{job.rpartition('/')[2]}/0.jpeg"}
        with pytest.raises(httpx.ReadTimeout):
            http.get(paths[stage], params={"_subdomain": "queue"}, timeout=SHORT)
        assert get(http, paths[stage]).status_code == 200

    def test_end_the_connection(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Fault(how="drop"), Fault(how="reset"))
        with pytest.raises(httpx.RemoteProtocolError):
            submit(http)
        with pytest.raises(httpx.ReadError):
            submit(http)

    def test_break_off_a_picture(self, router: RouterFake, http: httpx.Client) -> None:
        faults = tuple(Fault(stage="image", how=how, times=1) for how in ("cut", "stall", "truncated"))
        router.behave(Behavior(run_seconds=0, faults=faults))
        url = get(http, accepted(http)).json()["images"][0]["url"]
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(url)
        with pytest.raises(httpx.ReadTimeout):
            http.get(url, timeout=SHORT)
        half = http.get(url)
        assert half.status_code == 200
        with pytest.raises(OSError, match="truncated"):
            decoded(half.content)
        assert decoded(http.get(url).content)

    def test_give_a_picture_slowly_or_without_end(self, router: RouterFake, http: httpx.Client) -> None:
        faults = tuple(Fault(stage="image", how=how, times=1) for how in ("trickle", "endless"))
        router.behave(Behavior(run_seconds=0, faults=faults))
        url = get(http, accepted(http)).json()["images"][0]["url"]
        with http.stream("GET", url) as slow:
            pieces = slow.iter_raw()
            assert (len(next(pieces)), len(next(pieces))) == (1, 1)
        with http.stream("GET", url) as endless:
            assert "content-length" not in endless.headers
            received = 0
            for piece in endless.iter_raw():
                received += len(piece)
                if received > 5_000_000:
                    break
        assert decoded(http.get(url).content)

    def test_report_what_the_runner_refused_or_lost(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(
            Behavior(run_seconds=0, faults=(Fault(stage="result", status=422),)),
            Behavior(run_seconds=0, faults=(Fault(stage="result", error_type="runner_server_error"),)),
        )
        refused = accepted(http)
        assert get(http, f"{refused}/status").json()["status"] == "COMPLETED"
        assert get(http, refused).status_code == 422
        assert get(http, refused).json()["detail"][0]["type"] == "content_policy_violation"
        assert get(http, accepted(http)).headers["x-fal-error-type"] == "runner_server_error"

    def test_withhold_a_picture(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(Behavior(run_seconds=0, faults=(Fault(stage="image", status=403),)))
        assert picture_of(http).status_code == 403

    def test_pass_after_so_many_polls(self, router: RouterFake, http: httpx.Client) -> None:
        faults = (Fault(stage="status", status=503, times=2), Fault(stage="status", status=404, times=1))
        router.behave(Behavior(run_seconds=0, faults=faults))
        job = accepted(http)
        polled = [get(http, f"{job}/status").status_code for _ in range(4)]
        assert polled == [503, 503, 404, 200]
        assert router.submissions()[0]["polls"] == 4

    def test_spoil_a_cancellation(self, router: RouterFake, http: httpx.Client) -> None:
        router.behave(
            *(
                Behavior(hold=True, faults=(Fault(stage="cancel", status=500, accepted=accepted),))
                for accepted in (False, True)
            )
        )
        for _ in range(2):
            job = accepted(http)
            assert http.put(f"{job}/cancel", params={"_subdomain": "queue"}).status_code == 500
        assert [each["cancelled"] for each in router.submissions()] == [False, True]

    def test_can_be_of_everything_at_once(self, router: RouterFake, http: httpx.Client) -> None:
        job = accepted(http)
        router.outage(Fault(status=503))
        assert submit(http).status_code == get(http, job).status_code == 503
        router.outage(None)
        assert get(http, job).status_code == 200
        assert (router.count, router.counters()["outage"]) == (1, 2)

    def test_are_refused_when_they_mean_nothing(self, router: RouterFake, http: httpx.Client) -> None:
        with pytest.raises(ValueError, match="no way to fail"):
            Fault(how="explode")  # type: ignore[arg-type]
        wrong: list[dict[str, Any]] = [
            {"next": [{"stage": "lunch"}]},
            {"next": [{"colour": 1}]},
            {"sometimes": {}},
        ]
        for said in wrong:
            assert http.post("/_control/behave", json=said).status_code == 400


class TestControl:
    def test_shows_submissions_as_they_came(self, router: RouterFake, http: httpx.Client) -> None:
        http.headers["X-Fal-No-Retry"] = "1"
        job = accepted(http)
        get(http, f"{job}/status")
        url = get(http, job).json()["images"][0]["url"]
        http.get(url)
        seen = router.submissions()[0]
        assert (seen["provider"], seen["model"]) == ("fal-ai", LORA)
        assert (seen["method"], seen["path"], seen["query"]) == (
            "POST",
            f"/fal-ai/{LORA}",
            "_subdomain=queue",
        )
        assert ["X-Fal-No-Retry", "1"] in seen["headers"]
        assert seen["body"] == ASKED
        assert job.endswith(seen["request_id"])
        assert (seen["polls"], seen["results_fetched"], seen["images_fetched"]) == (1, 1, 1)
        # The token went to the host of the pictures, where the real one would leak.
        assert ["Authorization", "Bearer hf_right"] in seen["image_headers"][0]
        assert router.count == 1

    def test_takes_behaviours_as_plain_json(self, http: httpx.Client) -> None:
        said: dict[str, Any] = {
            "next": [{"stage": "submit", "status": 429, "retry_after": 7}, {"nsfw": True, "run_seconds": 0}]
        }
        assert http.post("/_control/behave", json=said).status_code == 200
        assert submit(http).headers["retry-after"] == "7"
        assert get(http, accepted(http)).json()["has_nsfw_concepts"] == [True]

    def test_forgets_everything_when_reset(self, router: RouterFake, http: httpx.Client) -> None:
        job = accepted(http)
        router.behave(Fault(status=500))
        router.reset()
        assert router.submissions() == []
        assert get(http, job).status_code == 404
        assert submit(http).status_code == 200


class TestProcess:
    def test_can_be_killed_and_knows_no_job_afterwards(self, router: RouterFake, http: httpx.Client) -> None:
        job = accepted(http)
        router.kill()
        with pytest.raises(httpx.TransportError):
            get(http, job)
        with pytest.raises(httpx.ConnectError):
            get(http, job)
        router.restart()
        assert get(http, job).status_code == 404

    def test_says_first_where_it_is(self, tmp_path: Path) -> None:
        process = GuardedProcess(
            [sys.executable, "-m", "tests.support.huggingface_router", "--port", "0"],
            log=tmp_path / "log",
            directory=Path(__file__).parents[2],
        )
        try:
            wait_until(lambda: "\n" in process.output())
            url = process.output().splitlines()[0]
            assert httpx.get(f"{url}/_control/submissions", **PLAIN).status_code == 200
            assert process.terminate() == 0
        finally:
            process.close()


def test_nobody_connects_to_an_unanswering_address() -> None:
    with unanswering_address() as url, pytest.raises(httpx.ConnectTimeout):
        httpx.get(url, timeout=httpx.Timeout(10.0, connect=0.1), **PLAIN)
