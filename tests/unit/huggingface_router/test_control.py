"""The control routes and the process of the fake."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.guarded_process import GuardedProcess
from tests.support.huggingface_router import Fault, RouterFake, unanswering_address
from tests.support.waiting import wait_until
from tests.unit.huggingface_router.requests import (
    INPUT,
    LORA,
    PLAIN,
    get,
    submit,
    submit_job,
)


def test_submissions_are_listed_as_received(router: RouterFake, http: httpx.Client) -> None:
    http.headers["X-Fal-No-Retry"] = "1"
    job = submit_job(http)
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
    assert seen["body"] == INPUT
    assert job.endswith(seen["request_id"])
    assert (seen["polls"], seen["results_fetched"], seen["images_fetched"]) == (1, 1, 1)
    # This client sent the token to the host of the pictures, where a real token would leak.
    assert ["Authorization", "Bearer hf_valid"] in seen["image_headers"][0]
    assert router.count == 1


def test_behaviors_can_be_sent_as_json(http: httpx.Client) -> None:
    body: dict[str, Any] = {
        "next": [{"stage": "submit", "status": 429, "retry_after": 7}, {"nsfw": True, "run_seconds": 0}]
    }
    assert http.post("/_control/behave", json=body).status_code == 200
    assert submit(http).headers["retry-after"] == "7"
    assert get(http, submit_job(http)).json()["has_nsfw_concepts"] == [True]


def test_a_reset_removes_everything(router: RouterFake, http: httpx.Client) -> None:
    job = submit_job(http)
    router.behave(Fault(status=500))
    router.reset()
    assert router.submissions() == []
    assert get(http, job).status_code == 404
    assert submit(http).status_code == 200


def test_the_fake_can_be_killed_and_loses_its_jobs(router: RouterFake, http: httpx.Client) -> None:
    job = submit_job(http)
    router.kill()
    with pytest.raises(httpx.TransportError):
        get(http, job)
    with pytest.raises(httpx.ConnectError):
        get(http, job)
    router.restart()
    assert get(http, job).status_code == 404


def test_the_first_line_of_output_is_the_address(tmp_path: Path) -> None:
    process = GuardedProcess(
        [sys.executable, "-m", "tests.support.huggingface_router", "--port", "0"],
        log=tmp_path / "log",
        directory=Path(__file__).parents[3],
    )
    try:
        wait_until(lambda: "\n" in process.output())
        url = process.output().splitlines()[0]
        assert httpx.get(f"{url}/_control/submissions", **PLAIN).status_code == 200
        assert process.terminate() == 0
    finally:
        process.close()


def test_connecting_to_an_unanswering_address_times_out() -> None:
    with unanswering_address() as url, pytest.raises(httpx.ConnectTimeout):
        httpx.get(url, timeout=httpx.Timeout(10.0, connect=0.1), **PLAIN)
