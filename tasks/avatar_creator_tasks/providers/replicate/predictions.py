"""Predictions, Replicate's requests.

The protocol:

- `POST {api}/v1/models/{owner}/{name}/predictions` creates a prediction and answers 201 with its id. Without
  `Prefer: wait` it does not wait for the picture: the id must be known before the model works.
- `Cancel-After` ends the prediction at Replicate after this time: as `aborted` before it has started, which
  costs nothing, else as `canceled`.
- `GET …/v1/predictions/{id}` returns its status: `starting`, `processing`, `succeeded`, `failed`, `canceled`
  or `aborted`. The output is one address, or a list of them.
- `POST …/v1/predictions/{id}/cancel` cancels it and returns it.

Replicate removes input, output, files and logs an hour after a prediction has ended: the prediction then has
`data_removed` and the output null. It ends a prediction after 30 minutes.

Sources: replicate.com/docs/reference/http and, made from Replicate's OpenAPI schema,
github.com/replicate/replicate-python-beta, src/replicate/resources; the pages lifecycle, data-retention and
rate-limits of replicate.com/docs/topics/predictions; replicate.com/changelog/2025-10-16-prediction-deadlines.
No source says what `cancel` answers for a prediction that has ended, so every answer has a meaning here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
from PIL import Image

from avatar_creator_server.shared.http import BearerKey
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest
from avatar_creator_tasks.providers.hosted.answers import AnswerReader
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
from avatar_creator_tasks.providers.hosted.picture_addresses import web_address
from avatar_creator_tasks.providers.hosted.portraits import finished_portrait
from avatar_creator_tasks.providers.hosted.progress import ProgressReports
from avatar_creator_tasks.providers.hosted.repetition import (
    DeadlinePassedError,
    repeat,
    unanswered,
    wait_until,
)
from avatar_creator_tasks.providers.replicate.access import Access
from avatar_creator_tasks.providers.replicate.inputs import MAX_REFERENCES_BYTES, app_of, prediction_input
from avatar_creator_tasks.providers.replicate.signals import is_own_problem, signal_of_failed_prediction

_ID = re.compile(r"[a-z0-9]{16,64}", re.ASCII)
_LEAST_LIFETIME_SECONDS = 5
"""Replicate takes no shorter Cancel-After, as users of the API report; its changelog does not say."""
_RUNNING = ("starting", "processing")
_CANCELLED = ("canceled", "aborted")
_ENDED = ("succeeded", "failed", *_CANCELLED)


def is_prediction_id(text: str) -> bool:
    """Return whether the text is exactly an id of a prediction, so that it leads to no other address."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class _Result:
    """The result of a prediction that has succeeded."""

    picture_url: httpx.URL
    facts: Mapping[str, str]


