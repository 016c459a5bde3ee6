"""fal's queue and its single requests, as the router forwards them.

The router forwards `/fal-ai/{path}?_subdomain=queue` to queue.fal.run and `/fal-ai/{path}` to fal.run, so the
query must be kept on every request. The paths of status and result come from `response_url`, since they are
not those of the submission: `fal-ai/flux/dev` is polled at `fal-ai/flux`. Sources:
https://github.com/huggingface/huggingface.js/blob/main/packages/inference/src/providers/fal-ai.ts and
https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/inference/_providers/fal_ai.py.

The queue itself: https://fal.ai/docs/documentation/model-apis/inference/queue;
https://fal.ai/docs/api-reference/inference-api (a status is 202 until it is COMPLETED, then 200);
https://fal.ai/docs/inference-api/queue/cancel (200 OK out of the queue, 202 CANCELLATION_REQUESTED when it
runs, ALREADY_COMPLETED, NOT_FOUND); fal_client in https://github.com/fal-ai/fal. It takes any body: the app
refuses it when it runs, the status says COMPLETED as ever, and the result is the 422
(https://github.com/TanStack/ai/pull/396). Results say in x-fal-billable-units what they cost: every picture
is rounded up to whole megapixels (https://fal.ai/models/fal-ai/flux/dev) of 1024 x 1024 pixels
(https://github.com/veniceai/api-docs/pull/241).

Not documented, so decided here: that the router forwards PUT, what the result of a cancelled job is, and the
texts of 404 and 400.
"""

from __future__ import annotations

import asyncio
import base64
import math
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.access import is_allowed, refusal
from tests.support.huggingface_router.answers import Answer, give, spoiled
from tests.support.huggingface_router.behaviour import Fault, Plan
from tests.support.huggingface_router.fal_apps import APPS, InvalidInput, prepare
from tests.support.huggingface_router.submissions import (
    Submission,
    Submissions,
    headers_as_received,
)

_MEGAPIXEL = 1024 * 1024
_ROUTER = "/fal-ai"


