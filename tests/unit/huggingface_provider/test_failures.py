"""Every failure of the hosted provider causes its defined error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from avatar_creator_tasks.providers.base import (
    PortraitRequest,
)
from avatar_creator_tasks.providers.hosted.outcomes import Signal, Stage, failure
from tests.support.huggingface_router import Behavior, Fault, RouterFake, unanswering_address
from tests.support.ports import free_port
from tests.support.provider_recorder import HURRIED, Outputs, RecordedReports
from tests.unit.huggingface_provider.drawing import by_route, draw, draw_and_fail
from tests.unit.huggingface_provider.failure_cases import (
    AT_PICTURE,
    AT_RESULT,
    AT_SUBMISSION,
    EVERY_TRY,
    SINGLE_REQUEST,
    WHILE_POLLING,
    Case,
)


def cases(*lists: tuple[str, list[Case]]) -> pytest.MarkDecorator:
    """Parametrize a test with the cases of each route."""
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
    ("hf-inference", SINGLE_REQUEST),
    ("endpoint", SINGLE_REQUEST[:3] + SINGLE_REQUEST[-7:]),
)
async def test_a_failed_submission_is_not_repeated(
    fake: RouterFake, outputs: Outputs, route: str, case: Case
) -> None:
    await check(fake, outputs, by_route(route), case)


@cases(("fal-ai", WHILE_POLLING))
async def test_a_failed_status_request_causes_no_new_submission(
    fake: RouterFake, outputs: Outputs, route: str, case: Case
) -> None:
    await check(fake, outputs, by_route(route), case)


@cases(("fal-ai", AT_RESULT))
async def test_a_failed_result_differs_from_a_missing_one(
    fake: RouterFake, outputs: Outputs, route: str, case: Case
) -> None:
    await check(fake, outputs, by_route(route), case)


@cases(("fal-ai", AT_PICTURE))
async def test_a_bad_picture_differs_from_a_missing_one(
    fake: RouterFake, outputs: Outputs, route: str, case: Case
) -> None:
    await check(fake, outputs, by_route(route), case)


async def check(fake: RouterFake, outputs: Outputs, request: PortraitRequest, case: Case) -> None:
    """Draw with the fault of the case and check the error and the number of requests."""
    fault = case.fault
    fake.behave(fault if isinstance(fault, Behavior) else Behavior(run_seconds=0, faults=(fault,)))
    recorded = RecordedReports()
    error = await draw_and_fail(fake, outputs, request, recorded, limits=case.limits)
    flags = {
        name for name in ("retryable", "charged", "submit_unknown", "request_alive") if getattr(error, name)
    }
    assert (error.reason, flags) == (f"PROVIDER_{case.reason}", set(case.flags.split())), error.message
    minimum, maximum = case.wait
    assert minimum <= error.retry_after.total_seconds() <= maximum
    counters = fake.counters()
    assert counters["submissions"] == 1
    stage = fault.stage if isinstance(fault, Fault) else "image"
    if case.tries is not None:
        assert counters[stage] == (case.limits.tries if case.tries == EVERY_TRY else case.tries)
    has_id = request.route.name == "fal-ai" and stage != "submit"
    assert len(recorded.ids) == has_id
    assert all(0 <= part < 1 for part in recorded.parts)


@pytest.mark.parametrize("route", ["fal-ai", "hf-inference", "endpoint"])
async def test_a_refused_connection_costs_nothing(outputs: Outputs, route: str) -> None:
    error = await draw_and_fail(f"http://127.0.0.1:{free_port()}", outputs, by_route(route))
    assert (error.reason, error.retryable, error.charged, error.submit_unknown) == (
        "PROVIDER_UNAVAILABLE",
        True,
        False,
        False,
    )


async def test_an_unknown_host_costs_nothing(outputs: Outputs) -> None:
    error = await draw_and_fail("http://router.invalid", outputs)
    assert (error.reason, error.charged, error.submit_unknown) == ("PROVIDER_UNAVAILABLE", False, False)


async def test_a_connection_that_hangs_costs_nothing(outputs: Outputs) -> None:
    with unanswering_address() as url:
        error = await draw_and_fail(url, outputs, limits=HURRIED)
    assert (error.reason, error.retryable, error.charged, error.submit_unknown) == (
        "PROVIDER_UNAVAILABLE",
        True,
        False,
        False,
    )


@pytest.mark.parametrize("stage", list(Stage))
def test_the_table_has_a_row_for_every_status(stage: Stage) -> None:
    for code in range(300, 600):
        error = failure(stage, (str(code), f"{code // 100}xx"))
        assert error.reason.startswith("PROVIDER_")
        assert error.message


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize(
    "signal", [Signal.NOT_CONNECTED, Signal.NO_ANSWER, Signal.LOST, Signal.DEADLINE, Signal.TOO_LARGE]
)
def test_the_table_has_a_row_for_every_missing_answer(stage: Stage, signal: Signal) -> None:
    assert failure(stage, (signal,)).reason.startswith("PROVIDER_")


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
async def test_a_temporary_failure_after_the_submission_is_survived(
    fake: RouterFake, outputs: Outputs, stage: Any, fault: Mapping[str, Any]
) -> None:
    fake.behave(Behavior(run_seconds=0, faults=(Fault(stage=stage, times=1, **fault),)))
    portrait = await draw(fake, outputs)
    assert portrait.image.size == (128, 160)
    assert fake.counters()["submissions"] == 1
