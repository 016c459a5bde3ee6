"""Hugging Face's own provider and dedicated Inference Endpoints, which answer a request with the picture.

The request is `POST /hf-inference/models/{org}/{name}`, or `POST /` of an endpoint, with `{"inputs": text,
"parameters": {...}}`:
https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/inference/_providers/hf_inference.py;
the parameters are those of https://huggingface.co/docs/inference-providers/tasks/text-to-image. Errors are
`{"error": text}`, with `estimated_time` while a model loads.
"""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.support.hosted_fake.answers import Answer, with_fault
from tests.support.hosted_fake.behavior import Fault, Plan
from tests.support.hosted_fake.pictures import PictureFile, black, draw
from tests.support.hosted_fake.submissions import Provider, Submission, Submissions
from tests.support.huggingface_router import documented_errors
from tests.support.huggingface_router.access import is_allowed, refusal

_SEEDS = 2**32
_ENDPOINT_MODEL = "black-forest-labs/FLUX.1-dev"


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="ignore")

    width: Annotated[int, Field(gt=0)] = 1024
    height: Annotated[int, Field(gt=0)] = 1024
    num_inference_steps: Annotated[int, Field(gt=0)] = 28
    guidance_scale: float = 3.5
    negative_prompt: str | None = None
    seed: int | None = None


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore")

    inputs: str
    parameters: _Parameters = _Parameters()


class HfInference:
    """Routes of hf-inference and of an endpoint."""

    def __init__(self, plan: Plan, submissions: Submissions) -> None:
        """Create the routes for this plan and these submissions."""
        self._plan = plan
        self._submissions = submissions

    def add_routes(self, app: web.Application) -> None:
        """Add the routes to an application."""
        app.router.add_post("/hf-inference/models/{model:[^/]+/[^/]+}", self._routed)
        app.router.add_post("/", self._endpoint)

    async def _routed(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "hf-inference", request.match_info["model"])

    async def _endpoint(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "endpoint", _ENDPOINT_MODEL)

    async def _generate(self, request: web.Request, provider: Provider, model: str) -> web.StreamResponse:
        self._submissions.requests["submit"] += 1
        submission = await Submission.receive(request, provider, model, self._plan.take())
        self._submissions.add(submission)

        def documented(fault: Fault) -> Answer:
            return Answer.of(
                fault.status or 500, documented_errors.hugging_face_error(fault.status or 500, model)
            )

        fault = submission.fault("submit")
        answer: Answer | None = None
        if fault is None or fault.accepted:
            if is_allowed(request, self._plan):
                answer = await self._work(request, submission)
            else:
                self._submissions.requests["unauthorized"] += 1
                answer = refusal()
        fault = fault or submission.fault("result", "image")
        return await submission.answer(request, with_fault(answer, fault, documented), fault)

    async def _work(self, request: web.Request, submission: Submission) -> Answer:
        try:
            payload = _Payload.model_validate_json(submission.content)
        except ValidationError as error:
            first = error.errors()[0]
            location = ".".join(str(part) for part in first["loc"]) or "body"
            return Answer.of(400, {"error": [f"Error in `{location}`: {first['msg'].lower()}"]})
        submission.accepted = True
        try:
            await submission.completed()
        except asyncio.CancelledError:
            submission.cancelled = True
            submission.finish()
            raise
        submission.results_fetched += 1
        file = await asyncio.to_thread(_picture, request.headers.get("Accept", ""), submission, payload)
        content = file.content.ljust(submission.behavior.picture_bytes or 0, b"\0")
        return Answer(200, content, file.content_type)


def _picture(accept: str, submission: Submission, payload: _Payload) -> PictureFile:
    parameters = payload.parameters
    behavior = submission.behavior
    width = behavior.picture_width or parameters.width
    height = behavior.picture_height or parameters.height
    as_png = "image/png" in accept
    if behavior.nsfw:
        return black(width, height, as_png=as_png)
    inputs: dict[str, Any] = {"model": submission.model, "prompt": payload.inputs, **parameters.model_dump()}
    if parameters.seed is None:
        inputs["seed"] = random.randrange(_SEEDS)
    return draw(inputs, width, height, as_png=as_png)
