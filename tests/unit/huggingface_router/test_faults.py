"""The faults of the fake, as a client sees them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.unit.huggingface_router.requests import (
    SHORT,
    decode,
    fetch_picture,
    get,
    submit,
    submit_job,
)


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
def test_a_fault_replaces_the_answer_to_a_submission(
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


def test_retry_after_can_be_a_date(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Fault(status=429, retry_after=60, retry_after_as_date=True))
    then = parsedate_to_datetime(submit(http).headers["retry-after"])
    assert timedelta(seconds=50) < then - datetime.now(UTC) <= timedelta(seconds=60)


def test_an_answer_can_be_invalid_json(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Fault(how="html", status=502), Fault(how="empty"), Fault(how="truncated", accepted=True))
    page = submit(http)
    assert (page.status_code, page.headers["content-type"]) == (502, "text/html")
    assert b"502 Bad Gateway" in page.content
    assert submit(http).content == b""
    broken = submit(http)
    assert broken.headers["content-type"] == "application/json"
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        broken.json()


def test_the_answer_to_a_running_job_can_be_lost(router: RouterFake, http: httpx.Client) -> None:
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
def test_an_answer_can_hang(router: RouterFake, http: httpx.Client, stage: Any) -> None:
    router.behave(Behavior(run_seconds=0, faults=(Fault(stage=stage, how="hang", times=1),)))
    job = submit_job(http)
    paths = {"status": f"{job}/status", "result": job, "image": f"/files/{job.rpartition('/')[2]}/0.jpeg"}
    with pytest.raises(httpx.ReadTimeout):
        http.get(paths[stage], params={"_subdomain": "queue"}, timeout=SHORT)
    assert get(http, paths[stage]).status_code == 200


def test_a_connection_can_be_closed_or_reset(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Fault(how="drop"), Fault(how="reset"))
    with pytest.raises(httpx.RemoteProtocolError):
        submit(http)
    with pytest.raises(httpx.ReadError):
        submit(http)


def test_a_picture_can_end_too_early(router: RouterFake, http: httpx.Client) -> None:
    faults = tuple(Fault(stage="image", how=how, times=1) for how in ("cut", "stall", "truncated"))
    router.behave(Behavior(run_seconds=0, faults=faults))
    url = get(http, submit_job(http)).json()["images"][0]["url"]
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(url)
    with pytest.raises(httpx.ReadTimeout):
        http.get(url, timeout=SHORT)
    half = http.get(url)
    assert half.status_code == 200
    with pytest.raises(OSError, match="truncated"):
        decode(half.content)
    assert decode(http.get(url).content)


def test_a_picture_can_be_slow_or_endless(router: RouterFake, http: httpx.Client) -> None:
    faults = tuple(Fault(stage="image", how=how, times=1) for how in ("trickle", "endless"))
    router.behave(Behavior(run_seconds=0, faults=faults))
    url = get(http, submit_job(http)).json()["images"][0]["url"]
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
    assert decode(http.get(url).content)


def test_a_result_can_be_an_error_of_the_runner(router: RouterFake, http: httpx.Client) -> None:
    router.behave(
        Behavior(run_seconds=0, faults=(Fault(stage="result", status=422),)),
        Behavior(run_seconds=0, faults=(Fault(stage="result", error_type="runner_server_error"),)),
    )
    refused = submit_job(http)
    assert get(http, f"{refused}/status").json()["status"] == "COMPLETED"
    assert get(http, refused).status_code == 422
    assert get(http, refused).json()["detail"][0]["type"] == "content_policy_violation"
    assert get(http, submit_job(http)).headers["x-fal-error-type"] == "runner_server_error"


def test_a_picture_can_be_refused(router: RouterFake, http: httpx.Client) -> None:
    router.behave(Behavior(run_seconds=0, faults=(Fault(stage="image", status=403),)))
    assert fetch_picture(http).status_code == 403


def test_a_fault_can_end_after_some_polls(router: RouterFake, http: httpx.Client) -> None:
    faults = (Fault(stage="status", status=503, times=2), Fault(stage="status", status=404, times=1))
    router.behave(Behavior(run_seconds=0, faults=faults))
    job = submit_job(http)
    polled = [get(http, f"{job}/status").status_code for _ in range(4)]
    assert polled == [503, 503, 404, 200]
    assert router.submissions()[0]["polls"] == 4


def test_a_cancellation_can_fail(router: RouterFake, http: httpx.Client) -> None:
    router.behave(
        *(
            Behavior(hold=True, faults=(Fault(stage="cancel", status=500, accepted=accepted),))
            for accepted in (False, True)
        )
    )
    for _ in range(2):
        job = submit_job(http)
        assert http.put(f"{job}/cancel", params={"_subdomain": "queue"}).status_code == 500
    assert [each["cancelled"] for each in router.submissions()] == [False, True]


def test_an_outage_affects_all_requests(router: RouterFake, http: httpx.Client) -> None:
    job = submit_job(http)
    router.outage(Fault(status=503))
    assert submit(http).status_code == get(http, job).status_code == 503
    router.outage(None)
    assert get(http, job).status_code == 200
    assert (router.count, router.counters()["outage"]) == (1, 2)


def test_unknown_faults_are_refused(router: RouterFake, http: httpx.Client) -> None:
    with pytest.raises(ValueError, match="unknown failure"):
        Fault(how="explode")  # type: ignore[arg-type]
    wrong: list[dict[str, Any]] = [
        {"next": [{"stage": "lunch"}]},
        {"next": [{"color": 1}]},
        {"sometimes": {}},
    ]
    for body in wrong:
        assert http.post("/_control/behave", json=body).status_code == 400
