"""The list of the mapped apps, and the router that resolves only those."""

from __future__ import annotations

import httpx
import pytest

from tests.support.huggingface_router import Fault, RouterFake
from tests.unit.huggingface_router.requests import PLAIN, submit

PATH = "/api/partners/fal-ai/models"


def test_the_list_has_the_mapped_apps_by_task_and_model(router: RouterFake) -> None:
    router.map_apps("fal-ai/flux/dev", "fal-ai/flux-lora", "fal-ai/flux-kontext/dev")

    everything = httpx.get(router.url + PATH, **PLAIN).json()
    live = httpx.get(router.url + PATH, params={"status": "live"}, **PLAIN).json()

    apps = {task: [entry["providerId"] for entry in entries.values()] for task, entries in live.items()}
    assert apps == {
        "text-to-image": ["fal-ai/flux-lora", "fal-ai/flux/dev"],
        "image-to-image": ["fal-ai/flux-kontext/dev"],
    }
    [tagged] = [entry for entry in live["text-to-image"].values() if "tags" in entry]
    assert (tagged["providerId"], tagged["adapterType"]) == ("fal-ai/flux-lora", "lora")
    states = {entry["status"] for entries in everything.values() for entry in entries.values()}
    assert states == {"live", "staging"}
    assert router.counters()["mapping"] == 2


def test_the_list_is_for_everyone_and_takes_no_token(router: RouterFake, http: httpx.Client) -> None:
    assert http.get(PATH).status_code == 400
    assert httpx.get(f"{router.url}/api/partners/replicate/models", **PLAIN).status_code == 404


def test_an_app_that_is_not_mapped_is_refused_and_runs_no_job(router: RouterFake, http: httpx.Client) -> None:
    router.map_apps("fal-ai/flux/dev")

    refused = submit(http)

    assert refused.status_code == 400
    assert refused.json() == {"error": "Model not supported by provider fal-ai"}
    assert not router.submissions()[0]["accepted"]
    router.reset()
    assert submit(http).json()["status"] == "IN_QUEUE"


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault(status=503), 503), (Fault(how="html"), 502), (Fault(status=302), 302)]
)
def test_the_list_can_fail(router: RouterFake, fault: Fault, status: int) -> None:
    router.fail_mapping(fault)

    assert httpx.get(router.url + PATH, **PLAIN).status_code == status

    router.fail_mapping(None)
    assert httpx.get(router.url + PATH, **PLAIN).status_code == 200
