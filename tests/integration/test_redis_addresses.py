"""Servers and workers reach Redis by every form of its address: wake-ups and events pass through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_creator import GenerationState
from tests.support.redis import OwnRedis
from tests.support.service import Deployment


@pytest.mark.parametrize("form", ["socket", "parts", "injected port"])
def test_wake_ups_and_events_pass_through_redis(
    database_url: str, own_redis: OwnRedis, tmp_path: Path, form: str
) -> None:
    deployment = Deployment.distributed(tmp_path, database_url, f"unix://{own_redis.socket}?db=1")
    if form != "socket":
        del deployment.settings["REDIS_URL"]
        port = str(own_redis.port)
        deployment.settings |= {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": port if form == "parts" else f"tcp://10.0.0.1:{port}",
        }
    try:
        deployment.start()
        with deployment.client("sarah") as client:
            project = client.projects.create("Spring")
            generation = client.generations.create(project.id, "a portrait", width=256, height=256)
            states = [state.state for state in client.generations.watch(generation.id)]

        assert states[-1] == GenerationState.COMPLETED
        for process in (*deployment.servers, *deployment.workers):
            for lost in ("event_bus_disconnected", "wake_up_stream_disconnected", "wake_up_send_failed"):
                assert process.events(lost) == []
        finished = deployment.run_command("doctor")
        assert (finished.returncode, "Redis answers" in finished.stdout) == (0, True), finished.stdout
    finally:
        deployment.close()
