"""Servers and workers reach Redis by every form of its address: wake-ups and events pass through it."""

from __future__ import annotations

from pathlib import Path

from avatar_creator import GenerationState
from tests.support.redis import OwnRedis
from tests.support.service import Deployment, run_in_turn


def test_wake_ups_and_events_pass_through_redis(
    database_url: str, own_redis: OwnRedis, tmp_path: Path
) -> None:
    port = str(own_redis.port)
    forms = {
        "socket": {"REDIS_URL": f"unix://{own_redis.socket}?db=0"},
        "parts": {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": port},
        "injected port": {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": f"tcp://10.0.0.1:{port}"},
    }
    deployment = Deployment.distributed(tmp_path, database_url, "")
    del deployment.settings["REDIS_URL"]
    try:
        for by_server, by_worker in (("socket", "parts"), ("injected port", "socket")):
            server = deployment.start_server(**forms[by_server])
            worker = deployment.start_worker(**forms[by_worker])
            with deployment.client("sarah") as client:
                project = client.projects.create("Spring")
                generation = client.generations.create(project.id, "a portrait", width=256, height=256)
                states = [state.state for state in client.generations.watch(generation.id)]

            assert states[-1] == GenerationState.COMPLETED
            for process in (server, worker):
                for lost in ("event_bus_disconnected", "wake_up_stream_disconnected", "wake_up_send_failed"):
                    assert process.events(lost) == []
            if by_worker == "parts":
                reports = run_in_turn(
                    [(["doctor"], deployment.settings | form, tmp_path) for form in forms.values()]
                )
                for form, report in zip(forms, reports, strict=True):
                    found = (form, report.returncode, "Redis answers" in report.stdout)
                    assert found == (form, 0, True), report.stdout
            deployment.close()
    finally:
        deployment.close()
