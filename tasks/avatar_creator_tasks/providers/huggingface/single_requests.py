"""Hugging Face's own provider and dedicated Inference Endpoints: one request, answered by the picture.

As in huggingface_hub, inference/_providers/hf_inference.py. There is nothing to ask for again: an answer
that is lost is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import httpx

from avatar_creator_tasks.providers.base import Portrait, PortraitRequest
from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.answers import AnswerReader, is_error_body, json_object
from avatar_creator_tasks.providers.huggingface.http_client import (
    Answer,
    BearerKey,
    Deadline,
    Exchange,
    NoAnswerError,
)
from avatar_creator_tasks.providers.huggingface.inputs import single_input
from avatar_creator_tasks.providers.huggingface.limits import Limits
from avatar_creator_tasks.providers.huggingface.outcomes import Sign, Step, failure
from avatar_creator_tasks.providers.huggingface.pictures import BadPictureError, read_picture
from avatar_creator_tasks.providers.huggingface.progress import Estimate

_FACTS = {"x-request-id": "request", "x-compute-time": "compute_seconds"}
"""Headers of the answer, and what they are called in a recipe."""


class SingleRequests:
    """Draws in one request."""

    def __init__(self, access: Access, limits: Limits, exchange: Exchange, reader: AnswerReader) -> None:
        self._access = access
        self._key = BearerKey(access.api_key)
        self._limits = limits
        self._exchange = exchange
        self._reader = reader

    async def portrait(
        self, request: PortraitRequest, deadline: Deadline, progress: Callable[[float], Awaitable[None]]
    ) -> Portrait:
        """Have it drawn.

        Raises:
            RequestError: there is no picture.
        """
        asked = asyncio.create_task(self._answer(request, deadline))
        try:
            await self._tell_until_done(asked, request, progress)
            answer = await asked
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        if not answer.is_success:
            raise self._reader.refusal(Step.DRAW, answer)
        try:
            image = await asyncio.to_thread(
                read_picture,
                answer.content,
                answer.headers.get("content-type", ""),
                (request.width, request.height),
                most_pixels=self._limits.picture_pixels,
            )
        except BadPictureError as error:
            said = json_object(answer)
            sign = Sign.SAYS_ERROR if said is not None and is_error_body(said) else error.sign
            words = self._reader.words(answer) if sign is Sign.SAYS_ERROR else error.said
            raise failure(Step.DRAW, (sign,), status=answer.status, said=words) from error
        facts = {
            name: self._reader.fact(answer.headers[header])
            for header, name in _FACTS.items()
            if header in answer.headers
        }
        return Portrait(image, facts)

    async def _answer(self, request: PortraitRequest, deadline: Deadline) -> Answer:
        headers = {"accept": "image/png"}
        if request.route.name == "endpoint":
            url = httpx.URL(self._access.endpoint_url)
        else:
            base = self._access.base_url.rstrip("/")
            url = httpx.URL(f"{base}/hf-inference/models/{quote(request.route.model)}")
            if self._access.bill_to:
                headers["x-hf-bill-to"] = self._access.bill_to
        try:
            return await self._exchange.ask(
                "POST",
                url,
                deadline,
                key=self._key,
                headers=headers,
                body=single_input(request),
                most_bytes=self._limits.picture_bytes,
                works=True,
                fresh=True,
            )
        except NoAnswerError as error:
            raise failure(Step.DRAW, (error.sign,)) from error

    async def _tell_until_done(
        self,
        asked: asyncio.Task[Answer],
        request: PortraitRequest,
        progress: Callable[[float], Awaitable[None]],
    ) -> None:
        clock = asyncio.get_running_loop()
        estimate = Estimate(request.expected_seconds or self._limits.usual_seconds)
        began = clock.time()
        while not asked.done():
            await progress(estimate.drawing(clock.time() - began))
            await asyncio.wait({asked}, timeout=self._limits.first_pause_seconds)
