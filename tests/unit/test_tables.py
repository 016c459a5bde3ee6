"""The tables of the command line: complete ids and facts in a terminal of 80 columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console, RenderableType

from avatar_creator import Generation, GenerationAttempt, UsageRecord
from avatar_creator.v1 import error_reason_pb2, generation_pb2, usage_pb2
from avatar_creator_server.cli import tables

NOW = datetime(2026, 3, 2, 9, 14, tzinfo=UTC)
ID = "01a2207d-e93c-7089-b17c-dd27712b249e"
OTHER_ID = "01a2207d-e970-7345-8fa4-360363e24006"
WORKER = "gpu-host-1.example-4901-a8cc47"


def lines_of(shown: RenderableType, columns: int = 80) -> list[str]:
    """Return the lines that a terminal of this width shows."""
    written = StringIO()
    Console(file=written, width=columns, markup=False).print(shown, crop=False)
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    assert all(len(line) <= columns for line in lines)
    return lines


def generation() -> Generation:
    """Return a generation that waits for its retry, and that retries another one."""
    return Generation.from_message(
        generation_pb2.Generation(
            id=ID,
            retry_of=OTHER_ID,
            state=generation_pb2.GENERATION_STATE_PENDING,
            stage=generation_pb2.GENERATION_STAGE_WAITING_TO_RETRY,
        )
    )


def attempt() -> GenerationAttempt:
    """Return an attempt that failed."""
    message = generation_pb2.GenerationAttempt(
        attempt_number=1,
        outcome=generation_pb2.ATTEMPT_OUTCOME_RETRYABLE,
        worker=WORKER,
        route="fal-ai-reference",
        price_micros=35_000,
        possibly_charged=True,
        error=generation_pb2.GenerationError(
            reason=error_reason_pb2.ERROR_REASON_PROVIDER_CONTENT_REFUSED, message="it refuses the prompt"
        ),
    )
    message.start_time.FromDatetime(NOW)
    message.end_time.FromDatetime(NOW + timedelta(hours=1))
    return GenerationAttempt.from_message(message)


def test_the_states_of_generations_are_complete() -> None:
    assert lines_of(tables.generation_states([generation()]))[1:] == [f"{ID}  waiting to retry"]
    assert lines_of(tables.retries([generation()]))[1:] == [f"{ID}  {OTHER_ID}"]


def test_an_attempt_has_a_line_for_each_fact_in_a_narrow_terminal() -> None:
    lines = lines_of(tables.attempts([attempt()], columns=80))
    for fact in (
        f"worker   {WORKER}",
        "failure  PROVIDER_CONTENT_REFUSED: it refuses the prompt",
        "price    $0.035",
    ):
        assert fact in lines

    _, line = lines_of(tables.attempts([attempt()], columns=200), columns=200)
    assert all(each in line for each in (WORKER, "PROVIDER_CONTENT_REFUSED: it refuses the prompt"))


def test_the_reference_of_a_use_is_complete() -> None:
    record = usage_pb2.UsageRecord(
        app_id="a-very-long-name-of-an-app",
        action="a_very_long_name_of_an_action",
        reference_id=ID,
    )
    _, line = lines_of(tables.usage_history([UsageRecord.from_message(record)]))
    assert line.endswith(ID)

    record.reference_id = "x" * 90
    _, *folded = lines_of(tables.usage_history([UsageRecord.from_message(record)]))
    assert sum(line.count("x") for line in folded) == 90
    assert folded[0].startswith("1970-01-01 ")
