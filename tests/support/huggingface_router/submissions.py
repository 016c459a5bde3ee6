"""Everything that was submitted, and how far it is."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.support.huggingface_router.answers import UNANSWERED, Answer, give
from tests.support.huggingface_router.behaviour import Behavior, Fault, Stage
from tests.support.huggingface_router.fal_apps import Made

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
Provider = Literal["fal-ai", "hf-inference", "endpoint"]


@dataclass(slots=True)
class Submission:
    """A request to make a picture, whether it was accepted or not."""

    provider: Provider
    model: str
    """The provider's name of the model or app, as in the path."""
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    content: bytes
    behaviour: Behavior
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    received_at: float = field(default_factory=time.time)
    submitted_at: float = field(default_factory=time.monotonic)
    answered: int | None = None
    """Status the submission was answered with; None: it got no answer, or not yet."""
    accepted: bool = False
    """Whether there is a job, which costs money."""
    cancelled: bool = False
    """Whether the job was stopped by a cancellation."""
    cancel_requests: int = 0
    polls: int = 0
    results_fetched: int = 0
    images_fetched: int = 0
    image_headers: list[list[tuple[str, str]]] = field(default_factory=list)
    """The headers of each request for a picture, to see what was sent to a host that needs no token."""
    made: Made | None = None
    """What fal's app makes of it."""
    failure: tuple[int, dict[str, str], dict[str, Any]] | None = None
    """Status, headers and body of the result, if the runner refuses or fails it."""
    _finished_at: float | None = None
    _finish: asyncio.Event = field(default_factory=asyncio.Event)
    _spent: Counter[int] = field(default_factory=Counter)

    @staticmethod
    async def receive(
        request: web.Request, provider: Provider, model: str, behaviour: Behavior
    ) -> Submission:
        """The submission that a request is."""
        return Submission(
            provider=provider,
            model=model,
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers=headers_as_received(request),
            content=await request.read(),
            behaviour=behaviour,
        )

    def fault(self, *stages: Stage) -> Fault | None:
        """What goes wrong with the answer about to be given, if anything; counts it."""
        for number, fault in enumerate(self.behaviour.faults):
            if fault.stage in stages and (fault.times is None or self._spent[number] < fault.times):
                self._spent[number] += 1
                return fault
        return None

    def status(self) -> Status:
        """What fal's queue says of it."""
        if self._finished_at is not None:
            return "COMPLETED"
        age = time.monotonic() - self.submitted_at
        if age < self.behaviour.queue_seconds:
            return "IN_QUEUE"
        if self.behaviour.hold or age < self._working_seconds():
            return "IN_PROGRESS"
        return "COMPLETED"

    def queue_position(self) -> int:
        """Requests ahead of it."""
        left = 1 - (time.monotonic() - self.submitted_at) / max(self.behaviour.queue_seconds, 1e-9)
        return max(0, math.ceil(self.behaviour.queue_position * left))

    def inference_seconds(self) -> float:
        """How long the runner took."""
        if self._finished_at is None:
            return self.behaviour.run_seconds
        return max(0.0, self._finished_at - self.submitted_at - self.behaviour.queue_seconds)

    async def answer(self, request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:
        """Answer the submission itself."""
        if fault is None or fault.how not in UNANSWERED:
            self.answered = answer.status
        return await give(request, answer, fault)

    async def completed(self) -> None:
        """Wait until it is completed."""
        if self.behaviour.hold:
            await self._finish.wait()
            return
        left = self._working_seconds() - (time.monotonic() - self.submitted_at)
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._finish.wait()
        except TimeoutError:
            pass

    def finish(self) -> None:
        """Complete it now."""
        if self.status() != "COMPLETED":
            self._finished_at = time.monotonic()
        self._finish.set()

    def to_json(self) -> dict[str, Any]:
        """What the test sees of it."""
        return {
            "provider": self.provider,
            "model": self.model,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [list(header) for header in self.headers],
            "body": _readable(self.content),
            "request_id": self.request_id,
            "received_at": self.received_at,
            "answered": self.answered,
            "accepted": self.accepted,
            "status": self.status() if self.accepted else None,
            "cancelled": self.cancelled,
            "cancel_requests": self.cancel_requests,
            "polls": self.polls,
            "results_fetched": self.results_fetched,
            "images_fetched": self.images_fetched,
            "image_headers": [[list(header) for header in headers] for headers in self.image_headers],
        }

    def _working_seconds(self) -> float:
        return self.behaviour.queue_seconds + self.behaviour.run_seconds


class Submissions:
    """All of them, oldest first."""

    def __init__(self) -> None:
        """There are none."""
        self._all: list[Submission] = []
        self.requests: Counter[str] = Counter()
        """How many requests of each kind came in, faults and refusals included."""

    def clear(self) -> None:
        """Forget them; whoever waits for one is let go."""
        for submission in self._all:
            submission.finish()
        self._all.clear()
        self.requests.clear()

    def add(self, submission: Submission) -> None:
        """Remember one that has just come in."""
        self._all.append(submission)

    def find(self, request_id: str) -> Submission | None:
        """The accepted one of this id."""
        return next((each for each in self._all if each.accepted and each.request_id == request_id), None)

    def finish(self, request_id: str | None) -> int:
        """Complete the job of this id, or all of them; says how many."""
        jobs = [each for each in self._all if each.accepted and request_id in (None, each.request_id)]
        for job in jobs:
            job.finish()
        return len(jobs)

    def to_json(self) -> dict[str, Any]:
        """All of them, and the counters."""
        counters = {
            "submissions": len(self._all),
            "accepted": sum(each.accepted for each in self._all),
            "cancelled": sum(each.cancelled for each in self._all),
            **{
                kind: self.requests[kind]
                for kind in (
                    "submit",
                    "status",
                    "result",
                    "image",
                    "cancel",
                    "unauthorized",
                    "unknown",
                    "outage",
                )
            },
        }
        return {"submissions": [each.to_json() for each in self._all], "counters": counters}


def headers_as_received(request: web.BaseRequest) -> list[tuple[str, str]]:
    """The request's headers in their order and spelling."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]


def _readable(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {"base64": base64.b64encode(content).decode()} if content else None
