"""What the provider `huggingface` sends, and what it makes of everything that can come back."""

from __future__ import annotations

import asyncio
import base64
import logging
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image, ImageChops

from avatar_creator_server.generations.routes import Lora, Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import (
    Portrait,
    PortraitRequest,
    Provider,
    ProviderError,
    Reference,
    Reports,
)
from avatar_creator_tasks.providers.huggingface import Access, HuggingFaceProvider, Limits
from avatar_creator_tasks.providers.huggingface.excerpt import excerpt
from avatar_creator_tasks.providers.huggingface.outcomes import Sign, Step, failure
from avatar_creator_tasks.providers.huggingface.picture_addresses import fetchable
from avatar_creator_tasks.providers.huggingface.pictures import BadPictureError, read_picture
from avatar_creator_tasks.providers.huggingface.progress import Estimate
from tests import pictures
from tests.support.huggingface_router import Behavior, Fault, RouterFake, unanswering_address
from tests.support.ports import free_port

KEY = "hf_QmVfKxTgLpZrWnYcDsAbEuHjMiOvXtRe"

ROUTE = Route(
    provider="huggingface",
    name="fal-ai",
    model="black-forest-labs/FLUX.1-dev",
    model_revision="",
    lora=None,
    supports=frozenset({"prompt", "steps", "guidance_scale"}),
)
LORA = Lora(repository="XLabs-AI/flux-RealismLora", weight_file="", revision="", scale=0.8, trigger="")
REQUEST = PortraitRequest(
    route=ROUTE,
    prompt="a confident business woman",
    attributes=Attributes(),
    seed=4_294_967_295,
    width=128,
    height=160,
    steps=20,
    guidance_scale=2.75,
)
LIMITS = Limits(
    first_pause_seconds=0.01,
    longest_pause_seconds=0.02,
    tries=3,
    answer_bytes=64 * 1024,
    picture_bytes=512 * 1024,
    picture_pixels=4_000_000,
)
HURRIED = replace(
    LIMITS, connect_seconds=0.1, read_seconds=0.1, work_seconds=0.1, answer_seconds=0.15, cancel_seconds=0.1
)
"""For a submission that hangs."""
PATIENT = replace(LIMITS, read_seconds=0.25, work_seconds=0.25, tries=2)
"""For what hangs after a submission, which is not to hang."""
HANGING = ("hang", "stall", "trickle")


@dataclass
class Told:
    """What the provider reported."""

    ids: list[str] = field(default_factory=list)
    parts: list[float] = field(default_factory=list)

    @property
    def reports(self) -> Reports:
        async def submitted(request_id: str) -> None:
            self.ids.append(request_id)

        async def progress(part: float) -> None:
            self.parts.append(part)

        return Reports(submitted, progress)


class Seen:
    """Everything that left the provider in one test, to look for the key in it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def portrait(self, portrait: Portrait) -> Portrait:
        self.texts += [*portrait.facts, *portrait.facts.values(), *portrait.warnings, repr(portrait)]
        return portrait

    def error(self, error: BaseException) -> None:
        self.texts += [str(error), repr(error), str(getattr(error, "message", ""))]
        self.texts += traceback.TracebackException.from_exception(error, capture_locals=True).format()


@pytest.fixture(scope="module")
def router() -> Iterator[RouterFake]:
    with RouterFake() as running:
        yield running


@pytest.fixture
def fake(router: RouterFake) -> RouterFake:
    router.reset()
    router.behave(always=Behavior(run_seconds=0))
    return router


@pytest.fixture
def seen() -> Seen:
    return Seen()


class KeptLogs(logging.Handler):
    """Every line that any library logs, at any level."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@pytest.fixture(autouse=True)
