"""fal's queue and its single requests, reached through the router.

The router forwards `/fal-ai/{path}?_subdomain=queue` to queue.fal.run and `/fal-ai/{path}` to fal.run, so
every request needs the query. The paths of status and result come from `response_url`, because they differ
from the path of the submission: `fal-ai/flux/dev` is polled at `fal-ai/flux`. Sources:
https://github.com/huggingface/huggingface.js/blob/main/packages/inference/src/providers/fal-ai.ts and
https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/inference/_providers/fal_ai.py.

Sources for the queue itself: https://fal.ai/docs/documentation/model-apis/inference/queue;
https://fal.ai/docs/api-reference/inference-api (a status is 202 until it is COMPLETED, then 200);
https://fal.ai/docs/inference-api/queue/cancel (200 OK for a queued request, 202 CANCELLATION_REQUESTED for a
running one, ALREADY_COMPLETED, NOT_FOUND); fal_client in https://github.com/fal-ai/fal.

The queue accepts every body. The app refuses an invalid one when it runs: the status is COMPLETED and the
result is the 422 (https://github.com/TanStack/ai/pull/396). A result has its price in x-fal-billable-units:
each picture counts as whole megapixels, rounded up (https://fal.ai/models/fal-ai/flux/dev), of 1024 x 1024
pixels (https://github.com/veniceai/api-docs/pull/241).

The router resolves the app by the path. An app without a mapping is 400 `{"error": "Model not supported by
provider fal-ai"}`, as users report of several providers; `mapped_apps` of the plan chooses the mapped ones.

fal keeps a result for 30 days. If the submission has `X-Fal-Store-IO: 0`, fal keeps the result for one hour
after the request completed, and for six minutes if it has 10 KB or more
(https://fal.ai/docs/inference-api/queue/result). `X-Fal-Object-Lifecycle-Preference` with
`expiration_duration_seconds` limits the time for which the files of pictures are kept; fal then deletes them
(https://fal.ai/docs/documentation/model-apis/media-expiration).

No document says the following, so this fake defines it: the result of a cancelled job; the texts of 404 and
400; 404 for an expired result and an expired file, and the unchanged status of such a request; 400 for a
lifetime that is not valid; that the router forwards fal's headers, and that a 404 of fal itself has
x-fal-request-id. No client of Hugging Face sends PUT through the router, so it may not forward PUT:
`RouterPlan.put` defines how it then refuses.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.support.hosted_fake.answers import Answer, page, send, with_fault
from tests.support.hosted_fake.behavior import Fault
from tests.support.hosted_fake.submissions import Submissions, headers_as_received
from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.access import is_allowed, refusal
from tests.support.huggingface_router.fal_apps import APPS, InvalidInput, prepare
from tests.support.huggingface_router.fal_submission import FalSubmission
from tests.support.huggingface_router.router_plan import PutRefusal, RouterPlan

_ROUTER = "/fal-ai"
_ROUTER_APPS = f"{_ROUTER}/fal-ai/"
_REQUEST_ID = "x-fal-request-id"
_KEPT_WITH_PAYLOAD = 30 * 24 * 3600.0
_KEPT = 3600.0
_KEPT_IF_LARGE = 360.0
"""Seconds for which fal keeps a result after its completion."""
_LARGE_RESULT_BYTES = 10_000


class FalQueue:
    """Routes of the provider fal-ai."""

    def __init__(self, plan: RouterPlan, submissions: Submissions) -> None:
        """Create the routes for this plan and these submissions."""
        self._plan = plan
        self._submissions = submissions

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to an application."""
        # The first base is the router's. The second one is queue.fal.run itself, to which `response_url`
        # points: it answers 401 to a Hugging Face token.
        for base in (f"{_ROUTER}/{{app:fal-ai/.+}}", "/{app:fal-ai/.+}"):
            app.router.add_get(f"{base}/requests/{{request_id}}/status", self._status)
            app.router.add_get(f"{base}/requests/{{request_id}}", self._result)
            app.router.add_put(f"{base}/requests/{{request_id}}/cancel", self._cancel)
        app.router.add_post(f"{_ROUTER}/{{app:.+}}", self._submit)
        app.router.add_get(r"/files/{request_id}/{number:\d+}.{extension:jpeg|png}", self._picture)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["submit"] += 1
        app = request.match_info["app"]
        submission = await FalSubmission.receive(request, "fal-ai", app, self._plan.take())
        self._submissions.add(submission)
        fault = submission.fault("submit")
        answer: Answer | None = None
        if fault is None or fault.accepted:
            if not is_allowed(request, self._plan):
                self._submissions.requests["unauthorized"] += 1
                answer = refusal()
            elif self._plan.mapped_apps is not None and app not in self._plan.mapped_apps:
                answer = Answer.of(400, {"error": "Model not supported by provider fal-ai"})
            elif _lifetime(submission) is None:
                answer = Answer.of(400, {"detail": "Invalid X-Fal-Object-Lifecycle-Preference"})
            elif app not in APPS:
                answer = Answer.of(404, {"detail": f"Application '{app}' not found"})
            elif _is_for_queue(request):
                await _accept(submission)
                answer = _receipt(request, submission)
            else:
                answer = await self._run_at_once(request, submission)
                fault = fault or submission.fault("result")
        return await submission.answer(request, with_fault(answer, fault, _documented), fault)

    async def _run_at_once(self, request: web.Request, submission: FalSubmission) -> Answer:
        await _accept(submission)
        try:
            await submission.completed()
        except asyncio.CancelledError:
            # The caller has disconnected, which ends a single request.
            submission.cancelled = True
            submission.finish()
            raise
        submission.results_fetched += 1
        return await _result(request, submission)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["status"] += 1
        found = self._find(request, {"detail": "Request not found"})
        if isinstance(found, Answer):
            return await send(request, found, None)
        found.polls += 1
        fault = found.fault("status")
        return await send(request, _with_fault(_status(request, found), fault, found), fault)

    async def _result(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["result"] += 1
        found = self._find(request, {"detail": "Request not found"})
        if isinstance(found, Answer):
            return await send(request, found, None)
        if found.status() != "COMPLETED":
            early = {"detail": "Request is still in progress"}
            return await send(request, Answer.of(400, early, _request_id_header(found)), None)
        answer = await _result(request, found)
        if not _is_kept(found, answer):
            gone = Answer.of(404, {"detail": "Request not found"}, _request_id_header(found))
            return await send(request, gone, None)
        found.results_fetched += 1
        fault = found.fault("result")
        return await send(request, _with_fault(answer, fault, found), fault)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["cancel"] += 1
        if self._plan.put is not None and request.path.startswith(_ROUTER_APPS):
            return await send(request, _refused_put(self._plan.put), None)
        found = self._find(request, {"status": "NOT_FOUND"})
        if isinstance(found, Answer):
            return await send(request, found, None)
        found.cancel_requests += 1
        fault = found.fault("cancel")
        answer = _cancel(found) if fault is None or fault.accepted else None
        return await send(request, _with_fault(answer, fault, found), fault)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["image"] += 1
        submission = self._submissions.find(request.match_info["request_id"])
        if (
            not isinstance(submission, FalSubmission)
            or submission.job is None
            or not _is_file_kept(submission)
        ):
            return await send(request, Answer.of(404, "Not Found"), None)
        submission.images_fetched += 1
        submission.image_headers.append(headers_as_received(request))
        number = int(request.match_info["number"])
        file = await asyncio.to_thread(submission.job.picture, number)
        content = file.content.ljust(submission.behavior.picture_bytes or 0, b"\0")
        fault = submission.fault("image")
        answer = Answer(200, content, file.content_type)
        return await send(request, with_fault(answer, fault, _documented_by_cdn), fault)

    def _find(self, request: web.Request, unknown: dict[str, str]) -> FalSubmission | Answer:
        """Return the submission that the path names, or the answer that refuses access to it."""
        if request.path.startswith(_ROUTER_APPS):
            if not is_allowed(request, self._plan):
                self._submissions.requests["unauthorized"] += 1
                return refusal()
            if not _is_for_queue(request):
                return Answer.of(404, {"detail": "Not Found"})
        elif not request.headers.get("Authorization", "").startswith("Key "):
            self._submissions.requests["unauthorized"] += 1
            return Answer.of(401, {"detail": "No user found for Key ID and Secret"})
        submission = self._submissions.find(request.match_info["request_id"])
        app = request.match_info["app"]
        if not isinstance(submission, FalSubmission) or _app_in_addresses(submission) != app:
            self._submissions.requests["unknown"] += 1
            if _without_subpath(app) != app:
                return Answer.of(405, {"detail": "Method Not Allowed"})
            return Answer.of(404, unknown, {_REQUEST_ID: request.match_info["request_id"]})
        return submission


async def _accept(submission: FalSubmission) -> None:
    submission.accepted = True
    try:
        submission.job = await asyncio.to_thread(
            prepare, submission.model, submission.content, submission.behavior
        )
        submission.unknown_inputs = submission.job.unknown_inputs
    except InvalidInput as error:
        submission.refusal = (422, {"X-Fal-Retryable": "false"}, {"detail": error.detail})


def _receipt(request: web.Request, submission: FalSubmission) -> Answer:
    receipt: dict[str, Any] = {
        "status": "IN_QUEUE",
        **_addresses(request, submission),
        "logs": None,
        "metrics": {},
        "queue_position": submission.queue_position(),
    }
    return Answer.of(200, receipt, _request_id_header(submission))


def _status(request: web.Request, submission: FalSubmission) -> Answer:
    status = submission.status()
    body: dict[str, Any] = {"status": status, **_addresses(request, submission)}
    if status == "IN_QUEUE":
        return Answer.of(
            202, body | {"queue_position": submission.queue_position()}, _request_id_header(submission)
        )
    body["logs"] = _logs(submission) if request.query.get("logs", "0").lower() in ("1", "true") else None
    if status == "IN_PROGRESS":
        return Answer.of(202, body, _request_id_header(submission))
    body["metrics"] = {"inference_time": submission.inference_seconds()}
    if submission.failure is not None and "error_type" in submission.failure[2]:
        error = submission.failure[2]
        body |= {"error": error["detail"], "error_type": error["error_type"]}
    return Answer.of(200, body, _request_id_header(submission))


async def _result(request: web.Request, submission: FalSubmission) -> Answer:
    if submission.failure is not None:
        status, headers, body = submission.failure
        return Answer.of(status, body, headers | _request_id_header(submission))
    job = submission.job
    assert job is not None
    images = []
    for number in range(job.input.number_of_pictures):
        if submission.behavior.image_url is not None:
            url = submission.behavior.image_url
        elif job.input.sync_mode:
            file = await asyncio.to_thread(job.picture, number)
            url = f"data:{file.content_type};base64,{base64.b64encode(file.content).decode()}"
        else:
            url = f"{_origin(request)}/files/{submission.request_id}/{number}.{job.input.output_format}"
        images.append(
            {"url": url, "width": job.width, "height": job.height, "content_type": job.content_type}
        )
    result: dict[str, Any] = {
        "images": images,
        "timings": {"inference": submission.inference_seconds()},
        "seed": job.seed,
        "prompt": job.input.prompt,
    }
    if job.says_nsfw:
        result["has_nsfw_concepts"] = [job.nsfw] * len(images)
    units = {"x-fal-billable-units": str(job.billable_units)}
    return Answer.of(200, result, _request_id_header(submission) | units)


def _cancel(submission: FalSubmission) -> Answer:
    status = submission.status()
    if status == "COMPLETED":
        return Answer.of(400, {"status": "ALREADY_COMPLETED"}, _request_id_header(submission))
    if status == "IN_QUEUE":
        submission.cancel()
        return Answer.of(200, {"status": "OK"}, _request_id_header(submission))
    if not submission.behavior.ignores_cancel:
        submission.request_stop()
    return Answer.of(202, {"status": "CANCELLATION_REQUESTED"}, _request_id_header(submission))


def _refused_put(how: PutRefusal) -> Answer:
    match how:
        case "html":
            return page(404)
        case "json":
            return Answer.of(404, {"error": "Not Found"})
        case "405":
            return Answer.of(405, "Method Not Allowed", {"Allow": "GET, POST"})
        case "401":
            return page(401)


def _lifetime(submission: FalSubmission) -> float | None:
    """Return the requested lifetime of files in seconds; None if it is not valid."""
    text = submission.header("x-fal-object-lifecycle-preference")
    if not text:
        return math.inf
    try:
        seconds = json.loads(text)["expiration_duration_seconds"]
    except (ValueError, TypeError, KeyError):
        return None
    if seconds is None:
        return math.inf
    return seconds if type(seconds) is int and seconds > 0 else None


def _is_file_kept(submission: FalSubmission) -> bool:
    lifetime = _lifetime(submission)
    return lifetime is not None and submission.seconds_since_completion() < lifetime


def _is_kept(submission: FalSubmission, result: Answer) -> bool:
    """Return whether fal still has this result."""
    if submission.header("x-fal-store-io") != "0":
        kept_for = _KEPT_WITH_PAYLOAD
    else:
        kept_for = _KEPT_IF_LARGE if len(result.body) >= _LARGE_RESULT_BYTES else _KEPT
    return submission.seconds_since_completion() < kept_for


def _with_fault(answer: Answer | None, fault: Fault | None, submission: FalSubmission) -> Answer:
    """Return an answer about an accepted request after a fault. fal's own errors name the request."""
    answer = with_fault(answer, fault, _documented)
    if fault is None or fault.made_by == "proxy" or _is_of_router(fault):
        return answer
    return replace(answer, headers=_request_id_header(submission) | answer.headers)


def _is_of_router(fault: Fault) -> bool:
    return fault.status in (401, 402, 403) and fault.error_type is None


def _documented(fault: Fault) -> Answer:
    if fault.made_by == "proxy" or _is_of_router(fault):
        status = fault.status or 502
        if fault.made_by == "proxy":
            return Answer.of(status, {"error": documented_errors.phrase(status)})
        return Answer.of(status, documented_errors.hugging_face_error(status))
    status, headers, body = documented_errors.fal_error(fault.status, fault.error_type)
    return Answer.of(status, body, headers)


def _documented_by_cdn(fault: Fault) -> Answer:
    status = fault.status or 500
    return Answer.of(status, documented_errors.phrase(status))


def _logs(submission: FalSubmission) -> list[dict[str, str]]:
    began = submission.received_at + submission.behavior.queue_seconds
    return [
        {
            "timestamp": datetime.fromtimestamp(began, UTC).isoformat(),
            "level": "INFO",
            "source": "USER",
            "message": "Generating the image",
        }
    ]


def _addresses(request: web.Request, submission: FalSubmission) -> dict[str, str]:
    app = _app_in_addresses(submission)
    url = f"{_origin(request)}/{app}/requests/{submission.request_id}"
    return {
        "request_id": submission.request_id,
        "response_url": url,
        "status_url": f"{url}/status",
        "cancel_url": f"{url}/cancel",
    }


def _request_id_header(submission: FalSubmission) -> dict[str, str]:
    return {_REQUEST_ID: submission.request_id}


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _is_for_queue(request: web.Request) -> bool:
    return "queue" in request.query.getall("_subdomain", [])


def _without_subpath(app: str) -> str:
    return "/".join(app.split("/")[:2])


def _app_in_addresses(submission: FalSubmission) -> str:
    return submission.behavior.address_path or _without_subpath(submission.model)
