"""fal's queue, reached through the router.

The protocol:

- `POST {router}/fal-ai/{app}?_subdomain=queue` submits a request; the answer contains its id.
- `GET …/requests/{id}/status` returns IN_QUEUE, IN_PROGRESS or COMPLETED, also for a failed request.
- `GET …/requests/{id}` returns the result or the error.
- `PUT …/requests/{id}/cancel` cancels the request.

The service asks fal not to store the input and the result of a request, and to delete the files of pictures
after `PROVIDER_OBJECT_SECONDS`. fal then keeps a result for one hour, or for six minutes if it has 10 KB or
more (fal.ai/docs/inference-api/queue/result). A result has about 1 KB and the prompt.

No source says that the router forwards PUT, and no client of Hugging Face sends it. So only fal's own words
count as an answer to a cancellation.

Sources: fal.ai/docs/documentation/model-apis/inference/queue, fal.ai/docs/api-reference/inference-api and,
for the headers, fal.ai/docs/documentation/model-apis/common-parameters. The addresses on the router follow
huggingface.js, packages/inference/src/providers/fal-ai.ts, and huggingface_hub,
inference/_providers/fal_ai.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import httpx

from avatar_creator_server.model_table import FAL
from avatar_creator_server.shared.http import BearerKey
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest
from avatar_creator_tasks.providers.hosted.answers import AnswerReader, SignalsOf
from avatar_creator_tasks.providers.hosted.cancellations import CancelResult, error_after_deadline
from avatar_creator_tasks.providers.hosted.downloads import PictureDownloads
from avatar_creator_tasks.providers.hosted.error_body import is_error_body, json_object
from avatar_creator_tasks.providers.hosted.http_client import (
    Answer,
    Deadline,
    HttpClient,
    NoAnswerError,
)
from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.hosted.outcomes import RequestError, Signal, Stage, failure
from avatar_creator_tasks.providers.hosted.picture_addresses import picture_address
from avatar_creator_tasks.providers.hosted.portraits import finished_portrait
from avatar_creator_tasks.providers.hosted.progress import ProgressReports
from avatar_creator_tasks.providers.hosted.repetition import (
    DeadlinePassedError,
    repeat,
    unanswered,
    wait_until,
)
from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.inputs import app_input, app_of
from avatar_creator_tasks.providers.huggingface.request_paths import is_request_path, request_path
from avatar_creator_tasks.providers.huggingface.signals import signals_of

_MAX_SEED = 2**64 - 1
_STATUSES = ("IN_QUEUE", "IN_PROGRESS", "COMPLETED")


_CANCEL_RESULTS: Mapping[tuple[int, str], CancelResult] = {
    (HTTPStatus.OK, "OK"): CancelResult.NOT_STARTED,
    (HTTPStatus.ACCEPTED, "CANCELLATION_REQUESTED"): CancelResult.REQUESTED,
    (HTTPStatus.BAD_REQUEST, "ALREADY_COMPLETED"): CancelResult.COMPLETED,
    (HTTPStatus.BAD_REQUEST, "ALREADY_CANCELLED"): CancelResult.STOPPED,
    (HTTPStatus.NOT_FOUND, "NOT_FOUND"): CancelResult.GONE,
}
"""fal's answers to a cancellation, by status and `status` of the body. OK means that fal has removed the
request from its queue, so no runner has spent time on it. fal does not document ALREADY_CANCELLED."""


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a completed request."""

    picture_url: httpx.URL
    facts: Mapping[str, str]
    seed: int | None