class Predictions:
    """Draws each portrait with one prediction."""

    def __init__(
        self,
        access: Access,
        limits: Limits,
        http: HttpClient,
        reader: AnswerReader,
        downloads: PictureDownloads,
    ) -> None:
        self._base = httpx.URL(f"{access.base_url.rstrip('/')}/v1/")
        self._key = BearerKey(access.api_token)
        self._limits = limits
        # Every answer repeats the input.
        self._answer_bytes = limits.answer_bytes + MAX_REFERENCES_BYTES
        self._http = http
        self._reader = reader
        self._downloads = downloads

    async def submit(self, request: PortraitRequest, deadline: Deadline) -> str:
        """Create a prediction and return its id.

        Args:
            request: The request.
            deadline: Time after which no one fetches the picture.

        Raises:
            RequestError: Replicate refused the request, or it is unknown whether it accepted the request.
        """
        body = {"input": await asyncio.to_thread(prediction_input, request)}
        lifetime = max(_LEAST_LIFETIME_SECONDS, round(deadline.seconds_left()))
        answer = await self._query(
            Stage.SUBMIT,
            "POST",
            self._base.join(f"models/{app_of(request).name}/predictions"),
            deadline,
            headers={"cancel-after": f"{lifetime}s"},
            body=body,
            fresh=True,
        )
        receipt = json_object(answer.content)
        if receipt is None:
            raise failure(Stage.SUBMIT, (Signal.UNREADABLE,), status=answer.status)
        prediction_id = receipt.get("id")
        if not isinstance(prediction_id, str) or not is_prediction_id(prediction_id):
            signal = Signal.ERROR_BODY if is_error_body(receipt) else Signal.UNREADABLE
            raise self._reader.unusable(Stage.SUBMIT, signal, answer)
        return prediction_id

    async def portrait(
        self,
        prediction_id: str,
        request: PortraitRequest,
        deadline: Deadline,
        progress: Callable[[float], Awaitable[None]],
    ) -> Portrait:
        """Wait for a prediction and fetch its picture.

        Raises:
            RequestError: The prediction failed, or its state stays unknown.
            DeadlinePassedError: The picture was not complete before the deadline.
        """
        if not is_prediction_id(prediction_id):
            raise failure(
                Stage.POLL, ("404",), provider_message="the request does not belong to this provider"
            )
        reports = ProgressReports(request, self._limits, progress)

        async def report(prediction: Mapping[str, Any]) -> None:
            if prediction["status"] == "starting":
                await reports.queued()
            else:
                await reports.drawing([prediction.get("logs")])

        prediction = await self._wait_until_ended(prediction_id, deadline, report)
        result = self._result(prediction_id, prediction)
        size = request.width, request.height

        async def picture() -> Image.Image:
            return await self._downloads.picture(result.picture_url, size, deadline, any_size=True)

        image = await repeat(picture, deadline, self._limits)
        return await asyncio.to_thread(finished_portrait, image, request, result.facts)

    async def cancel_after_deadline(self, prediction_id: str) -> RequestError:
        """Cancel a prediction whose deadline has passed and return the error of the attempt."""
        return await error_after_deadline(
            lambda: self.cancel(prediction_id), lambda: self._error_after_stop(prediction_id)
        )

    async def cancel(self, prediction_id: str) -> CancelResult:
        """Cancel a prediction.

        Raises:
            RequestError: Replicate has not said what happened, so the prediction counts as running.
        """
        try:
            answer = await self._http.send(
                "POST",
                self._base.join(f"predictions/{prediction_id}/cancel"),
                Deadline(self._limits.cancel_seconds),
                key=self._key,
                max_bytes=self._answer_bytes,
            )
        except NoAnswerError as error:
            raise failure(Stage.CANCEL, (error.signal,)) from error
        body = json_object(answer.content) or {}
        if answer.status == HTTPStatus.NOT_FOUND and is_own_problem(body, answer.status):
            return CancelResult.GONE
        if not answer.is_success:
            raise self._reader.refusal(Stage.CANCEL, answer)
        result = _cancel_result(body)
        if result is None:
            raise self._reader.unusable(Stage.CANCEL, Signal.UNREADABLE, answer)
        return result

    async def _error_after_stop(self, prediction_id: str) -> RequestError:
        """Wait a little for the end of a prediction that was asked to stop; return the attempt's error."""
        deadline = Deadline(self._limits.stop_seconds)
        try:
            prediction = await self._wait_until_ended(prediction_id, deadline, _ignore)
            self._result(prediction_id, prediction)
        except DeadlinePassedError:
            pass
        except RequestError as error:
            if error.retryable and not error.request_alive:
                return failure(Stage.POLL, (Signal.DEADLINE,), nothing_billed=not error.charged)
            if not error.request_alive:
                return error
        return failure(Stage.POLL, (Signal.DEADLINE_ALIVE,))

    async def _wait_until_ended(
        self,
        prediction_id: str,
        deadline: Deadline,
        report: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> dict[str, Any]:
        """Poll until a prediction has ended, and return it."""
        return await wait_until(
            lambda prediction: prediction["status"] in _ENDED,
            lambda: self._prediction(prediction_id, deadline),
            report,
            deadline,
            self._limits,
        )

    async def _prediction(self, prediction_id: str, deadline: Deadline) -> dict[str, Any]:
        url = self._base.join(f"predictions/{prediction_id}")
        answer = await self._query(Stage.POLL, "GET", url, deadline)
        prediction = json_object(answer.content)
        if prediction is None or prediction.get("status") not in (*_RUNNING, *_ENDED):
            raise self._reader.unusable(Stage.POLL, Signal.UNREADABLE, answer)
        return prediction

    def _result(self, prediction_id: str, prediction: Mapping[str, Any]) -> _Result:
        """Return the result of a prediction that has ended.

        Raises:
            RequestError: The prediction has no picture.
        """
        status = prediction["status"]
        if status in _CANCELLED:
            raise failure(Stage.RESULT, ("499",), nothing_billed=_never_started(prediction))
        if status == "failed":
            text = prediction.get("error")
            error = text if isinstance(text, str) else ""
            raise failure(
                Stage.RESULT,
                (signal_of_failed_prediction(error),),
                provider_message=self._reader.fact(error),
                nothing_billed=_never_started(prediction),
            )
        output = prediction.get("output")
        if output is None and prediction.get("data_removed") is True:
            raise failure(Stage.PICTURE, ("410",))
        address = output[0] if isinstance(output, list) and output else output
        url = web_address(address) if isinstance(address, str) else None
        if url is None:
            raise failure(Stage.RESULT, (Signal.NO_PICTURE,))
        metrics = prediction.get("metrics")
        facts = {
            "request": prediction_id,
            "version": prediction.get("version"),
            "predict_seconds": metrics.get("predict_time") if isinstance(metrics, dict) else None,
        }
        return _Result(
            url, {name: self._reader.fact(value) for name, value in facts.items() if value is not None}
        )

    async def _query(
        self, stage: Stage, method: str, url: httpx.URL, deadline: Deadline, **options: Any
    ) -> Answer:
        """Send a request to the API and return its answer, which has a 2xx status.

        Raises:
            RequestError: No answer arrived, or its status is not 2xx.
            DeadlinePassedError: The deadline passed and the prediction's id is known.
        """
        try:
            answer = await self._http.send(
                method, url, deadline, key=self._key, max_bytes=self._answer_bytes, **options
            )
        except NoAnswerError as error:
            raise unanswered(stage, error) from error
        if not answer.is_success:
            raise self._reader.refusal(stage, answer)
        return answer


async def _ignore(prediction: Mapping[str, Any]) -> None:
    pass


def _cancel_result(prediction: Mapping[str, Any]) -> CancelResult | None:
    """Return the meaning of the prediction that answers a cancellation; None if it has no known status."""
    match prediction.get("status"):
        case "canceled" | "aborted":
            return CancelResult.NOT_STARTED if _never_started(prediction) else CancelResult.STOPPED
        case "starting" | "processing":
            return CancelResult.REQUESTED
        case "succeeded" | "failed":
            return CancelResult.COMPLETED
        case _:
            return None


def _never_started(prediction: Mapping[str, Any]) -> bool:
    """Return whether Replicate says that the model has not worked on a prediction, which then costs nothing.

    `started_at` may be missing in any answer, so only an explicit null counts.
    """
    return prediction.get("status") == "aborted" or prediction.get("started_at", "") is None
