"""fal's queue, as the router forwards it.

`POST {router}/fal-ai/{app}?_subdomain=queue` takes a request and answers with its id. `GET
…/requests/{id}/status` says IN_QUEUE, IN_PROGRESS or COMPLETED, the last also of a request that failed,
`GET …/requests/{id}` gives the result, or the error, and `PUT …/requests/{id}/cancel` cancels:
fal.ai/docs/documentation/model-apis/inference/queue and fal.ai/docs/api-reference/inference-api. The
addresses on the router are made as in huggingface.js, packages/inference/src/providers/fal-ai.ts, and
huggingface_hub, inference/_providers/fal_ai.py. Headers:
fal.ai/docs/documentation/model-apis/common-parameters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import structlog
from PIL import Image

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
from avatar_creator_tasks.providers.huggingface.inputs import app_input, app_of
from avatar_creator_tasks.providers.huggingface.limits import Limits
from avatar_creator_tasks.providers.huggingface.outcomes import RequestError, Sign, Step, failure
from avatar_creator_tasks.providers.huggingface.picture_addresses import picture_address, redirected
from avatar_creator_tasks.providers.huggingface.pictures import BadPictureError, fitted, read_picture
from avatar_creator_tasks.providers.huggingface.progress import Estimate
from avatar_creator_tasks.providers.huggingface.request_paths import is_request_path, request_path

log = structlog.get_logger()

_PAUSE_GROWTH = 1.5
_STATUSES = ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")

T = TypeVar("T")


class DeadlinePassedError(Exception):
    """There is no time left for a request whose path is known."""


class Cancelled(StrEnum):
    """What became of a wish to cancel."""

    TOLD = "the provider drops it, or its runner is asked to"
    COMPLETED = "it had ended already"
    UNKNOWN = "the provider knows no such request"


@dataclass(frozen=True, slots=True)
class _Result:
    """What a completed request made."""

    picture_url: httpx.URL
    facts: Mapping[str, str]
    seed: int | None


class FalQueue:
    """Requests to fal's apps."""

    def __init__(self, access: Access, limits: Limits, exchange: Exchange, reader: AnswerReader) -> None:
        self._base = httpx.URL(f"{access.base_url.rstrip('/')}/fal-ai/")
        self._key = BearerKey(access.api_key)
        self._bill_to = {"x-hf-bill-to": access.bill_to} if access.bill_to else {}
        self._limits = limits
        self._exchange = exchange
        self._reader = reader

    async def submit(self, request: PortraitRequest, deadline: Deadline) -> str:
        """Hand the request in; returns its path.

        Raises:
            RequestError: it was refused, or nobody knows whether it was taken.
        """
        app = app_of(request)
        body = await asyncio.to_thread(app_input, request)
        headers = {
            **self._bill_to,
            # Attempts are counted and paid for here: fal would make up to ten of its own.
            "x-fal-no-retry": "1",
            # A recipe that names the model is to be true.
            "x-app-fal-disable-fallback": "1",
            # Nobody waits longer: what the queue has not begun by then is not to be drawn and charged.
            "x-fal-request-timeout": str(max(1, round(deadline.seconds_left()))),
        }
        answer = await self._sent(
            Step.SUBMIT, "POST", self._address(app), deadline, headers=headers, body=body, fresh=True
        )
        receipt = json_object(answer)
        if receipt is None:
            raise failure(Step.SUBMIT, (Sign.UNREADABLE,), status=answer.status)
        path = request_path(app, receipt)
        if path is None:
            sign = Sign.SAYS_ERROR if is_error_body(receipt) else Sign.UNREADABLE
            raise failure(Step.SUBMIT, (sign,), status=answer.status, said=self._reader.words(answer))
        return path

    async def portrait(
        self,
        path: str,
        request: PortraitRequest,
        deadline: Deadline,
        progress: Callable[[float], Awaitable[None]],
    ) -> Portrait:
        """Wait for a request that was handed in, and fetch what it made.

        Raises:
            RequestError: there will be no picture, or the provider does not say.
            DeadlinePassedError: there is none by then.
        """
        if not is_request_path(path):
            raise failure(Step.POLL, ("404",), said="its id is none of this provider")
        failed_with = await self._completed(path, request, deadline, progress)
        result = await self._repeated(lambda: self._result(path, failed_with, deadline), deadline)
        image = await self._repeated(lambda: self._picture(result.picture_url, request, deadline), deadline)
        return await asyncio.to_thread(_portrait, image, result, request)

    async def give_up(self, path: str) -> RequestError:
        """Let the provider drop a request whose deadline has passed; returns what that means."""
        try:
            dropped = await self.cancel(path) is not Cancelled.COMPLETED
        except RequestError as error:
            log.warning("provider_request_not_cancelled", reason=error.reason, message=error.message)
            dropped = False
        return failure(Step.POLL, (Sign.DEADLINE if dropped else Sign.DEADLINE_STANDING,))

    async def cancel(self, path: str) -> Cancelled:
        """Let the provider drop a request.

        Raises:
            RequestError: it could not be told.
        """
        if not is_request_path(path):
            return Cancelled.UNKNOWN
        try:
            answer = await self._ask(
                "PUT", self._address(path, "/cancel"), Deadline(self._limits.cancel_seconds)
            )
        except NoAnswerError as error:
            raise failure(Step.CANCEL, (error.sign,)) from error
        if answer.is_success:
            return Cancelled.TOLD
        if answer.status == HTTPStatus.NOT_FOUND:
            return Cancelled.UNKNOWN
        if (json_object(answer) or {}).get("status") == "ALREADY_COMPLETED":
            return Cancelled.COMPLETED
        raise self._reader.refusal(Step.CANCEL, answer)

    async def _completed(
        self,
        path: str,
        request: PortraitRequest,
        deadline: Deadline,
        progress: Callable[[float], Awaitable[None]],
    ) -> str:
        """Wait until a request has ended; returns fal's type of the error it ended with, or nothing."""
        clock = asyncio.get_running_loop()
        estimate = Estimate(request.expected_seconds or self._limits.usual_seconds)
        pause = self._limits.first_pause_seconds
        began: float | None = None
        while True:
            told = await self._repeated(lambda: self._status(path, deadline), deadline)
            if told["status"] == "COMPLETED":
                return str(told.get("error_type") or "")
            if told["status"] == "IN_QUEUE":
                await progress(estimate.queued())
            else:
                began = began or clock.time()
                await progress(estimate.drawing(clock.time() - began, told.get("logs"), request.steps))
            await _pause(pause, deadline)
            pause = min(pause * _PAUSE_GROWTH, self._limits.longest_pause_seconds)

    async def _status(self, path: str, deadline: Deadline) -> dict[str, Any]:
        url = self._address(path, "/status").copy_add_param("logs", "1")
        answer = await self._sent(Step.POLL, "GET", url, deadline)
        told = json_object(answer)
        if told is None or told.get("status") not in _STATUSES:
            raise failure(
                Step.POLL, (Sign.UNREADABLE,), status=answer.status, said=self._reader.words(answer)
            )
        return told

    async def _result(self, path: str, failed_with: str, deadline: Deadline) -> _Result:
        answer = await self._sent(Step.RESULT, "GET", self._address(path), deadline, known_type=failed_with)
        told = json_object(answer)
        if told is None:
            raise failure(Step.RESULT, (Sign.UNREADABLE,), status=answer.status)
        flagged = told.get("has_nsfw_concepts")
        if isinstance(flagged, list) and flagged and flagged[0] is True:
            raise failure(Step.RESULT, (Sign.NSFW,))
        url = picture_address(told, self._base)
        if url is None:
            sign = Sign.SAYS_ERROR if is_error_body(told) else Sign.NO_PICTURE
            raise failure(Step.RESULT, (sign,), status=answer.status, said=self._reader.words(answer))
        seed = told.get("seed")
        timings = told.get("timings")
        facts = {
            "request": path,
            "seed": seed,
            "inference_seconds": timings.get("inference") if isinstance(timings, dict) else None,
            "billable_units": answer.headers.get("x-fal-billable-units"),
        }
        return _Result(
            url,
            {name: self._reader.fact(value) for name, value in facts.items() if value is not None},
            seed if isinstance(seed, int) else None,
        )

    async def _picture(self, url: httpx.URL, request: PortraitRequest, deadline: Deadline) -> Image.Image:
        answer = await self._fetched(url, deadline)
        size = request.width, request.height
        try:
            return await asyncio.to_thread(
                read_picture,
                answer.content,
                answer.headers.get("content-type", ""),
                size,
                most_pixels=self._limits.picture_pixels,
                any_size=request.route.name == "fal-ai-kontext",
            )
        except BadPictureError as error:
            raise failure(Step.PICTURE, (error.sign,), said=error.said) from error

    async def _fetched(self, url: httpx.URL, deadline: Deadline) -> Answer:
        """The picture's file, without the key: it lies with somebody else."""
        for _ in range(self._limits.redirects + 1):
            try:
                answer = await self._exchange.ask(
                    "GET", url, deadline, most_bytes=self._limits.picture_bytes, fresh=True
                )
            except NoAnswerError as error:
                raise _no_answer(Step.PICTURE, error) from error
            if answer.is_success:
                return answer
            onward = redirected(url, answer.status, answer.headers, self._base)
            if onward is None:
                break
            url = onward
        raise self._reader.refusal(Step.PICTURE, answer)

    async def _sent(
        self,
        step: Step,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        *,
        known_type: str = "",
        **more: Any,
    ) -> Answer:
        """A successful answer of the router.

        Raises:
            RequestError: there is none.
            DeadlinePassedError: there was no time for it, and the request's path is known.
        """
        try:
            answer = await self._ask(method, url, deadline, **more)
        except NoAnswerError as error:
            raise _no_answer(step, error) from error
        if not answer.is_success:
            raise self._reader.refusal(step, answer, known_type=known_type)
        return answer

    async def _ask(self, method: str, url: httpx.URL, deadline: Deadline, **more: Any) -> Answer:
        headers = more.pop("headers", self._bill_to)
        return await self._exchange.ask(method, url, deadline, key=self._key, headers=headers, **more)

    async def _repeated(self, question: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        """Ask again where that may help at once."""
        pause = self._limits.first_pause_seconds
        tries = 1
        while True:
            try:
                return await question()
            except RequestError as error:
                asked_to_wait = error.retry_after.total_seconds()
                if (
                    not error.ask_again
                    or tries >= self._limits.tries
                    or asked_to_wait > self._limits.longest_pause_seconds
                ):
                    raise
                log.info("provider_asked_again", reason=error.reason, message=error.message)
            await _pause(max(pause, asked_to_wait), deadline)
            pause = min(pause * _PAUSE_GROWTH, self._limits.longest_pause_seconds)
            tries += 1

    def _address(self, path: str, under: str = "") -> httpx.URL:
        return self._base.join(f"{path}{under}").copy_set_param("_subdomain", "queue")


def _no_answer(step: Step, error: NoAnswerError) -> RequestError | DeadlinePassedError:
    if error.sign is Sign.DEADLINE and step is not Step.SUBMIT:
        return DeadlinePassedError()
    return failure(step, (error.sign,))


async def _pause(seconds: float, deadline: Deadline) -> None:
    left = deadline.seconds_left()
    await asyncio.sleep(min(seconds, left))
    if seconds >= left:
        raise DeadlinePassedError


def _portrait(image: Image.Image, result: _Result, request: PortraitRequest) -> Portrait:
    warnings = []
    size = request.width, request.height
    if image.size != size:
        warnings.append(
            f"the provider drew {image.width}x{image.height} pixels; "
            f"the picture was scaled and cropped to {size[0]}x{size[1]}"
        )
        image = fitted(image, size)
    if result.seed is not None and result.seed != request.seed:
        warnings.append(f"the provider drew with the seed {result.seed} instead of {request.seed}")
    lora = request.route.lora
    if lora is not None and lora.revision and not lora.weight_file:
        warnings.append(
            "the provider was not told the LoRA's revision: that takes the name of its weight file"
        )
    return Portrait(image, dict(result.facts), tuple(warnings))
