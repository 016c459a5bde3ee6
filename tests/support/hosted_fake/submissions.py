"""The received submissions and their states."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

from tests.support.hosted_fake.answers import UNANSWERED, Answer, send
from tests.support.hosted_fake.behavior import Behavior, Fault, Stage

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
Provider = Literal["fal-ai", "hf-inference", "endpoint", "replicate"]


@dataclass(slots=True)
class Submission:
    """A request for a picture, accepted or not."""

    provider: Provider
    model: str
    """Name of the model or app in the path."""
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    content: bytes
    behavior: Behavior
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    received_at: float = field(default_factory=time.time)
    submitted_at: float = field(default_factory=time.monotonic)
    answered: int | None = None
    """Status of the answer to the submission; None if there is no answer, or not yet."""
    accepted: bool = False
    """True if a job exists, which costs money."""
    cancelled: bool = False
    """True if a cancellation has stopped the job."""
    cancel_requests: int = 0
    polls: int = 0
    results_fetched: int = 0
    images_fetched: int = 0
    image_headers: list[list[tuple[str, str]]] = field(default_factory=list)
    """Headers of each request for a picture, to check that no token reaches the host of the pictures."""
    unknown_inputs: tuple[str, ...] = ()
    """Names of the given inputs that the model ignores because it does not know them."""
    _finished_at: float | None = None
    _stops_at: float | None = None
    _finish: asyncio.Event = field(default_factory=asyncio.Event)
    _spent: Counter[int] = field(default_factory=Counter)

    @classmethod
    async def receive(cls, request: web.Request, provider: Provider, model: str, behavior: Behavior) -> Self:
        """Read a submission from a request."""
        return cls(
            provider=provider,
            model=model,
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers=headers_as_received(request),
            content=await request.read(),
            behavior=behavior,
        )

    def fault(self, *stages: Stage) -> Fault | None:
        """Return and count the fault of the next answer at one of these stages; None if it succeeds."""
        for number, fault in enumerate(self.behavior.faults):
            if fault.stage in stages and (fault.times is None or self._spent[number] < fault.times):
                self._spent[number] += 1
                return fault
        return None

    def status(self) -> Status:
        """Return the state in fal's queue."""
        if self._finished_at is None and self._stops_at is not None and time.monotonic() >= self._stops_at:
            self.cancel()
        if self._finished_at is not None:
            return "COMPLETED"
        age = time.monotonic() - self.submitted_at
        if age < self.behavior.queue_seconds:
            return "IN_QUEUE"
        if self.behavior.hold or age < self._working_seconds():
            return "IN_PROGRESS"
        return "COMPLETED"

    def queue_position(self) -> int:
        """Return the number of requests ahead in the queue."""
        left = 1 - (time.monotonic() - self.submitted_at) / max(self.behavior.queue_seconds, 1e-9)
        return max(0, math.ceil(self.behavior.queue_position * left))

    def inference_seconds(self) -> float:
        """Return the duration of the job."""
        if self._finished_at is None:
            return self.behavior.run_seconds
        return max(0.0, self._finished_at - self.submitted_at - self.behavior.queue_seconds)

    async def answer(self, request: web.Request, answer: Answer, fault: Fault | None) -> web.StreamResponse:
        """Send the answer to the submission itself."""
        if fault is None or fault.how not in UNANSWERED:
            self.answered = answer.status
        return await send(request, answer, fault)

    async def completed(self) -> None:
        """Wait until the job is completed."""
        if self.behavior.hold:
            await self._finish.wait()
            return
        left = self._working_seconds() - (time.monotonic() - self.submitted_at)
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._finish.wait()
        except TimeoutError:
            pass

    def cancel(self) -> None:
        """Stop the job now."""
        self.cancelled = True
        self._finished_at = time.monotonic()
        self._finish.set()

    def request_stop(self) -> None:
        """Let the runner stop the job after its time for that."""
        if self._stops_at is None:
            self._stops_at = time.monotonic() + self.behavior.stop_seconds

    def seconds_since_completion(self) -> float:
        """Return the time since the job completed; negative if it has not completed."""
        completed_at = self._finished_at
        if completed_at is None:
            completed_at = self.submitted_at + self._working_seconds()
        return time.monotonic() - completed_at

    def let_pass(self, seconds: float) -> None:
        """Make the submission this much older."""
        self.submitted_at -= seconds
        self.received_at -= seconds
        if self._finished_at is not None:
            self._finished_at -= seconds
        if self._stops_at is not None:
            self._stops_at -= seconds

    def header(self, name: str) -> str:
        """Return the value of a header; empty if it is missing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def finish(self) -> None:
        """Complete the job now."""
        if self.status() != "COMPLETED":
            self._finished_at = time.monotonic()
        self._finish.set()

    def to_json(self) -> dict[str, Any]:
        """Return the view of the submission that tests receive."""
        return {
            "provider": self.provider,
            "model": self.model,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [list(header) for header in self.headers],
            "body": _readable(self.content),
            "unknown_inputs": list(self.unknown_inputs),
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
        return self.behavior.queue_seconds + self.behavior.run_seconds


class Submissions:
    """All submissions, oldest first."""

    def __init__(self) -> None:
        """Create an empty list."""
        self._all: list[Submission] = []
        self.requests: Counter[str] = Counter()
        """Number of received requests of each kind, including failed and refused ones."""

    def clear(self) -> None:
        """Finish and remove all submissions."""
        for submission in self._all:
            submission.finish()
        self._all.clear()
        self.requests.clear()

    def add(self, submission: Submission) -> None:
        """Add a submission that has just arrived."""
        self._all.append(submission)

    def find(self, request_id: str) -> Submission | None:
        """Return the accepted submission with this id; None if there is none."""
        return next((each for each in self._all if each.accepted and each.request_id == request_id), None)

    def let_pass(self, seconds: float) -> None:
        """Make all submissions this much older."""
        for each in self._all:
            each.let_pass(seconds)

    def finish(self, request_id: str | None) -> int:
        """Complete the job with this id, or all jobs for None; return their number."""
        jobs = [each for each in self._all if each.accepted and request_id in (None, each.request_id)]
        for job in jobs:
            job.finish()
        return len(jobs)

    def to_json(self) -> dict[str, Any]:
        """Return all submissions and the counters."""
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
                    "mapping",
                )
            },
        }
        return {"submissions": [each.to_json() for each in self._all], "counters": counters}


def headers_as_received(request: web.BaseRequest) -> list[tuple[str, str]]:
    """Return the request's headers in their original order and spelling."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers]


def _readable(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {"base64": base64.b64encode(content).decode()} if content else None