class FalQueue:
    """Draws each portrait with a request to one of fal's apps."""

    def __init__(
        self,
        access: Access,
        limits: Limits,
        http: HttpClient,
        reader: AnswerReader,
        downloads: PictureDownloads,
    ) -> None:
        self._base = httpx.URL(f"{access.base_url.rstrip('/')}/{FAL}/")
        self._key = BearerKey(access.api_key)
        self._bill_to = {"x-hf-bill-to": access.bill_to} if access.bill_to else {}
        self._privacy = {
            "x-fal-store-io": "0",
            "x-fal-object-lifecycle-preference": json.dumps(
                {"expiration_duration_seconds": round(access.object_lifetime.total_seconds())}
            ),
        }
        self._limits = limits
        self._http = http
        self._reader = reader
        self._downloads = downloads

    async def submit(self, request: PortraitRequest, deadline: Deadline) -> str:
        """Submit a request and return its path.

        Raises:
            RequestError: The provider refused the request, or it is unknown whether it accepted the request.
        """
        app = app_of(request).name
        body = await asyncio.to_thread(app_input, request)
        headers = {
            **self._bill_to,
            **self._privacy,
            # This service counts and pays for each attempt. fal itself would retry up to ten times.
            "x-fal-no-retry": "1",
            # The recipe names the model, so no other model may draw.
            "x-app-fal-disable-fallback": "1",
            # No one fetches a later picture, so the queue must not start and charge the request after that.
            "x-fal-request-timeout": str(max(1, round(deadline.seconds_left()))),
        }
        answer = await self._query(
            Stage.SUBMIT, "POST", self._address(app), deadline, headers=headers, body=body, fresh=True
        )
        receipt = json_object(answer.content)
        if receipt is None:
            raise failure(Stage.SUBMIT, (Signal.UNREADABLE,), status=answer.status)
        path = request_path(app, receipt)
        if path is None:
            signal = Signal.ERROR_BODY if is_error_body(receipt) else Signal.UNREADABLE
            raise self._reader.unusable(Stage.SUBMIT, signal, answer)
        return path

    async def portrait(
        self,
        path: str,
        request: PortraitRequest,
        deadline: Deadline,
        progress: Callable[[float], Awaitable[None]],
    ) -> Portrait:
        """Wait for a submitted request and fetch its picture.

        Raises:
            RequestError: The request failed, or its state stays unknown.
            DeadlinePassedError: The picture was not complete before the deadline.
        """
        if not is_request_path(path):
            raise failure(
                Stage.POLL, ("404",), provider_message="the request does not belong to this provider"
            )
        reports = ProgressReports(request, self._limits, progress)

        async def report(status: dict[str, Any]) -> None:
            if status["status"] == "IN_QUEUE":
                await reports.queued()
            else:
                await reports.drawing(status.get("logs"))

        error_type = await self._wait_until_completed(path, deadline, report)
        result = await repeat(lambda: self._result(path, error_type, deadline), deadline, self._limits)
        size = request.width, request.height
        any_size = "size" not in app_of(request).inputs
        image = await repeat(
            lambda: self._downloads.picture(result.picture_url, size, deadline, any_size=any_size),
            deadline,
            self._limits,
        )
        return await asyncio.to_thread(finished_portrait, image, request, result.facts, result.seed)

    async def cancel_after_deadline(self, path: str) -> RequestError:
        """Cancel a request whose deadline has passed and return the error of the attempt."""
        return await error_after_deadline(lambda: self.cancel(path), lambda: self._error_after_stop(path))

    async def cancel(self, path: str) -> CancelResult:
        """Cancel a request at the provider.

        Raises:
            RequestError: fal itself has not answered, so the request counts as running.
        """
        try:
            answer = await self._send(
                "PUT", self._address(path, "/cancel"), Deadline(self._limits.cancel_seconds)
            )
        except NoAnswerError as error:
            raise failure(Stage.CANCEL, (error.signal,)) from error
        word = (json_object(answer.content) or {}).get("status")
        result = _CANCEL_RESULTS.get((answer.status, word)) if isinstance(word, str) else None
        if result is not None:
            return result
        if answer.is_success:
            raise self._reader.unusable(Stage.CANCEL, Signal.UNREADABLE, answer)
        raise self._reader.refusal(Stage.CANCEL, answer)

    async def _error_after_stop(self, path: str) -> RequestError:
        """Wait a little for the end of a request that was asked to stop, and return the attempt's error."""
        deadline = Deadline(self._limits.stop_seconds)
        try:
            error_type = await self._wait_until_completed(path, deadline, _ignore)
            await repeat(lambda: self._result(path, error_type, deadline), deadline, self._limits)
        except DeadlinePassedError:
            pass
        except RequestError as error:
            if not error.request_alive:
                was_cancelled = error.retryable and error.charged
                return failure(Stage.POLL, (Signal.DEADLINE,)) if was_cancelled else error
        return failure(Stage.POLL, (Signal.DEADLINE_ALIVE,))

    async def _wait_until_completed(
        self, path: str, deadline: Deadline, report: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> str:
        """Poll until a request has ended; return fal's type of its error, or an empty text."""
        status = await wait_until(
            lambda status: bool(status["status"] == "COMPLETED"),
            lambda: self._status(path, deadline),
            report,
            deadline,
            self._limits,
        )
        error_type = status.get("error_type")
        return error_type if isinstance(error_type, str) else ""

    async def _status(self, path: str, deadline: Deadline) -> dict[str, Any]:
        url = self._address(path, "/status").copy_add_param("logs", "1")
        answer = await self._query(Stage.POLL, "GET", url, deadline)
        status = json_object(answer.content)
        if status is None or status.get("status") not in _STATUSES:
            raise self._reader.unusable(Stage.POLL, Signal.UNREADABLE, answer)
        return status

    async def _result(self, path: str, error_type: str, deadline: Deadline) -> _Result:
        answer = await self._query(
            Stage.RESULT,
            "GET",
            self._address(path),
            deadline,
            signals_of=partial(signals_of, known_type=error_type),
        )
        result = json_object(answer.content)
        if result is None:
            raise failure(Stage.RESULT, (Signal.UNREADABLE,), status=answer.status)
        flagged = result.get("has_nsfw_concepts")
        if isinstance(flagged, list) and flagged and flagged[0] is True:
            raise failure(Stage.RESULT, (Signal.NSFW,))
        url = picture_address(result)
        if url is None:
            signal = Signal.ERROR_BODY if is_error_body(result) else Signal.NO_PICTURE
            raise self._reader.unusable(Stage.RESULT, signal, answer)
        seed = result.get("seed")
        timings = result.get("timings")
        facts = {
            "request": path,
            "seed": seed,
            "inference_seconds": timings.get("inference") if isinstance(timings, dict) else None,
            "billable_units": answer.headers.get("x-fal-billable-units"),
        }
        return _Result(
            url,
            {name: self._reader.fact(value) for name, value in facts.items() if value is not None},
            seed if type(seed) is int and 0 <= seed <= _MAX_SEED else None,
        )

    async def _query(
        self,
        stage: Stage,
        method: str,
        url: httpx.URL,
        deadline: Deadline,
        *,
        signals_of: SignalsOf | None = None,
        **options: Any,
    ) -> Answer:
        """Send a request to the router and return its answer, which has a 2xx status.

        Raises:
            RequestError: No answer arrived, or its status is not 2xx.
            DeadlinePassedError: The deadline passed and the request's path is known.
        """
        try:
            answer = await self._send(method, url, deadline, **options)
        except NoAnswerError as error:
            raise unanswered(stage, error) from error
        if not answer.is_success:
            raise self._reader.refusal(stage, answer, signals_of)
        return answer

    async def _send(self, method: str, url: httpx.URL, deadline: Deadline, **options: Any) -> Answer:
        headers = options.pop("headers", self._bill_to)
        return await self._http.send(method, url, deadline, key=self._key, headers=headers, **options)

    def _address(self, path: str, suffix: str = "") -> httpx.URL:
        return self._base.join(f"{path}{suffix}").copy_set_param("_subdomain", "queue")


async def _ignore(status: dict[str, Any]) -> None:
    pass
