"""Predictions: create, get and cancel, and the files of their pictures.

Sources: the parts of Replicate's OpenAPI schema in github.com/replicate/replicate-python-beta,
src/replicate/resources/predictions.py and …/models/predictions.py, with the fields of a prediction in
src/replicate/types/prediction.py; replicate.com/docs/topics/predictions/lifecycle (statuses, and what a
deadline does); …/data-retention (after an hour, `output` is null and `data_removed` true);
replicate.com/changelog/2025-10-16-prediction-deadlines (`Cancel-After: 1m`).

Not documented, so this fake defines them: the least Cancel-After (5 s), the status of a prediction that is
cancelled before it starts (`canceled` with `started_at` null), and the answer to cancelling one that has
ended (200 with the unchanged prediction).
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.support.hosted_fake.answers import Answer, send, with_fault
from tests.support.hosted_fake.behavior import Fault, Plan
from tests.support.hosted_fake.submissions import Submission, Submissions, headers_as_received
from tests.support.replicate_api.models import LISTS_OUTPUT, MODELS, InvalidInput, Job, prepare
from tests.support.replicate_api.problems import PREDICTION_ERRORS, documented, invalid_input, problem

_BODY_KEYS = {"input", "webhook", "webhook_events_filter", "stream"}
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 26
_LIFETIME = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_LEAST_LIFETIME_SECONDS = 5


class PredictionsApi:
    """Routes of the API and of the host of pictures."""

    def __init__(self, plan: Plan, submissions: Submissions) -> None:
        """Create the routes for this plan and these submissions."""
        self._plan = plan
        self._submissions = submissions
        self._jobs: dict[str, Job] = {}
        self._deadlines: dict[str, float] = {}
        self._ends: dict[str, str] = {}
        """Status of each prediction that did not run to its end."""

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_post("/v1/models/{owner}/{name}/predictions", self._create)
        app.router.add_get("/v1/models/{owner}/{name}", self._model)
        app.router.add_get("/v1/predictions/{id}", self._get)
        app.router.add_post("/v1/predictions/{id}/cancel", self._cancel)
        app.router.add_post("/_control/pass_deadline", self._pass_deadline)
        app.router.add_get("/pbxt/{id}/out-0.{extension:jpg|png|webp}", self._picture)

    async def _create(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["submit"] += 1
        model = f"{request.match_info['owner']}/{request.match_info['name']}"
        submission = await Submission.receive(request, "replicate", model, self._plan.take())
        submission.request_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
        self._submissions.add(submission)
        fault = submission.fault("submit")
        answer: Answer | None = None
        if fault is None or fault.accepted:
            answer = await self._accept(request, submission)
        return await submission.answer(request, with_fault(answer, fault, documented), fault)

    async def _accept(self, request: web.Request, submission: Submission) -> Answer:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if submission.model not in MODELS:
            return problem(404)
        if request.content_type != "application/json":
            return problem(415, "The content type must be application/json")
        try:
            body = json.loads(submission.content)
        except ValueError:
            return problem(400, "The body is not JSON")
        if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
            return invalid_input([("required", "", "input is required")])
        if unknown := sorted(body.keys() - _BODY_KEYS):
            reason = f"Additional property {unknown[0]} is not allowed"
            return invalid_input([("additional_property_not_allowed", "", reason)])
        try:
            lifetime = _lifetime(request.headers.get("Cancel-After"))
        except ValueError as error:
            return problem(400, str(error))
        try:
            self._jobs[submission.request_id] = await asyncio.to_thread(
                prepare, submission.model, body["input"], submission.behavior
            )
        except InvalidInput as error:
            return invalid_input(error.errors)
        if lifetime is not None:
            self._deadlines[submission.request_id] = time.monotonic() + lifetime
        submission.accepted = True
        return Answer.of(201, self._prediction(request, submission, "starting"))

    async def _model(self, request: web.Request) -> web.StreamResponse:
        name = f"{request.match_info['owner']}/{request.match_info['name']}"
        answer = self._refusal(request) or (problem(404) if name not in MODELS else _description(name))
        return await send(request, answer, None)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["status"] += 1
        found = self._find(request)
        if isinstance(found, Answer):
            return await send(request, found, None)
        found.polls += 1
        fault = found.fault("status")
        return await send(request, with_fault(self._state(request, found), fault, documented), fault)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["cancel"] += 1
        found = self._find(request)
        if isinstance(found, Answer):
            return await send(request, found, None)
        found.cancel_requests += 1
        fault = found.fault("cancel")
        if (fault is None or fault.accepted) and not found.behavior.ignores_cancel:
            self._end(found, "canceled")
        return await send(request, with_fault(self._state(request, found), fault, documented), fault)

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        self._submissions.requests["image"] += 1
        submission = self._submissions.find(request.match_info["id"])
        if submission is None or submission.request_id not in self._jobs:
            return await send(request, Answer.of(404, "Not Found"), None)
        submission.images_fetched += 1
        submission.image_headers.append(headers_as_received(request))
        file = await asyncio.to_thread(self._jobs[submission.request_id].picture)
        content = file.content.ljust(submission.behavior.picture_bytes or 0, b"\0")
        fault = submission.fault("image")
        answer = Answer(200, content, file.content_type)
        return await send(request, with_fault(answer, fault, _documented_by_host), fault)

    async def _pass_deadline(self, request: web.Request) -> web.Response:
        self._deadlines[(await request.json())["id"]] = 0.0
        return web.json_response({})

    def _find(self, request: web.Request) -> Submission | Answer:
        """Return the prediction that the path names, or the answer that refuses access to it."""
        if (refusal := self._refusal(request)) is not None:
            return refusal
        submission = self._submissions.find(request.match_info["id"])
        if submission is None:
            self._submissions.requests["unknown"] += 1
            return problem(404)
        return submission

    def _refusal(self, request: web.Request) -> Answer | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and self._plan.is_valid_token(token):
            return None
        self._submissions.requests["unauthorized"] += 1
        return problem(401)

    def _end(self, submission: Submission, status: str) -> None:
        """End a prediction that still runs with this status."""
        if submission.status() == "COMPLETED":
            return
        started = submission.status() == "IN_PROGRESS"
        self._ends[submission.request_id] = status if started else f"{status} unstarted"
        submission.cancelled = True
        submission.finish()

    def _state(self, request: web.Request, submission: Submission) -> Answer:
        deadline = self._deadlines.get(submission.request_id)
        if deadline is not None and time.monotonic() > deadline:
            self._end(submission, "aborted" if submission.status() == "IN_QUEUE" else "canceled")
        match submission.status():
            case "IN_QUEUE":
                return Answer.of(200, self._prediction(request, submission, "starting"))
            case "IN_PROGRESS":
                return Answer.of(200, self._prediction(request, submission, "processing"))
        ended = self._ends.get(submission.request_id)
        if ended is not None:
            return Answer.of(200, self._prediction(request, submission, ended))
        return Answer.of(200, self._outcome(request, submission))

    def _outcome(self, request: web.Request, submission: Submission) -> dict[str, Any]:
        fault = submission.fault("result")
        error_type = "nsfw" if submission.behavior.nsfw else fault.error_type if fault else None
        if error_type == "removed":
            prediction = self._prediction(request, submission, "succeeded")
            return prediction | {"output": None, "input": {}, "logs": None, "data_removed": True}
        if error_type is not None:
            error = PREDICTION_ERRORS.get(error_type, error_type)
            return self._prediction(request, submission, "failed") | {"output": None, "error": error}
        prediction = self._prediction(request, submission, "succeeded")
        return prediction | fault.body if fault and isinstance(fault.body, dict) else prediction

    def _prediction(self, request: web.Request, submission: Submission, status: str) -> dict[str, Any]:
        identifier = submission.request_id
        origin = f"{request.scheme}://{request.host}"
        status, _, unstarted = status.partition(" ")
        ended = status not in ("starting", "processing")
        job = self._jobs[identifier]
        created = datetime.fromtimestamp(submission.received_at, UTC).isoformat()
        started = None if status == "starting" or unstarted else created
        address = submission.behavior.image_url or (
            f"{origin}/pbxt/{identifier}/out-0.{job.input.output_format}"
        )
        output = (
            ([address] if submission.model in LISTS_OUTPUT else address) if status == "succeeded" else None
        )
        prediction: dict[str, Any] = {
            "id": identifier,
            "model": submission.model,
            "version": "hidden",
            "input": json.loads(submission.content)["input"],
            "logs": "" if started is None else f"Using seed: {job.seed}\n",
            "output": output,
            "data_removed": False,
            "error": None,
            "status": status,
            "created_at": created,
            "urls": {
                "get": f"{origin}/v1/predictions/{identifier}",
                "cancel": f"{origin}/v1/predictions/{identifier}/cancel",
                "web": f"{origin}/p/{identifier}",
            },
        }
        if status != "starting":
            prediction["started_at"] = started
        if ended:
            seconds = submission.inference_seconds()
            prediction["completed_at"] = datetime.now(UTC).isoformat()
            prediction["metrics"] = {"predict_time": seconds, "total_time": seconds}
        return prediction


def _description(name: str) -> Answer:
    """Return the answer that describes a model, with the OpenAPI schema of its input."""
    schema = MODELS[name].model_json_schema(ref_template="#/components/schemas/{model}")
    version = {"id": "hidden", "openapi_schema": {"components": {"schemas": {"Input": schema}}}}
    owner, _, short = name.partition("/")
    return Answer.of(200, {"owner": owner, "name": short, "latest_version": version})


def _lifetime(header: str | None) -> float | None:
    """Return the seconds of a Cancel-After such as `30`, `90s`, `5m` or `1h30m`."""
    if header is None:
        return None
    found = _LIFETIME.fullmatch(header)
    if found is None or not header:
        raise ValueError("Cancel-After is not a duration")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total < _LEAST_LIFETIME_SECONDS:
        raise ValueError(f"Cancel-After must be at least {_LEAST_LIFETIME_SECONDS} seconds")
    return total


def _documented_by_host(fault: Fault) -> Answer:
    return Answer.of(fault.status or 500, "The host of the picture answers this")
