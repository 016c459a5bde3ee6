"""The outcome of every behavior of a hosted provider, as a watcher sees it, and the number of submissions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from avatar_creator import AsyncAvatarCreator, Generation
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import AttemptOutcome, GenerationStage, GenerationState
from avatar_creator_tasks.providers.huggingface import Access, HuggingFaceProvider, Limits
from tests.support.decoders import DECODERS
from tests.support.generations import SMALLEST
from tests.support.huggingface_router import Behavior, Fault, RouterFake, unanswering_address
from tests.support.huggingface_router.behavior import Stage
from tests.support.in_process import InProcessService
from tests.support.service import Deployment

KEY = "hf_test_4f1d09c7ab52"
PRICE = 35_000

SHORT = Limits(
    connect_seconds=0.5,
    read_seconds=0.5,
    work_seconds=0.5,
    answer_seconds=1.0,
    first_pause_seconds=0.02,
    max_pause_seconds=0.05,
    tries=2,
)


@dataclass(frozen=True)
class Row:
    """One behavior of the provider and its outcome."""

    behavior: Behavior | Fault
    state: str
    """Last state in the watch: `completed`, `failed`, or `waiting_to_retry` with the delay in seconds."""
    reason: str = ""
    attempt: str = ""
    """Outcome of the attempt."""
    price: int = 0
    """Price of the attempt."""
    submissions: int = 1


def immediate(**settings: Any) -> Behavior:
    """Create the behavior of a job that completes immediately."""
    return Behavior(run_seconds=0.0, **settings)


def fault(stage: Stage = "submit", **settings: Any) -> Behavior:
    """Create a behavior with one fault."""
    return immediate(faults=(Fault(stage=stage, **settings),))


FATAL, RETRYABLE, UNKNOWN = "fatal", "retryable", "submit_unknown"
AGAIN = "waiting_to_retry 10"

QUEUE: dict[str, Row] = {
    "all is well": Row(immediate(), "completed", "", "succeeded", PRICE),
    "two polls answered 503": Row(fault("status", status=503, times=1), "completed", "", "succeeded", PRICE),
    "401": Row(fault(status=401), "failed", "CREDENTIALS", FATAL),
    "402": Row(fault(status=402), "failed", "CREDIT", FATAL),
    "403": Row(fault(status=403), "failed", "CREDENTIALS", FATAL),
    "404, no such model": Row(fault(status=404), "failed", "GONE", FATAL),
    "410, retired host": Row(fault(status=410), "failed", "GONE", FATAL),
    "400": Row(fault(status=400), "failed", "REJECTED", FATAL),
    "422 at the submission": Row(fault(status=422), "failed", "CONTENT_REFUSED", FATAL),
    "429, Retry-After 30": Row(
        fault(status=429, retry_after=30), "waiting_to_retry 30", "OVERLOADED", RETRYABLE
    ),
    "429, Retry-After as a date in 50 s": Row(
        fault(status=429, retry_after=50, retry_after_as_date=True),
        "waiting_to_retry 50",
        "OVERLOADED",
        RETRYABLE,
    ),
    "408": Row(fault(status=408), AGAIN, "UNAVAILABLE", RETRYABLE),
    "500": Row(fault(status=500), AGAIN, "UNAVAILABLE", UNKNOWN, PRICE),
    "503, no runner took it": Row(fault(status=503), AGAIN, "UNAVAILABLE", RETRYABLE),
    "200 with an error body": Row(
        fault(status=200, body={"error": "busy"}), AGAIN, "BAD_ANSWER", UNKNOWN, PRICE
    ),
    "receipt is malformed JSON": Row(fault(how="truncated", status=200), AGAIN, "BAD_ANSWER", UNKNOWN, PRICE),
    "receipt is HTML": Row(fault(how="html"), AGAIN, "UNAVAILABLE", UNKNOWN, PRICE),
    "connection dropped after acceptance": Row(
        fault(how="drop", accepted=True), AGAIN, "UNAVAILABLE", UNKNOWN, PRICE
    ),
    "hang at the first byte": Row(fault(how="hang"), AGAIN, "TIMEOUT", UNKNOWN, PRICE),
    "hang in the middle of the receipt": Row(fault(how="stall"), AGAIN, "TIMEOUT", UNKNOWN, PRICE),
    "every poll answered 500": Row(fault("status", status=500), AGAIN, "UNAVAILABLE", RETRYABLE, PRICE),
    "polls that hang": Row(fault("status", how="hang"), AGAIN, "TIMEOUT", RETRYABLE, PRICE),
    "request forgotten (404)": Row(fault("status", status=404), AGAIN, "UNAVAILABLE", RETRYABLE, PRICE),
    "COMPLETED with a 422 result": Row(
        fault("result", status=422), "failed", "CONTENT_REFUSED", FATAL, PRICE
    ),
    "COMPLETED with a 500 result": Row(
        fault("result", error_type="runner_disconnected"), AGAIN, "UNAVAILABLE", RETRYABLE
    ),
    "result is malformed JSON": Row(fault("result", how="truncated"), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE),
    "result is 200 with an error body": Row(
        fault("result", status=200, body={"error": "no"}), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE
    ),
    "flagged as not safe for work": Row(immediate(nsfw=True), "failed", "NSFW", FATAL, PRICE),
    "picture's address answers 403": Row(fault("image", status=403), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE),
    "HTML instead of a picture": Row(
        fault("image", how="html", status=200), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE
    ),
    "truncated picture": Row(fault("image", how="truncated"), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE),
    "picture of another size": Row(
        immediate(picture_width=64, picture_height=64), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE
    ),
    "picture that stops in the middle": Row(fault("image", how="stall"), AGAIN, "TIMEOUT", RETRYABLE, PRICE),
    "picture in a local file": Row(
        immediate(image_url="file:///etc/passwd"), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE
    ),
    "longer than the deadline": Row(Behavior(hold=True), AGAIN, "TIMEOUT", RETRYABLE, PRICE),
}
"""Behaviors and outcomes of the route `fal-ai`."""

SINGLE: dict[str, Row] = {
    "all is well": Row(immediate(), "completed", "", "succeeded"),
    "503, loading for another 35 s": Row(fault(status=503), "waiting_to_retry 40", "OVERLOADED", RETRYABLE),
    "429": Row(fault(status=429, retry_after=20), "waiting_to_retry 20", "OVERLOADED", RETRYABLE),
    "HTML instead of a picture": Row(fault("result", how="html", status=200), AGAIN, "BAD_ANSWER", RETRYABLE),
    "200 with an error body": Row(
        fault("result", status=200, body={"error": "no"}), AGAIN, "BAD_ANSWER", RETRYABLE
    ),
    "truncated picture": Row(fault("result", how="truncated"), AGAIN, "BAD_ANSWER", RETRYABLE),
    "hang": Row(fault(how="hang"), AGAIN, "TIMEOUT", UNKNOWN),
}
"""Behaviors and outcomes of the route `hf-inference`, whose answer is the picture."""


@contextmanager
def provider(router: RouterFake, base_url: str = "") -> Iterator[HuggingFaceProvider]:
    """Create a provider that uses the fake or another address."""
    access = Access(api_key=KEY, base_url=base_url or router.url, deadline=timedelta(seconds=3))
    yield HuggingFaceProvider(access, DECODERS, limits=SHORT)


async def draw_once(client: AsyncAvatarCreator, project_id: str) -> tuple[Generation, Row]:
    """Start a generation, wait for the end of its first attempt, and return its state and outcome."""
    created = await client.generations.create(project_id, "a woman", width=SMALLEST, height=SMALLEST)
    async for state in client.generations.watch(created.id, timeout=20.0):
        if state.HasField("end_time") or state.HasField("error"):
            break
    [attempt] = await client.generations.attempts(created.id)
    name = GenerationState.Name(state.state).removeprefix("GENERATION_STATE_").lower()
    if not state.HasField("end_time"):
        wait = state.next_attempt_time.ToDatetime() - attempt.end_time.ToDatetime()
        stage = GenerationStage.Name(state.stage).removeprefix("GENERATION_STAGE_").lower()
        name = f"{stage} {round(wait.total_seconds() / 10) * 10}"
    reason = ErrorReason.Name(state.error.reason).removeprefix("ERROR_REASON_").removeprefix("PROVIDER_")
    outcome = AttemptOutcome.Name(attempt.outcome).removeprefix("ATTEMPT_OUTCOME_").lower()
    found = Row(Behavior(), name, "" if reason == "UNSPECIFIED" else reason, outcome, attempt.price_micros, 0)
    assert state.price_micros == attempt.price_micros
    assert attempt.possibly_charged == bool(attempt.price_micros)
    assert KEY not in str(state)
    # A generation that waits for a retry would disturb the next row.
    if not state.HasField("end_time"):
        await client.generations.cancel(created.id)
    return state, found


@pytest.mark.parametrize(
    ("route", "table"), [("fal-ai", QUEUE), ("hf-inference", SINGLE)], ids=["fal-ai", "hf-inference"]
)
async def test_every_behavior_has_its_outcome(
    embedded: Deployment, router: RouterFake, user: str, route: str, table: dict[str, Row]
) -> None:
    lines, wrong = [], []
    async with InProcessService.serving(
        embedded, HUGGINGFACE_API_KEY=KEY, HUGGINGFACE_ROUTE=route, GENERATION_LIMIT_PER_MINUTE="0"
    ) as service:
        with provider(router) as hosted:
            async with service.client(user) as client, service.working(hosted):
                project = await client.projects.create("Outcomes")
                for name, row in table.items():
                    router.reset()
                    router.behave(row.behavior)
                    state, found = await draw_once(client, project.id)
                    count = router.count
                    line = (
                        f"{name:36} {found.state:22} {found.reason:16} {found.attempt:15}"
                        f" {found.price:7} {count}  {state.error.message}"
                    )
                    lines.append(line)
                    got = (found.state, found.reason, found.attempt, found.price, count)
                    if got != (row.state, row.reason, row.attempt, row.price, row.submissions):
                        wrong.append(line)
                    # A refused key opens the circuit, which the next row does not expect.
                    embedded.execute("DELETE FROM route_circuits")
    print("\n".join(lines))
    assert wrong == []


async def test_a_router_that_accepts_no_connection_costs_nothing(
    embedded: Deployment, router: RouterFake, user: str
) -> None:
    async with InProcessService.serving(embedded, HUGGINGFACE_API_KEY=KEY) as service:
        with unanswering_address() as url, provider(router, url) as hosted:
            async with service.client(user) as client, service.working(hosted):
                _, found = await draw_once(client, (await client.projects.create("Outcomes")).id)
    assert (found.state, found.reason, found.attempt, found.price) == (AGAIN, "UNAVAILABLE", RETRYABLE, 0)
