"""The outcome of every behavior of a hosted provider, as a watcher sees it, and the number of submissions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, get_args

import pytest
from structlog.testing import capture_logs

from avatar_creator import AsyncAvatarCreator, AttemptOutcome, Generation, GenerationState
from avatar_creator_tasks.providers.huggingface import Access, HuggingFaceProvider, Limits
from tests.support.decoders import DECODERS
from tests.support.generations import CANCELLED, COMPLETED, FAILED, PENDING, SMALLEST
from tests.support.hosted_fake.behavior import Stage
from tests.support.huggingface_router import Behavior, Fault, RouterFake, unanswering_address
from tests.support.huggingface_router.router_plan import PutRefusal
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.studio import Studio

KEY = "hf_test_4f1d09c7ab52"
PRICE = 35_000

SHORT = Limits(
    connect_seconds=0.5,
    read_seconds=0.5,
    work_seconds=0.5,
    answer_seconds=1.0,
    first_pause_seconds=0.02,
    max_pause_seconds=0.05,
    stop_seconds=0.5,
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
    "409": Row(fault(status=409), AGAIN, "UNAVAILABLE", RETRYABLE),
    "429, RateLimit for 70 s": Row(
        fault(status=429, retry_after=30, headers={"RateLimit": '"api";r=0;t=70'}),
        "waiting_to_retry 70",
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
    "no credit for the polls": Row(fault("status", status=402), AGAIN, "CREDIT", RETRYABLE, PRICE),
    "key refused for the result": Row(fault("result", status=401), AGAIN, "CREDENTIALS", RETRYABLE, PRICE),
    "COMPLETED, and the router no longer has the model": Row(
        fault(
            "result",
            status=400,
            made_by="proxy",
            body={"error": "Model not supported by provider fal-ai"},
        ),
        AGAIN,
        "GONE",
        RETRYABLE,
        PRICE,
    ),
    "COMPLETED, and a proxy answers 410": Row(
        fault("result", status=410, made_by="proxy"), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE
    ),
    "request forgotten (404)": Row(fault("status", status=404), AGAIN, "UNAVAILABLE", RETRYABLE, PRICE),
    "COMPLETED with a 422 result": Row(
        fault("result", status=422), "failed", "CONTENT_REFUSED", FATAL, PRICE
    ),
    "COMPLETED with a 500 result": Row(
        fault("result", error_type="runner_disconnected"), AGAIN, "UNAVAILABLE", RETRYABLE
    ),
    "COMPLETED with a 422 result without a type": Row(
        fault("result", status=422, body={"detail": "Potential NSFW content was detected"}),
        "failed",
        "CONTENT_REFUSED",
        FATAL,
        PRICE,
    ),
    "COMPLETED with an uncaught error": Row(
        fault("result", status=500, error_type=""), AGAIN, "UNAVAILABLE", RETRYABLE
    ),
    "COMPLETED with a GPU error": Row(
        fault("result", status=503, error_type=""), AGAIN, "UNAVAILABLE", RETRYABLE
    ),
    "COMPLETED, and a proxy answers 502": Row(
        fault("result", status=502, made_by="proxy"), AGAIN, "UNAVAILABLE", RETRYABLE, PRICE
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
        immediate(picture_width=200, picture_height=300), "completed", "", "succeeded", PRICE
    ),
    "picture of one pixel": Row(
        immediate(picture_width=1, picture_height=1), "failed", "BAD_ANSWER", FATAL, PRICE
    ),
    "picture that stops in the middle": Row(fault("image", how="stall"), AGAIN, "TIMEOUT", RETRYABLE, PRICE),
    "picture in a local file": Row(
        immediate(image_url="file:///etc/passwd"), AGAIN, "BAD_ANSWER", RETRYABLE, PRICE
    ),
    "longer than the deadline": Row(Behavior(hold=True), AGAIN, "TIMEOUT", RETRYABLE, PRICE),
    "longer than the deadline, and cannot be stopped": Row(
        Behavior(hold=True, ignores_cancel=True), AGAIN, "TIMEOUT", RETRYABLE, PRICE
    ),
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
        if state.end_time is not None or state.error is not None:
            break
    [attempt] = await client.generations.attempts(created.id)
    name = state.state.value
    if state.end_time is None:
        wait = present(state.next_attempt_time) - present(attempt.end_time)
        stage = state.stage.value
        name = f"{stage} {round(wait.total_seconds() / 10) * 10}"
    reason = state.error.reason.removeprefix("PROVIDER_") if state.error else ""
    found = Row(Behavior(), name, reason, attempt.outcome.value, attempt.price_micros, 0)
    assert state.price_micros == attempt.price_micros
    if attempt.price_micros:
        assert attempt.possibly_charged
    assert KEY not in str(state)
    # A generation that waits for a retry would disturb the next row.
    if state.end_time is None:
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
                        f" {found.price:7} {count}  {state.error and state.error.explanation}"
                    )
                    lines.append(line)
                    got = (found.state, found.reason, found.attempt, found.price, count)
                    if got != (row.state, row.reason, row.attempt, row.price, row.submissions):
                        wrong.append(line)
                    # A refused key opens the circuit, which the next row does not expect.
                    embedded.execute("DELETE FROM route_circuits")
    print("\n".join(lines))
    assert wrong == []


@dataclass
class Hosted:
    """A user of a service whose worker draws through the fake."""

    studio: Studio
    router: RouterFake

    async def wait_for_attempts(self, generation_id: str, *, resumes: bool) -> list[str]:
        """Let the first attempt end and the second one begin. Return the request ids of both."""
        await self.studio.wait_for_backoff(generation_id, 1)
        self.router.refuse_put(None)
        self.router.behave(always=immediate())
        if resumes:
            self.router.finish()
        await self.studio.retry_now(generation_id, attempt=1)
        assert (await self.studio.wait_for_end(generation_id)).state == COMPLETED
        return [present(attempt.provider_request_id) for attempt in await self.studio.attempts(generation_id)]


@pytest.fixture
async def hosted(embedded: Deployment, router: RouterFake, user: str) -> AsyncIterator[Hosted]:
    """Start a service with such a worker, and connect a user."""
    async with InProcessService.serving(embedded, HUGGINGFACE_API_KEY=KEY) as service:
        with provider(router) as drawing:
            async with service.client(user) as client, service.working(drawing):
                yield Hosted(Studio(service, client, (await client.projects.create("Outcomes")).id), router)


@pytest.mark.parametrize("how", get_args(PutRefusal))
async def test_a_request_that_no_cancellation_reached_is_resumed_after_the_deadline(
    hosted: Hosted, how: PutRefusal
) -> None:
    hosted.router.behave(always=Behavior(hold=True))
    hosted.router.refuse_put(how)
    generation = await hosted.studio.create_generation()

    first, second = await hosted.wait_for_attempts(generation.id, resumes=True)

    assert (first, hosted.router.count) == (second, 1)
    attempts = await hosted.studio.attempts(generation.id)
    assert [attempt.price_micros for attempt in attempts] == [PRICE, 0]


async def test_a_request_that_the_provider_cancelled_is_repeated_after_the_deadline(hosted: Hosted) -> None:
    hosted.router.behave(always=Behavior(queue_seconds=60))
    generation = await hosted.studio.create_generation()

    first, second = await hosted.wait_for_attempts(generation.id, resumes=False)

    assert first != second
    assert hosted.router.count == 2


async def test_a_job_that_failed_without_a_type_is_repeated_and_paid_once(hosted: Hosted) -> None:
    hosted.router.behave(fault("result", status=500, error_type=""))
    generation = await hosted.studio.create_generation()

    first, second = await hosted.wait_for_attempts(generation.id, resumes=False)

    assert first != second
    attempts = await hosted.studio.attempts(generation.id)
    assert [attempt.price_micros for attempt in attempts] == [0, PRICE]
    assert [attempt.possibly_charged for attempt in attempts] == [False, True]


async def test_a_job_that_always_fails_is_ordered_a_limited_number_of_times(hosted: Hosted) -> None:
    hosted.router.behave(always=fault("result", status=500, error_type=""))
    generation = await hosted.studio.create_generation()
    for attempt in (1, 2, 3):
        await hosted.studio.wait_for_backoff(generation.id, attempt)
        await hosted.studio.retry_now(generation.id, attempt=attempt)

    failed = await hosted.studio.wait_for_end(generation.id)

    assert (failed.state, failed.price_micros, hosted.router.count) == (FAILED, 0, 4)


async def test_a_cancellation_that_the_router_refuses_is_repeated_until_it_reaches_the_provider(
    hosted: Hosted,
) -> None:
    studio, router = hosted.studio, hosted.router
    router.behave(always=Behavior(hold=True))
    router.refuse_put("html")
    generation = await studio.create_generation()
    await asyncio.to_thread(router.wait_until_polled)

    with capture_logs() as logs:
        assert (await studio.client.generations.cancel(generation.id)).state == CANCELLED
        await studio.eventually(lambda: router.counters()["cancel"] >= 2)

    [attempt] = await studio.attempts(generation.id)
    assert (attempt.possibly_charged, attempt.price_micros) == (True, PRICE)
    assert "background_job_failed" in {entry["event"] for entry in logs}
    assert "provider_cancellation_answered" not in {entry["event"] for entry in logs}
    assert router.submissions()[0]["status"] == "IN_PROGRESS"
    router.refuse_put(None)
    await studio.eventually(lambda: router.submissions()[0]["cancelled"])
    await studio.eventually(lambda: not studio.service.deployment.rows("quick_work"))


async def test_a_cancellation_that_never_reaches_the_provider_is_given_up(hosted: Hosted) -> None:
    studio, router = hosted.studio, hosted.router
    router.behave(always=Behavior(hold=True))
    router.refuse_put("405")
    generation = await studio.create_generation()
    await asyncio.to_thread(router.wait_until_polled)
    with capture_logs() as logs:
        await studio.client.generations.cancel(generation.id)
        await studio.eventually(lambda: router.counters()["cancel"])
        studio.service.deployment.execute(
            "UPDATE quick_work SET create_time = %s", datetime.now(UTC) - timedelta(minutes=61)
        )
        await studio.eventually(lambda: not studio.service.deployment.rows("quick_work"))

    assert [entry["kind"] for entry in logs if entry["event"] == "background_job_given_up"] == [
        "cancel_request"
    ]
    [attempt] = await studio.attempts(generation.id)
    assert attempt.possibly_charged


@pytest.mark.parametrize(
    ("status", "state", "outcome"),
    [
        (429, PENDING, AttemptOutcome.RETRYABLE),
        (402, FAILED, AttemptOutcome.FATAL),
    ],
    ids=["overloaded", "no credit"],
)
async def test_a_refusal_that_arrives_while_the_worker_stops_costs_nothing(
    embedded: Deployment,
    router: RouterFake,
    user: str,
    status: int,
    state: GenerationState,
    outcome: AttemptOutcome,
) -> None:
    router.behave(fault(status=status))
    attempts = partial(embedded.rows, "generation_attempts")
    service_of = InProcessService.serving(embedded, HUGGINGFACE_API_KEY=KEY)
    async with service_of as service, service.client(user) as client:
        studio = Studio(service, client, (await client.projects.create("Stopped")).id)
        hosted = HuggingFaceProvider(Access(api_key=KEY, base_url=router.url), DECODERS)
        with capture_logs() as logs:
            router.suspend()

            async def answer_after_the_stop() -> None:
                try:
                    await studio.eventually(lambda: "slots_cancelled" in {each["event"] for each in logs})
                finally:
                    router.resume()

            async with service.working(hosted):
                generation = await studio.create_generation()
                await studio.eventually(lambda: [row["outcome"] for row in attempts()] == ["submitting"])
                answering = asyncio.create_task(answer_after_the_stop())
            await answering
        stopped = await client.generations.get(generation.id)
        [attempt] = await studio.attempts(generation.id)

    assert (stopped.state, stopped.price_micros) == (state, 0)
    assert (attempt.possibly_charged, attempt.price_micros) == (False, 0)
    assert attempt.outcome == outcome
    assert len(embedded.rows("route_circuits")) == (state == FAILED)
    assert not embedded.rows("daily_spend")


async def test_a_router_that_accepts_no_connection_costs_nothing(
    embedded: Deployment, router: RouterFake, user: str
) -> None:
    async with InProcessService.serving(embedded, HUGGINGFACE_API_KEY=KEY) as service:
        with unanswering_address() as url, provider(router, url) as hosted:
            async with service.client(user) as client, service.working(hosted):
                _, found = await draw_once(client, (await client.projects.create("Outcomes")).id)
    assert (found.state, found.reason, found.attempt, found.price) == (AGAIN, "UNAVAILABLE", RETRYABLE, 0)
