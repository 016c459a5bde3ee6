"""Hugging Face's own provider and dedicated Inference Endpoints: the answer to one request is the picture.

The protocol follows huggingface_hub, inference/_providers/hf_inference.py. A lost answer cannot be fetched
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import httpx
from PIL import Image

from avatar_creator_server.shared.http import BearerKey
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError
from avatar_creator_tasks.providers.hosted.answers import AnswerReader
from avatar_creator_tasks.providers.hosted.error_body import is_error_body, json_object
from avatar_creator_tasks.providers.hosted.http_client import (
    Answer,
    Deadline,
    HttpClient,
    NoAnswerError,
)
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import Signal, Stage, failure
from avatar_creator_tasks.providers.hosted.pictures import BadPictureError, PictureReader
from avatar_creator_tasks.providers.hosted.portraits import finished_portrait
from avatar_creator_tasks.providers.hosted.progress import Estimate
from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.inputs import single_input

_FACTS = {"x-request-id": "request", "x-compute-time": "compute_seconds"}
"""Headers of the answer that become facts, and the names of the facts in a recipe."""


class SingleRequests:
    """Draws each portrait with one request."""

    def __init__(
        self,
        access: Access,
        limits: Limits,
        http: HttpClient,
        reader: AnswerReader,
        pictures: PictureReader,
    ) -> None:
        self._access = access
        self._key = BearerKey(access.api_key)
        self._limits = limits
        self._http = http
        self._reader = reader
        self._pictures = pictures

    async def portrait(
        self, request: PortraitRequest, deadline: Deadline, progress: Callable[[float], Awaitable[None]]
    ) -> Portrait:
        """Draw the portrait.

        Raises:
            RequestError: The request failed, or its answer is not the picture.
        """
        sending = asyncio.create_task(self._send(request, deadline))
        try:
            await self._report_until_done(sending, request, progress)
            answer = await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if not answer.is_success:
            raise self._reader.refusal(Stage.DRAW, answer)
        facts = {
            name: self._reader.fact(answer.headers[header])
            for header, name in _FACTS.items()
            if header in answer.headers
        }
        try:
            image = await self._read_picture(answer, request, deadline)
            return await asyncio.to_thread(finished_portrait, image, request, facts)
        except asyncio.CancelledError as error:
            # The only copy of a picture that is paid for ends with this worker.
            raise ProviderError(
                "WORKER_LOST",
                "the worker stopped before it had stored the picture; a picture that may be paid for is "
                "lost, so the service does not retry",
                retryable=False,
                charged=True,
            ) from error

    async def _send(self, request: PortraitRequest, deadline: Deadline) -> Answer:
        headers = {"accept": "image/png"}
        if request.route.name == "endpoint":
            url = httpx.URL(self._access.endpoint_url)
        else:
            base = self._access.base_url.rstrip("/")
            url = httpx.URL(f"{base}/hf-inference/models/{quote(request.route.model)}")
            if self._access.bill_to:
                headers["x-hf-bill-to"] = self._access.bill_to
        try:
            return await self._http.send(
                "POST",
                url,
                deadline,
                key=self._key,
                headers=headers,
                body=single_input(request),
                max_bytes=self._limits.picture_bytes,
                draws=True,
                fresh=True,
            )
        except NoAnswerError as error:
            raise failure(Stage.DRAW, (error.signal,)) from error

    async def _report_until_done(
        self,
        sending: asyncio.Task[Answer],
        request: PortraitRequest,
        progress: Callable[[float], Awaitable[None]],
    ) -> None:
        clock = asyncio.get_running_loop()
        estimate = Estimate(request.expected_seconds or self._limits.usual_seconds)
        start = clock.time()
        while not sending.done():
            await progress(estimate.drawing(clock.time() - start))
            await asyncio.wait({sending}, timeout=self._limits.first_pause_seconds)

    async def _read_picture(
        self, answer: Answer, request: PortraitRequest, deadline: Deadline
    ) -> Image.Image:
        try:
            return await self._pictures.read(
                answer.content,
                answer.headers.get("content-type", ""),
                (request.width, request.height),
                deadline,
            )
        except BadPictureError as error:
            is_short = len(answer.content) <= self._limits.answer_bytes
            body = json_object(answer.content) if is_short else None
            if body is not None and is_error_body(body):
                signal, message = Signal.ERROR_BODY, self._reader.message(answer)
            else:
                signal, message = error.signal, error.message
            raise failure(Stage.DRAW, (signal,), status=answer.status, provider_message=message) from error