class FalQueue:
    """The routes of the provider fal-ai."""

    def __init__(self, plan: Plan, submissions: Submissions) -> None:
        """Serve by this plan."""
        self._plan = plan
        self._submissions = submissions

    def add_routes(self, app: web.Application) -> None:
        """Add them."""
        # The first base is the router's, the second queue.fal.run's own, where `response_url` leads whoever
        # follows it as it stands: with a token of Hugging Face's that is 401 there.
        for base in (f"{_ROUTER}/{{owner:fal-ai}}/{{alias}}", "/{owner:fal-ai}/{alias}"):
            app.router.add_get(f"{base}/requests/{{request_id}}/status", self._status)
            app.router.add_get(f"{base}/requests/{{request_id}}", self._result)
            app.router.add_put(f"{base}/requests/{{request_id}}/cancel", self._cancel)
        app.router.add_post(f"{_ROUTER}/{{app:.+}}", self._submit)
        app.router.add_get(r"/files/{request_id}/{number:\d+}.{extension:jpeg|png}", self._picture)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["submit"] += 1
        app = request.match_info["app"]
        submission = await Submission.receive(request, "fal-ai", app, self._plan.take())
        self._submissions.add(submission)
        fault = submission.fault("submit")
        answer: Answer | None = None
        if fault is None or fault.accepted:
            if not is_allowed(request, self._plan):
                self._submissions.requests["unauthorized"] += 1
                answer = refusal()
            elif app not in APPS:
                answer = Answer.of(404, {"detail": f"Application '{app}' not found"})
            elif _is_for_queue(request):
                await _accept(submission)
                answer = _receipt(request, submission)
            else:
                answer = await self._run_at_once(request, submission)
                fault = fault or submission.fault("result")
        return await submission.answer(request, spoiled(answer, fault, _documented), fault)

    async def _run_at_once(self, request: web.Request, submission: Submission) -> Answer:
        await _accept(submission)
        try:
            await submission.completed()
        except asyncio.CancelledError:
            # The caller has gone, which ends a single request.
            submission.cancelled = True
            submission.finish()
            raise
        submission.results_fetched += 1
        return await _result(request, submission)

    async def _status(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["status"] += 1
        found = self._find(request, {"detail": "Request not found"})
        if isinstance(found, Answer):
            return await give(request, found, None)
        found.polls += 1
        fault = found.fault("status")
        return await give(request, spoiled(_status(request, found), fault, _documented), fault)

    async def _result(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["result"] += 1
        found = self._find(request, {"detail": "Request not found"})
        if isinstance(found, Answer):
            return await give(request, found, None)
        if found.status() != "COMPLETED":
            early = {"detail": "Request is still in progress"}
            return await give(request, Answer.of(400, early, _names(found)), None)
        found.results_fetched += 1
        fault = found.fault("result")
        return await give(request, spoiled(await _result(request, found), fault, _documented), fault)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["cancel"] += 1
        found = self._find(request, {"status": "NOT_FOUND"})
        if isinstance(found, Answer):
            return await give(request, found, None)
        found.cancel_requests += 1
        fault = found.fault("cancel")
        answer = _cancel(found) if fault is None or fault.accepted else None
        return await give(request, spoiled(answer, fault, _documented), fault)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["image"] += 1
        submission = self._submissions.find(request.match_info["request_id"])
        if submission is None or submission.made is None:
            return await give(request, Answer.of(404, "Not Found"), None)
        submission.images_fetched += 1
        submission.image_headers.append(headers_as_received(request))
        number = int(request.match_info["number"])
        file = await asyncio.to_thread(submission.made.picture, number)
        content = file.content.ljust(submission.behaviour.picture_bytes or 0, b"\0")
        fault = submission.fault("image")
        answer = Answer(200, content, file.content_type)
        return await give(request, spoiled(answer, fault, _documented_by_cdn), fault)

    def _find(self, request: web.Request, unknown: dict[str, str]) -> Submission | Answer:
        """The submission that the path names, or why it is not shown."""
        if request.path.startswith(f"{_ROUTER}/fal-ai/"):
            if not is_allowed(request, self._plan):
                self._submissions.requests["unauthorized"] += 1
                return refusal()
            if not _is_for_queue(request):
                return Answer.of(404, {"detail": "Not Found"})
        elif not request.headers.get("Authorization", "").startswith("Key "):
            self._submissions.requests["unauthorized"] += 1
            return Answer.of(401, {"detail": "No user found for Key ID and Secret"})
        submission = self._submissions.find(request.match_info["request_id"])
        if submission is None or _without_subpath(submission.model) != _app_in_path(request):
            self._submissions.requests["unknown"] += 1
            return Answer.of(404, unknown)
        return submission


async def _accept(submission: Submission) -> None:
    submission.accepted = True
    try:
        submission.made = await asyncio.to_thread(
            prepare, submission.model, submission.content, submission.behaviour
        )
    except InvalidInput as error:
        submission.failure = (422, {"X-Fal-Retryable": "false"}, {"detail": error.detail})


def _receipt(request: web.Request, submission: Submission) -> Answer:
    said: dict[str, Any] = {
        "status": "IN_QUEUE",
        **_places(request, submission),
        "logs": None,
        "metrics": {},
        "queue_position": submission.queue_position(),
    }
    return Answer.of(200, said, _names(submission))


def _status(request: web.Request, submission: Submission) -> Answer:
    status = submission.status()
    said: dict[str, Any] = {"status": status, **_places(request, submission)}
    if status == "IN_QUEUE":
        return Answer.of(202, said | {"queue_position": submission.queue_position()}, _names(submission))
    said["logs"] = _logs(submission) if request.query.get("logs", "0").lower() in ("1", "true") else None
    if status == "IN_PROGRESS":
        return Answer.of(202, said, _names(submission))
    said["metrics"] = {"inference_time": submission.inference_seconds()}
    if submission.failure is not None and "error_type" in submission.failure[2]:
        body = submission.failure[2]
        said |= {"error": body["detail"], "error_type": body["error_type"]}
    return Answer.of(200, said, _names(submission))


async def _result(request: web.Request, submission: Submission) -> Answer:
    if submission.failure is not None:
        status, headers, body = submission.failure
        return Answer.of(status, body, headers | _names(submission))
    made = submission.made
    assert made is not None
    images = []
    for number in range(made.input.num_images):
        if submission.behaviour.image_url is not None:
            url = submission.behaviour.image_url
        elif made.input.sync_mode:
            file = await asyncio.to_thread(made.picture, number)
            url = f"data:{file.content_type};base64,{base64.b64encode(file.content).decode()}"
        else:
            url = f"{_origin(request)}/files/{submission.request_id}/{number}.{made.input.output_format}"
        images.append(
            {"url": url, "width": made.width, "height": made.height, "content_type": made.content_type}
        )
    said = {
        "images": images,
        "timings": {"inference": submission.inference_seconds()},
        "seed": made.seed,
        "has_nsfw_concepts": [made.nsfw] * len(images),
        "prompt": made.input.prompt,
    }
    units = len(images) * math.ceil(made.width * made.height / _MEGAPIXEL)
    return Answer.of(200, said, _names(submission) | {"x-fal-billable-units": str(units)})


def _cancel(submission: Submission) -> Answer:
    status = submission.status()
    if status == "COMPLETED":
        return Answer.of(400, {"status": "ALREADY_COMPLETED"}, _names(submission))
    if status == "IN_QUEUE" or not submission.behaviour.ignores_cancel:
        submission.cancelled = True
        submission.failure = documented_errors.fal_error(None, "client_cancelled")
        submission.finish()
    if status == "IN_QUEUE":
        return Answer.of(200, {"status": "OK"}, _names(submission))
    return Answer.of(202, {"status": "CANCELLATION_REQUESTED"}, _names(submission))


def _documented(fault: Fault) -> Answer:
    if fault.status in (401, 402, 403) and fault.error_type is None:
        # These are the router's own.
        return Answer.of(fault.status, documented_errors.hugging_face_error(fault.status))
    status, headers, body = documented_errors.fal_error(fault.status, fault.error_type)
    return Answer.of(status, body, headers)


def _documented_by_cdn(fault: Fault) -> Answer:
    status = fault.status or 500
    return Answer.of(status, documented_errors.phrase(status))


def _logs(submission: Submission) -> list[dict[str, str]]:
    began = submission.received_at + submission.behaviour.queue_seconds
    return [
        {
            "timestamp": datetime.fromtimestamp(began, UTC).isoformat(),
            "level": "INFO",
            "source": "USER",
            "message": "Generating the image",
        }
    ]


def _places(request: web.Request, submission: Submission) -> dict[str, str]:
    app = _without_subpath(submission.model)
    url = f"{_origin(request)}/{app}/requests/{submission.request_id}"
    return {
        "request_id": submission.request_id,
        "response_url": url,
        "status_url": f"{url}/status",
        "cancel_url": f"{url}/cancel",
    }


def _names(submission: Submission) -> dict[str, str]:
    return {"x-fal-request-id": submission.request_id}


def _origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _is_for_queue(request: web.Request) -> bool:
    return "queue" in request.query.getall("_subdomain", [])


def _without_subpath(app: str) -> str:
    return "/".join(app.split("/")[:2])


def _app_in_path(request: web.Request) -> str:
    return f"{request.match_info['owner']}/{request.match_info['alias']}"