def key_is_nowhere(seen: Seen, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The key is in no log, whoever writes it at whatever level, in no error, and in no fact."""
    root, handler = logging.getLogger(), KeptLogs(seen.texts)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)
    root.removeHandler(handler)
    assert not [text for text in (*capfd.readouterr(), *seen.texts) if KEY[3:] in text]


@asynccontextmanager
async def provider_of(
    fake: RouterFake | str, *, limits: Limits = LIMITS, **access: Any
) -> AsyncIterator[HuggingFaceProvider]:
    url = fake if isinstance(fake, str) else fake.url
    settings: dict[str, Any] = {"base_url": url, "endpoint_url": url, "deadline": timedelta(seconds=60)}
    provider = HuggingFaceProvider(Access(KEY, **(settings | access)), limits=limits)
    try:
        yield provider
    finally:
        await provider.close()


async def drawn(
    fake: RouterFake, seen: Seen, request: PortraitRequest = REQUEST, told: Told | None = None, **more: Any
) -> Portrait:
    """The portrait, which is made without an error."""
    async with provider_of(fake, **more) as provider:
        return seen.portrait(await provider.generate(request, (told or Told()).reports))


async def refused(
    fake: RouterFake | str,
    seen: Seen,
    request: PortraitRequest = REQUEST,
    told: Told | None = None,
    **more: Any,
) -> ProviderError:
    """The error that ends it."""
    async with provider_of(fake, **more) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.generate(request, (told or Told()).reports)
    seen.error(caught.value)
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()
    return caught.value


def by_route(name: str, **changes: Any) -> PortraitRequest:
    """The request by another route."""
    return replace(REQUEST, route=replace(ROUTE, name=name), **changes)


def header_of(headers: list[list[str]], name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


def only_submission(fake: RouterFake) -> dict[str, Any]:
    (submission,) = fake.submissions()
    return submission


# What everything that can come back means.


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong, and what is to be made of it."""

    name: str
    fault: Fault | Behavior
    reason: str
    follows: str = ""
    """Of `retryable`, `charged`, `submit_unknown` and `request_alive` those that hold."""
    wait: tuple[float, float] = (0, 0)
    """Least and most seconds of `retry_after`."""
    asked: int | None = None
    """How often the question was asked that the fault is about; None: does not matter."""

    @property
    def limits(self) -> Limits:
        if not isinstance(self.fault, Fault) or self.fault.how not in HANGING:
            return LIMITS
        return HURRIED if self.fault.stage in ("submit", "cancel") else PATIENT


def status(code: int, stage: str = "submit", **more: Any) -> Fault:
    return Fault(stage=stage, status=code, **more)  # type: ignore[arg-type]


def how(way: str, stage: str = "submit", **more: Any) -> Fault:
    return Fault(stage=stage, how=way, **more)  # type: ignore[arg-type]


ORPHAN = "retryable charged submit_unknown"
ALIVE = "retryable charged request_alive"
EVERY_TRY = -1

AT_SUBMISSION = [
    Case("key refused", status(401), "CREDENTIALS"),
    Case("key without permission", status(403), "CREDENTIALS"),
    Case("gateway in front", how("html", status=403), "REJECTED"),
    Case("no credit", status(402), "CREDIT"),
    Case(
        "no credit, as text", status(402, body="Pay-as-you go is not enabled for provider fal-ai"), "CREDIT"
    ),
    Case(
        "account locked",
        status(403, body={"detail": "User is locked. Reason: Exhausted balance. Top up your balance"}),
        "CREDIT",
    ),
    Case("no such app", status(404), "GONE"),
    Case("host retired", status(410), "GONE"),
    Case("refused with 400", status(400), "REJECTED"),
    Case("refused with 413", status(413), "REJECTED"),
    Case("refused with 418", status(418), "REJECTED"),
    Case(
        "refused with 422", status(422, body={"detail": [{"loc": ["body", "seed"], "msg": "x"}]}), "REJECTED"
    ),
    Case("content refused with 422", status(422, error_type="content_policy_violation"), "CONTENT_REFUSED"),
    Case("content refused with 400", status(400, error_type="content_policy_violation"), "CONTENT_REFUSED"),
    Case(
        "400 that may be repeated",
        status(400, headers={"X-Fal-Retryable": "true"}),
        "UNAVAILABLE",
        "retryable",
    ),
    Case(
        "400 that needs a retry", status(400, headers={"X-Fal-Needs-Retry": "1"}), "UNAVAILABLE", "retryable"
    ),
    Case("request timeout", status(408), "UNAVAILABLE", "retryable"),
    Case("too many requests", status(429), "OVERLOADED", "retryable"),
    Case("too many, for 30 s", status(429, retry_after=30), "OVERLOADED", "retryable", (30, 30)),
    Case(
        "too many, until a date",
        status(429, retry_after=30, retry_after_as_date=True),
        "OVERLOADED",
        "retryable",
        (25, 31),
    ),
    Case(
        "too many, for ever",
        status(429, headers={"Retry-After": "9" * 400}),
        "OVERLOADED",
        "retryable",
        (3600, 3600),
    ),
    Case(
        "too many, until a date long past",
        status(429, retry_after=-900, retry_after_as_date=True),
        "OVERLOADED",
        "retryable",
    ),
    Case("too many, for gibberish", status(429, headers={"Retry-After": "soon"}), "OVERLOADED", "retryable"),
    Case("no runner", status(503, error_type="runner_scheduling_failure"), "UNAVAILABLE", "retryable"),
    Case("500", status(500), "UNAVAILABLE", ORPHAN),
    Case("502 of a gateway", how("html", status=502), "UNAVAILABLE", ORPHAN),
    Case(
        "503 of a gateway",
        status(503, body="<html>", headers={"X-Fal-Error-Type": ""}),
        "UNAVAILABLE",
        ORPHAN,
    ),
    Case("504", status(504), "UNAVAILABLE", ORPHAN),
    Case("599", status(599), "UNAVAILABLE", ORPHAN),
    Case(
        "sent elsewhere", status(307, headers={"Location": "https://127.0.0.1/"}), "BAD_ANSWER", "retryable"
    ),
    Case("hang at the first byte", how("hang"), "TIMEOUT", ORPHAN),
    Case("hang after it was taken", how("hang", accepted=True), "TIMEOUT", ORPHAN),
    Case("hang amid the receipt", how("stall", accepted=True), "TIMEOUT", ORPHAN),
    Case("receipt that drips", how("trickle", accepted=True), "TIMEOUT", ORPHAN),
    Case("dropped before it was taken", how("drop"), "UNAVAILABLE", ORPHAN),
    Case("dropped after it was taken", how("drop", accepted=True), "UNAVAILABLE", ORPHAN),
    Case("reset after it was taken", how("reset", accepted=True), "UNAVAILABLE", ORPHAN),
    Case("cut amid the receipt", how("cut", accepted=True), "UNAVAILABLE", ORPHAN),
    Case("malformed receipt", how("truncated", accepted=True), "BAD_ANSWER", ORPHAN),
    Case("empty receipt", how("empty", status=200, accepted=True), "BAD_ANSWER", ORPHAN),
    Case("HTML for a receipt", how("html", status=200, accepted=True), "BAD_ANSWER", ORPHAN),
    Case("endless receipt", how("endless", accepted=True), "BAD_ANSWER", ORPHAN),
    Case("receipt that is a list", status(200, body=[1], accepted=True), "BAD_ANSWER", ORPHAN),
    Case(
        "receipt without an id", status(200, body={"status": "IN_QUEUE"}, accepted=True), "BAD_ANSWER", ORPHAN
    ),
    Case(
        "receipt with a bad id",
        status(200, body={"request_id": "../.."}, accepted=True),
        "BAD_ANSWER",
        ORPHAN,
    ),
    Case("error as a receipt", status(200, body={"error": "Oh no"}, accepted=True), "BAD_ANSWER", ORPHAN),
]
WHILE_IT_DRAWS = [
    Case("key refused", status(401, "status"), "CREDENTIALS", "charged request_alive", asked=1),
    Case("no credit", status(402, "status"), "CREDIT", "charged request_alive", asked=1),
    Case("not known any more", status(404, "status"), "UNAVAILABLE", "retryable charged", asked=EVERY_TRY),
    Case("host retired", status(410, "status"), "GONE", "charged", asked=1),
    Case("status refused", status(405, "status"), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case("500 for ever", status(500, "status"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case("502 of a gateway for ever", how("html", "status"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case("too many requests for ever", status(429, "status"), "OVERLOADED", ALIVE, asked=EVERY_TRY),
    Case("too many, for 30 s", status(429, "status", retry_after=30), "OVERLOADED", ALIVE, (30, 30), asked=1),
    Case("dropped for ever", how("drop", "status"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case("hang for ever", how("hang", "status"), "TIMEOUT", ALIVE, asked=EVERY_TRY),
    Case("malformed status", how("truncated", "status"), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case("endless status", how("endless", "status"), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case(
        "unheard-of status",
        status(200, "status", body={"status": ["?"]}),
        "BAD_ANSWER",
        ALIVE,
        asked=EVERY_TRY,
    ),
]
AT_ITS_RESULT = [
    Case("content refused", status(422, "result"), "CONTENT_REFUSED", "charged", asked=1),
    Case(
        "input refused", status(422, "result", error_type="image_too_small"), "REJECTED", "charged", asked=1
    ),
    Case(
        "input refused, and not charged",
        status(422, "result", error_type="image_too_small", headers={"X-Fal-Billable-Units": "0"}),
        "REJECTED",
        asked=1,
    ),
    Case("not safe for work", Behavior(run_seconds=0, nsfw=True), "NSFW", "charged"),
    Case("failed with 500", status(500, "result"), "UNAVAILABLE", "retryable", asked=EVERY_TRY),
    Case("failed with 503", status(503, "result"), "UNAVAILABLE", "retryable", asked=EVERY_TRY),
    Case("took too long", status(504, "result", error_type="generation_timeout"), "UNAVAILABLE", "retryable"),
    Case(
        "failed, and would again",
        status(500, "result", error_type="internal_server_error", headers={"X-Fal-Retryable": "false"}),
        "REJECTED",
    ),
    Case(
        "400 that may be repeated",
        status(400, "result", error_type="downstream_service_error"),
        "UNAVAILABLE",
        "retryable charged",
    ),
    Case("cancelled there", status(499, "result"), "UNAVAILABLE", "retryable charged", asked=1),
    Case("502 of a gateway for ever", how("html", "result"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case(
        "not finished after all",
        status(400, "result", body={"detail": "Request is still in progress"}),
        "UNAVAILABLE",
        ALIVE,
        asked=EVERY_TRY,
    ),
    Case("malformed result", how("truncated", "result"), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case("dropped for ever", how("drop", "result"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case(
        "error as a result",
        status(200, "result", body={"detail": "Oh no"}),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "result without pictures",
        status(200, "result", body={"images": []}),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "picture as data",
        Behavior(run_seconds=0, image_url="data:image/png;base64,AAAA"),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "picture on this machine",
        Behavior(run_seconds=0, image_url="file:///etc/passwd"),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case(
        "picture behind a login",
        Behavior(run_seconds=0, image_url="http://a:b@127.0.0.1/"),
        "BAD_ANSWER",
        "retryable charged",
    ),
]
AT_ITS_PICTURE = [
    Case("link refused", status(403, "image"), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case("link wants a key", status(401, "image"), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case("expired", status(404, "image"), "UNAVAILABLE", "retryable charged", asked=EVERY_TRY),
    Case("500 for ever", status(500, "image"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case("too many requests", status(429, "image", retry_after=7), "OVERLOADED", ALIVE, (7, 7), asked=1),
    Case("dropped for ever", how("drop", "image"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case("cut amid the picture", how("cut", "image"), "UNAVAILABLE", ALIVE, asked=EVERY_TRY),
    Case("hang amid the picture", how("stall", "image"), "TIMEOUT", ALIVE, asked=EVERY_TRY),
    Case("HTML for a picture", how("html", "image", status=200), "BAD_ANSWER", ALIVE, asked=EVERY_TRY),
    Case("truncated picture", how("truncated", "image"), "BAD_ANSWER", "retryable charged", asked=EVERY_TRY),
    Case(
        "text called a picture",
        status(200, "image", body="hello", headers={"Content-Type": "image/png"}),
        "BAD_ANSWER",
        ALIVE,
        asked=EVERY_TRY,
    ),
    Case("endless picture", how("endless", "image"), "BAD_ANSWER", "retryable charged", asked=1),
    Case(
        "too many pixels",
        Behavior(run_seconds=0, picture_width=9000, picture_height=8000),
        "BAD_ANSWER",
        "retryable charged",
        asked=1,
    ),
    Case(
        "another size",
        Behavior(run_seconds=0, picture_width=160, picture_height=128),
        "BAD_ANSWER",
        "retryable charged",
        asked=1,
    ),
    Case("round and round", status(302, "image", headers={"Location": "0.png"}), "BAD_ANSWER", ALIVE),
    Case("led to a file", status(302, "image", headers={"Location": "file:///etc"}), "BAD_ANSWER", ALIVE),
]
IN_A_SINGLE_REQUEST = [
    Case("key refused", status(401), "CREDENTIALS"),
    Case("no credit", status(402), "CREDIT"),
    Case("key without permission", status(403), "CREDENTIALS"),
    Case("no such model", status(404), "GONE"),
    Case("model retired", status(410), "GONE"),
    Case(
        "model not served",
        status(400, body={"error": "Model not supported by provider hf-inference"}),
        "GONE",
    ),
    Case("refused with 400", status(400, body={"error": ["Error in `inputs`: too long"]}), "REJECTED"),
    Case("too many, for 9 s", status(429, retry_after=9), "OVERLOADED", "retryable", (9, 9)),
    Case("model loading", status(503), "OVERLOADED", "retryable", (35, 36)),
    Case(
        "model loading for days",
        status(503, body={"error": "is currently loading", "estimated_time": 1e300}),
        "OVERLOADED",
        "retryable",
        (3600, 3600),
    ),
    Case("endpoint starting", status(503, body="Service Unavailable"), "UNAVAILABLE", "retryable"),
    Case("500", status(500), "UNAVAILABLE", ORPHAN),
    Case("model too busy", status(504), "UNAVAILABLE", ORPHAN),
    Case("hang at the first byte", how("hang"), "TIMEOUT", ORPHAN),
    Case("hang amid the picture", how("stall", "result"), "TIMEOUT", ORPHAN),
    Case("dropped after it was drawn", how("drop", "result"), "UNAVAILABLE", ORPHAN),
    Case("cut amid the picture", how("cut", "result"), "UNAVAILABLE", ORPHAN),
    Case("truncated picture", how("truncated", "result"), "BAD_ANSWER", "retryable charged"),
    Case("HTML for a picture", how("html", "result", status=200), "BAD_ANSWER", "retryable charged"),
    Case("nothing for a picture", how("empty", "result"), "BAD_ANSWER", "retryable charged"),
    Case(
        "error for a picture",
        status(200, "result", body={"error": "Oh no"}),
        "BAD_ANSWER",
        "retryable charged",
    ),
    Case("endless picture", how("endless", "result"), "BAD_ANSWER", "retryable charged"),
    Case("another size", Behavior(run_seconds=0, picture_width=144), "BAD_ANSWER", "retryable charged"),
]


def cases(*lists: tuple[str, list[Case]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("route", "case"),
        [
            pytest.param(route, case, id=f"{route}: {case.name}")
            for route, several in lists
            for case in several
        ],
    )


@cases(
    ("fal-ai", AT_SUBMISSION),
    ("hf-inference", IN_A_SINGLE_REQUEST),
    ("endpoint", IN_A_SINGLE_REQUEST[:3] + IN_A_SINGLE_REQUEST[-7:]),
)
async def test_submission_that_fails_is_made_once(
    fake: RouterFake, seen: Seen, route: str, case: Case
) -> None:
    await check(fake, seen, by_route(route), case)


@cases(("fal-ai", WHILE_IT_DRAWS))
async def test_request_that_stands_is_not_submitted_again_while_it_draws(
    fake: RouterFake, seen: Seen, route: str, case: Case
) -> None:
    await check(fake, seen, by_route(route), case)


@cases(("fal-ai", AT_ITS_RESULT))
async def test_result_that_is_none_is_told_from_one_that_did_not_come(
    fake: RouterFake, seen: Seen, route: str, case: Case
) -> None:
    await check(fake, seen, by_route(route), case)


@cases(("fal-ai", AT_ITS_PICTURE))
async def test_picture_that_is_none_is_told_from_one_that_did_not_come(
    fake: RouterFake, seen: Seen, route: str, case: Case
) -> None:
    await check(fake, seen, by_route(route), case)


async def check(fake: RouterFake, seen: Seen, request: PortraitRequest, case: Case) -> None:
    fault = case.fault
    fake.behave(fault if isinstance(fault, Behavior) else Behavior(run_seconds=0, faults=(fault,)))
    told = Told()
    error = await refused(fake, seen, request, told, limits=case.limits)
    holds = {
        name for name in ("retryable", "charged", "submit_unknown", "request_alive") if getattr(error, name)
    }
    assert (error.reason, holds) == (f"PROVIDER_{case.reason}", set(case.follows.split())), error.message
    least, most = case.wait
    assert least <= error.retry_after.total_seconds() <= most
    counters = fake.counters()
    assert counters["submissions"] == 1
    stage = fault.stage if isinstance(fault, Fault) else "image"
    if case.asked is not None:
        asked = case.limits.tries if case.asked == EVERY_TRY else case.asked
        assert counters[stage] == asked
    is_known = request.route.name == "fal-ai" and stage != "submit"
    assert len(told.ids) == is_known
    assert all(0 <= part < 1 for part in told.parts)


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference", "endpoint"])
async def test_refused_connection_costs_nothing(seen: Seen, route: str) -> None:
    error = await refused(f"http://127.0.0.1:{free_port()}", seen, by_route(route))
    assert (error.reason, error.retryable, error.charged, error.submit_unknown) == (
        "PROVIDER_UNAVAILABLE",
        True,
        False,
        False,
    )


async def test_unknown_host_costs_nothing(seen: Seen) -> None:
    error = await refused("http://router.invalid", seen)
    assert (error.reason, error.charged, error.submit_unknown) == ("PROVIDER_UNAVAILABLE", False, False)


async def test_hang_at_connecting_costs_nothing(seen: Seen) -> None:
    with unanswering_address() as url:
        error = await refused(url, seen, limits=HURRIED)
    assert (error.reason, error.retryable, error.charged, error.submit_unknown) == (
        "PROVIDER_UNAVAILABLE",
        True,
        False,
        False,
    )


@pytest.mark.parametrize("step", list(Step))
def test_table_has_a_row_for_every_status(step: Step) -> None:
    for code in range(300, 600):
        error = failure(step, (str(code), f"{code // 100}xx"))
        assert error.reason.startswith("PROVIDER_")
        assert error.message


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize(
    "sign", [Sign.NOT_CONNECTED, Sign.NO_ANSWER, Sign.LOST, Sign.DEADLINE, Sign.TOO_LARGE]
)
def test_table_has_a_row_for_every_answer_that_does_not_come(step: Step, sign: Sign) -> None:
    assert failure(step, (sign,)).reason.startswith("PROVIDER_")


@pytest.mark.parametrize("stage", ["status", "result", "image"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 500}, id="500"),
        pytest.param({"status": 429, "retry_after": 0}, id="429"),
        pytest.param({"how": "html"}, id="502 of a gateway"),
        pytest.param({"how": "drop"}, id="dropped"),
        pytest.param({"how": "truncated"}, id="truncated"),
        pytest.param({"status": 404}, id="404"),
    ],
)
async def test_passing_failure_after_submission_is_asked_through(
    fake: RouterFake, seen: Seen, stage: Any, fault: Mapping[str, Any]
) -> None:
    fake.behave(Behavior(run_seconds=0, faults=(Fault(stage=stage, times=1, **fault),)))
    portrait = await drawn(fake, seen)
    assert portrait.image.size == (128, 160)
    assert fake.counters()["submissions"] == 1


# What is sent.


async def test_text_to_image_app_gets_the_documented_body(fake: RouterFake, seen: Seen) -> None:
    portrait = await drawn(fake, seen, bill_to="acme")
    submission = only_submission(fake)
    assert (submission["method"], submission["path"], submission["query"]) == (
        "POST",
        "/fal-ai/fal-ai/flux/dev",
        "_subdomain=queue",
    )
    assert submission["body"] == {
        "prompt": "a confident business woman",
        "image_size": {"width": 128, "height": 160},
        "num_inference_steps": 20,
        "guidance_scale": 2.75,
        "seed": 4_294_967_295,
        "num_images": 1,
        "output_format": "png",
        "enable_safety_checker": True,
    }
    sent = {name.lower(): value for name, value in submission["headers"]}
    assert sent["authorization"] == f"Bearer {KEY}"
    assert sent["content-type"] == "application/json"
    assert sent["x-hf-bill-to"] == "acme"
    assert sent["x-fal-no-retry"] == "1"
    assert sent["x-app-fal-disable-fallback"] == "1"
    assert sent["x-fal-request-timeout"] == "60"
    assert portrait.facts == {
        "request": f"fal-ai/flux/requests/{submission['request_id']}",
        "seed": "4294967295",
        "inference_seconds": "0",
        "billable_units": "1",
    }
    assert portrait.warnings == ()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param({}, "XLabs-AI/flux-RealismLora", id="repository"),
        pytest.param(
            {"weight_file": "lora.safetensors"},
            "https://huggingface.co/XLabs-AI/flux-RealismLora/resolve/main/lora.safetensors",
            id="file",
        ),
        pytest.param(
            {"weight_file": "in a/lora.safetensors", "revision": "refs/pr/1"},
            "https://huggingface.co/XLabs-AI/flux-RealismLora/resolve/refs%2Fpr%2F1/in%20a/lora.safetensors",
            id="file of a revision",
        ),
    ],
)
async def test_lora_goes_to_the_app_for_loras(
    fake: RouterFake, seen: Seen, changes: Mapping[str, Any], path: str
) -> None:
    route = replace(ROUTE, lora=replace(LORA, **changes))
    await drawn(fake, seen, replace(REQUEST, route=route))
    submission = only_submission(fake)
    assert submission["path"] == "/fal-ai/fal-ai/flux-lora"
    assert submission["body"]["loras"] == [{"path": path, "scale": 0.8}]


async def test_lora_revision_that_cannot_be_asked_for_is_said(fake: RouterFake, seen: Seen) -> None:
    route = replace(ROUTE, lora=replace(LORA, revision="0ef5fff"))
    portrait = await drawn(fake, seen, replace(REQUEST, route=route))
    assert "weight file" in portrait.warnings[0]


async def test_lora_changes_the_pixels_and_the_same_request_does_not(fake: RouterFake, seen: Seen) -> None:
    with_lora = replace(REQUEST, route=replace(ROUTE, lora=LORA))
    plain, again = await drawn(fake, seen), await drawn(fake, seen)
    adapted, stronger = (
        await drawn(fake, seen, with_lora),
        await drawn(fake, seen, replace(REQUEST, route=replace(ROUTE, lora=replace(LORA, scale=1.0)))),
    )
    assert plain.image.tobytes() == again.image.tobytes()
    assert len({picture.image.tobytes() for picture in (plain, adapted, stronger)}) == 3


@pytest.mark.parametrize(
    ("lora", "app"), [(None, "fal-ai/flux-kontext/dev"), (LORA, "fal-ai/flux-kontext-lora")]
)
async def test_reference_goes_to_kontext_at_the_size_asked_for(
    fake: RouterFake, seen: Seen, lora: Lora | None, app: str
) -> None:
    route = replace(ROUTE, name="fal-ai-kontext", lora=lora)
    scene = pictures.scene(300, 100)
    request = replace(REQUEST, route=route, width=912, height=1152, reference=Reference(scene, strength=0.5))
    told = Told()
    portrait = await drawn(fake, seen, request, told)
    submission = only_submission(fake)
    body = submission["body"]
    assert submission["path"] == f"/fal-ai/{app}"
    assert told.ids == [f"{'/'.join(app.split('/')[:2])}/requests/{submission['request_id']}"]
    head, _, encoded = body.pop("image_url").partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(BytesIO(base64.b64decode(encoded))) as sent:
        assert (sent.size, sent.mode) == ((912, 1152), "RGB")
    assert body.pop("loras", None) == ([{"path": LORA.repository, "scale": 0.8}] if lora else None)
    assert body == {
        "prompt": "a confident business woman",
        "num_inference_steps": 20,
        "guidance_scale": 2.75,
        "seed": 4_294_967_295,
        "num_images": 1,
        "output_format": "png",
        "enable_safety_checker": True,
        "resolution_mode": "match_input",
    }
    assert (portrait.image.size, portrait.warnings) == ((912, 1152), ())


async def test_kontext_that_draws_another_size_is_scaled_and_says_so(fake: RouterFake, seen: Seen) -> None:
    request = by_route("fal-ai-kontext", reference=Reference(pictures.scene(), strength=0.5))
    portrait = await drawn(fake, seen, request)
    other = await drawn(
        fake, seen, replace(request, reference=Reference(Image.new("RGB", (64, 64), "teal"), 0.5))
    )
    assert portrait.image.size == (128, 160)
    assert portrait.warnings == (
        "the provider drew 912x1152 pixels; the picture was scaled and cropped to 128x160",
    )
    assert ImageChops.difference(portrait.image, other.image).getbbox() is not None


@pytest.mark.parametrize(
    ("route", "path", "bill_to"),
    [
        ("hf-inference", "/hf-inference/models/black-forest-labs/FLUX.1-dev", ["acme"]),
        ("endpoint", "/", []),
    ],
)
async def test_single_request_has_the_documented_body(
    fake: RouterFake, seen: Seen, route: str, path: str, bill_to: list[str]
) -> None:
    told = Told()
    portrait = await drawn(fake, seen, by_route(route, negative_prompt="blurry"), told, bill_to="acme")
    submission = only_submission(fake)
    assert (submission["method"], submission["path"], submission["query"]) == ("POST", path, "")
    assert submission["body"] == {
        "inputs": "a confident business woman",
        "parameters": {
            "width": 128,
            "height": 160,
            "num_inference_steps": 20,
            "guidance_scale": 2.75,
            "seed": 4_294_967_295,
            "negative_prompt": "blurry",
        },
    }
    headers = submission["headers"]
    assert header_of(headers, "authorization") == [f"Bearer {KEY}"]
    assert header_of(headers, "accept") == ["image/png"]
    assert header_of(headers, "x-hf-bill-to") == bill_to
    assert not [name for name, _ in headers if name.lower().startswith("x-fal")]
    assert told.ids == []
    assert (portrait.image.mode, portrait.image.size) == ("RGB", (128, 160))
    assert list(portrait.facts) == ["request"]


async def test_endpoint_open_to_all_gets_no_key(fake: RouterFake, seen: Seen) -> None:
    provider = HuggingFaceProvider(Access("", endpoint_url=fake.url), limits=LIMITS)
    with pytest.raises(ProviderError) as caught:
        await provider.generate(by_route("endpoint"), Told().reports)
    await provider.close()
    assert caught.value.reason == "PROVIDER_CREDENTIALS"
    assert header_of(only_submission(fake)["headers"], "authorization") == []


async def test_submission_has_a_connection_of_its_own(seen: Seen) -> None:
    connections = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                # It is kept open for more.
                writer.write(b"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with provider_of(f"http://{host}:{port}") as provider:
            for _ in range(3):
                with pytest.raises(ProviderError):
                    await provider.generate(REQUEST, Told().reports)
    assert connections == 3


async def test_key_does_not_go_where_the_picture_lies(fake: RouterFake, seen: Seen) -> None:
    led_on = status(302, "image", headers={"Location": "0.png"}, times=2)
    fake.behave(Behavior(run_seconds=0, faults=(led_on,)))
    await drawn(fake, seen, bill_to="acme")
    fetches = only_submission(fake)["image_headers"]
    assert len(fetches) == 3
    for headers in fetches:
        names = {name.lower() for name, _ in headers}
        assert names <= {"host", "accept", "accept-encoding", "connection", "user-agent"}


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("https://v3.fal.media/files/a.png", True),
        ("http://v3.fal.media/files/a.png", False),
        ("https://user:word@v3.fal.media/a.png", False),
        ("ftp://v3.fal.media/a.png", False),
        ("//v3.fal.media/a.png", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://x:y/", False),
        ("", False),
    ],
)
def test_picture_is_fetched_over_tls_where_the_router_is(address: str, may: bool) -> None:
    assert (fetchable(address, httpx.URL("https://router.huggingface.co")) is not None) == may


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_picture_of_any_usual_form_is_read(form: str) -> None:
    content = {"png": pictures.png, "jpeg": pictures.jpeg, "webp": pictures.webp}[form]()
    image = read_picture(content, f"image/{form}", (48, 32), most_pixels=48 * 32)
    assert (image.mode, image.size) == ("RGB", (48, 32))


def test_picture_without_its_last_row_is_broken() -> None:
    for rows, sign in ((65 * 64, None), (65 * 63, Sign.BROKEN_PICTURE)):
        try:
            read_picture(pictures.png_of_rows(bytes(rows)), "image/png", (64, 64), most_pixels=10_000)
            found = None
        except BadPictureError as error:
            found = error.sign
        assert found == sign


# Taking a request up again, letting it go, running out of time.


async def test_resumed_request_is_polled_and_never_submitted(fake: RouterFake, seen: Seen) -> None:
    fake.behave(Behavior(run_seconds=0, faults=(status(500, "status", times=LIMITS.tries),)))
    told = Told()
    error = await refused(fake, seen, told=told)
    assert error.request_alive
    (path,) = told.ids

    again = Told()
    portrait = await drawn(fake, seen, replace(REQUEST, resume_request_id=path), again)
    assert portrait.image.size == (128, 160)
    assert portrait.facts["request"] == path
    assert (fake.counters()["submit"], again.ids) == (1, [])


async def test_resumed_request_that_is_unknown_is_dead(fake: RouterFake, seen: Seen) -> None:
    request = replace(REQUEST, resume_request_id="fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b")
    error = await refused(fake, seen, request)
    assert (error.reason, error.retryable, error.request_alive) == ("PROVIDER_UNAVAILABLE", True, False)
    assert fake.counters()["submit"] == 0


@pytest.mark.parametrize(
    "request_id",
    [
        "764cabcf-b745-4b3e-ae38-1200304cf45b",
        "fal-ai/flux/requests/..",
        "fal-ai/../flux/requests/764cabcf",
        "../flux/requests/764cabcf",
        "/fal-ai/flux/requests/764cabcf",
        "//evil.example/flux/requests/764cabcf",
        "https://evil.example/requests/764cabcf",
        "fal-ai/flux/requests/764cabcf?x=y",
        "fal-ai/flux/requests/764cabcf/../../other",
        "fal-ai/flux/requests/764cabcf\n",
        "fal-ai/flux/requests/%2e%2e",
    ],
)
async def test_id_that_could_lead_elsewhere_is_never_asked_about(
    fake: RouterFake, seen: Seen, request_id: str
) -> None:
    error = await refused(fake, seen, replace(REQUEST, resume_request_id=request_id))
    assert (error.retryable, error.request_alive) == (True, False)
    async with provider_of(fake) as provider:
        await provider.cancel(request_id)
    assert {name for name, count in fake.counters().items() if count} == set()


async def test_single_request_cannot_be_resumed_and_is_not_made_again(fake: RouterFake, seen: Seen) -> None:
    path = "fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b"
    error = await refused(fake, seen, by_route("hf-inference", resume_request_id=path))
    assert (error.retryable, error.request_alive) == (True, False)
    assert fake.count == 0


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behavior(queue_seconds=60), id="in the queue"),
        pytest.param(Behavior(hold=True), id="at the runner"),
        pytest.param(Behavior(run_seconds=0), id="completed"),
    ],
)
async def test_cancelling_is_told_to_the_provider(fake: RouterFake, seen: Seen, behaviour: Behavior) -> None:
    fake.behave(behaviour)
    async with provider_of(fake) as provider:
        path = await submitted_path(provider)
        await provider.cancel(path)
        await provider.cancel(path)
    submission = only_submission(fake)
    assert submission["cancel_requests"] == 2
    assert submission["status"] == "COMPLETED"


async def test_cancelling_what_is_unknown_is_no_error(fake: RouterFake, seen: Seen) -> None:
    async with provider_of(fake) as provider:
        await provider.cancel("fal-ai/flux/requests/764cabcf-b745-4b3e-ae38-1200304cf45b")
    assert fake.counters()["cancel"] == 1


@pytest.mark.parametrize(
    ("fault", "reason", "retryable"),
    [
        pytest.param(status(500, "cancel"), "UNAVAILABLE", True, id="500"),
        pytest.param(status(401, "cancel"), "CREDENTIALS", False, id="401"),
        pytest.param(status(429, "cancel"), "OVERLOADED", True, id="429"),
        pytest.param(status(405, "cancel"), "BAD_ANSWER", True, id="405"),
        pytest.param(how("hang", "cancel"), "TIMEOUT", True, id="hang"),
        pytest.param(how("drop", "cancel"), "UNAVAILABLE", True, id="dropped"),
    ],
)
async def test_cancelling_that_could_not_be_told_is_an_error(
    fake: RouterFake, seen: Seen, fault: Fault, reason: str, retryable: bool
) -> None:
    fake.behave(Behavior(hold=True, faults=(fault,)))
    async with provider_of(fake, limits=replace(LIMITS, cancel_seconds=0.25)) as provider:
        path = await submitted_path(provider)
        with pytest.raises(ProviderError) as caught:
            await provider.cancel(path)
    seen.error(caught.value)
    assert (caught.value.reason, caught.value.retryable) == (f"PROVIDER_{reason}", retryable)


async def submitted_path(provider: Provider) -> str:
    """The path of a request that was handed in and is waited for no longer."""
    known: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def submitted(request_id: str) -> None:
        known.set_result(request_id)

    async def progress(part: float) -> None:
        await asyncio.Event().wait()

    generating = asyncio.create_task(provider.generate(REQUEST, Reports(submitted, progress)))
    path = await asyncio.wait_for(known, 5)
    generating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await generating
    return path


async def test_call_that_is_cancelled_while_its_id_is_written_down_waits_for_that(
    fake: RouterFake, seen: Seen
) -> None:
    writing, may_end, written = asyncio.Event(), asyncio.Event(), list[str]()

    async def submitted(request_id: str) -> None:
        writing.set()
        await may_end.wait()
        written.append(request_id)

    async with provider_of(fake) as provider:
        reports = Reports(submitted, Told().reports.progress)
        generating = asyncio.create_task(provider.generate(REQUEST, reports))
        await asyncio.wait_for(writing.wait(), 5)
        for _ in range(2):  # when the project goes, and when the grace is over
            generating.cancel()
            await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await generating
    assert len(written) == 1
    assert fake.counters()["submissions"] == 1


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference"])
async def test_cancelled_call_stops_and_cancels_nothing_there(
    fake: RouterFake, seen: Seen, route: str
) -> None:
    fake.behave(Behavior(hold=True))
    drawing = asyncio.Event()

    async def progress(part: float) -> None:
        drawing.set()

    async with provider_of(fake) as provider:
        reports = Reports(Told().reports.submitted, progress)
        generating = asyncio.create_task(provider.generate(by_route(route), reports))
        await asyncio.wait_for(drawing.wait(), 5)
        generating.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await generating
    assert fake.counters()["cancel"] == 0


async def test_deadline_cancels_the_request_there(fake: RouterFake, seen: Seen) -> None:
    fake.behave(Behavior(hold=True))
    error = await refused(fake, seen, deadline=timedelta(seconds=0.3))
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        True,
        False,
    )
    submission = only_submission(fake)
    assert submission["cancelled"]
    assert header_of(submission["headers"], "x-fal-request-timeout") == ["1"]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behavior(hold=True, faults=(status(500, "cancel"),)), id="cannot be cancelled"),
        pytest.param(Behavior(run_seconds=0, faults=(how("stall", "image"),)), id="has completed"),
    ],
)
async def test_request_that_outlives_the_deadline_is_taken_up_again(
    fake: RouterFake, seen: Seen, behaviour: Behavior
) -> None:
    fake.behave(behaviour)
    error = await refused(fake, seen, deadline=timedelta(seconds=0.3))
    assert (error.reason, error.retryable, error.charged, error.request_alive) == (
        "PROVIDER_TIMEOUT",
        True,
        True,
        True,
    )


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference"])
async def test_deadline_bounds_a_submission_that_hangs(fake: RouterFake, seen: Seen, route: str) -> None:
    fake.behave(how("hang", accepted=True))
    error = await refused(fake, seen, by_route(route), deadline=timedelta(seconds=0.1))
    assert (error.reason, error.charged, error.submit_unknown) == ("PROVIDER_TIMEOUT", True, True)


async def test_failing_report_reaches_the_caller(fake: RouterFake, seen: Seen) -> None:
    async def fail(_: object) -> None:
        raise LookupError("the lease is lost")

    for route in ("fal-ai", "hf-inference"):
        async with provider_of(fake) as provider:
            with pytest.raises(LookupError):
                await provider.generate(by_route(route), Reports(fail, fail))


# Progress.


async def test_progress_waits_in_the_queue_and_never_goes_back(fake: RouterFake, seen: Seen) -> None:
    fake.behave(Behavior(queue_seconds=0.05, run_seconds=0.2))
    told = Told()
    await drawn(fake, seen, replace(REQUEST, expected_seconds=0.2), told)
    assert told.parts[0] <= 0.02
    assert told.parts == sorted(told.parts)
    assert 0.3 < told.parts[-1] < 1


def test_estimate_follows_the_steps_that_logs_count() -> None:
    estimate = Estimate(usual_seconds=20)
    logs = [
        {"message": "Loading pipeline components...: 100%|##########| 7/7 [00:01<00:00]"},
        {"message": "  4%|4         | 1/28 [00:00<00:09]\r 50%|#####     | 14/28 [00:05<00:05]"},
        {"message": "2026-11-22 12:00:00 saving"},
        {"message": None},
    ]
    assert estimate.drawing(1.0, logs, 28) == 0.5
    assert estimate.drawing(1.0, logs[:1], 28) == 0.5
    assert estimate.drawing(1.0, [{"message": " 75%|#######   |"}], 28) == 0.75
    assert estimate.drawing(1.0, "gibberish", 28) == 0.75
    assert estimate.drawing(1e9, [], 28) < 1
    assert estimate.drawing(1.0, [{"message": "100%|##########| 28/28 [00:10<00:00]"}], 28) < 1


# Secrets.


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference"])
async def test_key_that_the_provider_repeats_is_not_repeated(
    fake: RouterFake, seen: Seen, route: str
) -> None:
    fake.behave(
        status(
            401,
            body={"error": f"token {KEY} is\u0000 bad\n, see https://x.example/y?token={KEY}#z {'!' * 999}"},
        )
    )
    error = await refused(fake, seen, by_route(route))
    assert "token [key] is bad , see https://x.example/y !!!" in error.message


async def test_facts_do_not_repeat_the_key(fake: RouterFake, seen: Seen) -> None:
    await drawn(fake, seen)
    picture = f"{fake.url}/files/{only_submission(fake)['request_id']}/0.png"
    fake.behave(status(200, "result", body={"images": [{"url": picture}], "seed": f"{KEY} {'7' * 999}"}))
    portrait = await drawn(fake, seen)
    assert portrait.facts["seed"].startswith("[key] 777")
    assert len(portrait.facts["seed"]) <= 200


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain", "plain"),
        ("a\x1b[31m\u202e\nb\t c", "a[31m b c"),
        ("hf_\x00abcdefgh", "[key]"),
        ("Authorization: Bearer abcdefghijk", "Authorization: [key]"),
        ("at https://u:p@x.example/a?sig=1 and HTTP://y/#f", "at https://x.example/a and HTTP://y/"),
        ("at https://u:p@x.example/a", "at https://x.example/a"),
        ("é" * 300, "é" * 199 + "…"),
    ],
)
def test_excerpt_is_one_safe_line(said: str, shown: str) -> None:
    assert excerpt(said, KEY) == shown


def test_excerpt_leaves_out_a_key_of_any_form() -> None:
    assert excerpt("not open, sesame\x07!", "open, sesame") == "not [key]!"


def test_access_does_not_show_its_key() -> None:
    assert KEY not in repr(Access(KEY))


@pytest.mark.parametrize("bad", [f"{KEY}\n", f" {KEY}", f"{KEY}é"])
def test_key_that_no_header_can_carry_is_refused_without_repeating_it(seen: Seen, bad: str) -> None:
    with pytest.raises(ValueError, match="no header can carry") as caught:
        Access(bad)
    seen.texts.append(str(caught.value))
