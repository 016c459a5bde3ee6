"""The screen of `top`: complete numbers in terminals of any usual size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from avatar_creator import (
    ErrorReason,
    FailureCount,
    GenerationPriority,
    GenerationStage,
    Queue,
    QueueDepth,
    QueuePause,
    QueueRoute,
    RunningAttempt,
    UserActivity,
    Worker,
    WorkerState,
)
from avatar_creator_server.cli.service_screen import Snapshot, screen

NOW = datetime(2026, 3, 2, 9, 14, tzinfo=UTC)
LONG_USER = "a-user-whose-identity-provider-gave-a-very-long-id|0123456789"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def worker(number: int, state: WorkerState, running: int) -> Worker:
    """Return a worker with four slots. The higher its number, the later its attempts began."""
    return Worker(
        name=f"gpu-host-{number}-4901-a8cc47",
        version="0.2.0",
        host=f"gpu-host-{number}",
        provider="huggingface",
        slots=4,
        state=state,
        start_time=ago(days=2),
        last_seen_time=ago(seconds=45),
        drain_time=ago(minutes=3) if state == WorkerState.DRAINING else None,
        running=tuple(
            RunningAttempt(
                generation_id=f"01a21e4c-0adf-71ed-9912-c55f8827{number:02}{each:02}",
                user_id=LONG_USER,
                attempt_number=each + 1,
                stage=GenerationStage.DRAWING,
                progress_percent=100,
                route="fal-ai",
                start_time=ago(seconds=300 - 10 * each - number),
                priority=GenerationPriority.NORMAL,
            )
            for each in range(running)
        ),
    )


def queue(**fields: Any) -> Queue:
    """Return a queue with nothing in it, except the given fields."""
    depths = tuple(
        QueueDepth(priority=priority, due_count=0, waiting_to_retry_count=0, oldest_due_time=None)
        for priority in GenerationPriority
    )
    empty = {"depths": depths, "running_count": 0, "abandoned_count": 0}
    return Queue(**{**empty, "routes": (), "pauses": (), "recent_failures": (), **fields})


def busy() -> Snapshot:
    """Return a service with everything that the screen can show."""
    depths = tuple(
        QueueDepth(
            priority=priority,
            due_count=1_234_567 + number,
            waiting_to_retry_count=7_654,
            oldest_due_time=ago(hours=5),
        )
        for number, priority in enumerate(GenerationPriority)
    )
    return Snapshot(
        NOW,
        queue(
            depths=depths,
            running_count=8,
            abandoned_count=2,
            routes=(
                QueueRoute(
                    name="fal-ai-reference",
                    provider="huggingface",
                    model="black-forest-labs/FLUX.1-Kontext-dev",
                    draws_from_reference=True,
                    draws_from_text=False,
                    outage_start_time=ago(minutes=15),
                    outage_reason=ErrorReason.PROVIDER_CREDENTIALS,
                    outage_retry_time=NOW + timedelta(minutes=14),
                ),
            ),
            pauses=(QueuePause(route="fal-ai", pause_time=ago(minutes=9), paused_by="olga", note="outage"),),
            recent_failures=tuple(
                FailureCount(reason=reason, generation_count=1_000 - number)
                for number, reason in enumerate([*ErrorReason][:6])
            ),
        ),
        [worker(number, state, 4) for number, state in enumerate([*WorkerState, *WorkerState])],
        [
            UserActivity(
                user_id=LONG_USER,
                due_count=987_654 - number,
                pending_count=0,
                processing_count=4_321,
                failed_count=0,
                price_micros=0,
            )
            for number in range(20)
        ],
        12_345_678_900,
    )


def shown(snapshot: Snapshot, columns: int, lines: int, **arguments: Any) -> list[str]:
    """Return the lines that a terminal of this size shows."""
    console = Console(width=columns, height=lines, file=StringIO(), highlight=False, markup=False)
    rendered = screen(snapshot, server="avatars.example:443", console=console, **arguments)
    return [
        "".join(segment.text for segment in line).rstrip()
        for line in console.render_lines(rendered, console.options.update(height=None), pad=False)
    ]


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (80, 40), (120, 30), (200, 60)])
def test_a_busy_service_fits_the_terminal_and_no_number_is_cut(columns: int, lines: int) -> None:
    text = shown(busy(), columns, lines, hint="every 2 s, q ends", problem="no answer")

    assert len(text) <= lines
    assert max(map(len, text)) <= columns
    screen_text = "\n".join(text)
    for fact in (
        *("running 8 of 16 slots (8 drained)", "$12,345.6789", "PAUSED route fal-ai for 9m by olga: outage"),
        *("1,234,567", "1,234,569", "7,654", "5h", "987,654", "4,321", "no answer", "q ends"),
        "OUTAGE route fal-ai-reference for 15m: PROVIDER_CREDENTIALS, retry in 14m",
        *("1,000 INVALID_FIELD", "2 workers lost", "2 generations abandoned"),
    ):
        assert fact in screen_text, fact
    attempts = [line for line in text if "drawing" in line]
    assert attempts
    assert all(len(line.split()[0]) == 36 and "100 %" in line for line in attempts)
    hidden = 24 - len(attempts)
    assert (f"which run {hidden}" in text[-1]) == (hidden > 0)


def test_the_oldest_work_comes_first() -> None:
    text = shown(busy(), 100, 200)

    names = [line.split()[1] for line in text if line.startswith("worker ")]
    attempts = [line.split()[0] for line in text if "drawing" in line]
    # Those with a lower number began earlier.
    assert names == [f"gpu-host-{number}-4901-a8cc47" for number in range(6)]
    assert attempts == sorted(attempts)
    assert len(attempts) == 24


def test_a_service_without_work_or_workers_says_so() -> None:
    idle = Snapshot(NOW, queue(), [worker(0, WorkerState.LIVE, 0)], [], 0)
    assert shown(idle, 80, 24)[1:] == [
        "running 0 of 4 slots   price today $0.00",
        "",
        "queue        due  waiting to retry  oldest",
        "interactive    0                 0",
        "normal         0                 0",
        "bulk           0                 0",
        "",
        "nothing failed in the last hour",
        "",
        "worker gpu-host-0-4901-a8cc47  live  0 of 4",
    ]
    alone = shown(Snapshot(NOW, queue(), [], [], 0), 80, 24)
    assert "no worker takes generations" in alone
    assert alone[-1] == "no worker has been seen in the last day"
