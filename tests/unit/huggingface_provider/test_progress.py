"""Progress of hosted requests."""

from __future__ import annotations

from dataclasses import replace

from avatar_creator_tasks.providers.hosted.progress import Estimate
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.provider_recorder import Outputs, RecordedReports
from tests.unit.huggingface_provider.drawing import REQUEST, draw


async def test_progress_is_low_in_the_queue_and_never_falls(fake: RouterFake, outputs: Outputs) -> None:
    fake.behave(Behavior(queue_seconds=0.05, run_seconds=0.2))
    recorded = RecordedReports()
    await draw(fake, outputs, replace(REQUEST, expected_seconds=0.2), recorded)
    assert recorded.parts[0] <= 0.02
    assert recorded.parts == sorted(recorded.parts)
    assert 0.3 < recorded.parts[-1] < 1


def test_the_estimate_follows_the_steps_in_the_logs() -> None:
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
