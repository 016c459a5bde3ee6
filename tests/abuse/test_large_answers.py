"""One user reads the largest answers from many callers: others hardly notice, and the memory comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from avatar_creator.v1.avatar_service_pb2 import ListAvatarsRequest
from avatar_creator.v1.usage_service_pb2 import ListUsageRequest, SummarizeUsageRequest
from avatar_creator_server.api.answers import MAX_ITEM_BYTES
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.witness import SLOWER_NEXT_TO_LARGE_ANSWERS, Witness
from tests.contract.calls import Calls, refusal_of
from tests.support.large_answers import add_apps, add_avatars
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

CALLERS = 32
AVATARS = 100
APPS = 20_000
USES = 100
MAX_GROWTH_BYTES = (CALLERS * 3 * MAX_ITEM_BYTES) + 150 * MIB
"""Maximum growth of the server: the messages of an answer, its bytes, and gRPC's copy, for each caller."""
MAX_KEPT_BYTES = 200 * MIB

Page = Callable[[Calls, str], Any]


def list_avatars(calls: Calls, page_token: str) -> Any:
    """Read a page of avatars with noisy thumbnails."""
    request = ListAvatarsRequest(page_size=AVATARS, include_thumbnails=True, page_token=page_token)
    return calls.avatars.ListAvatars(request)


def list_usage(calls: Calls, page_token: str) -> Any:
    """Read a page of uses with the largest metadata."""
    avatar_id = calls.avatars.ListAvatars(ListAvatarsRequest(page_size=1)).avatars[0].id
    return calls.usage.ListUsage(ListUsageRequest(avatar_id=avatar_id, page_size=USES, page_token=page_token))


def summarize_usage(calls: Calls, page_token: str) -> Any:
    """Read a page of the sums by app."""
    avatar_id = calls.avatars.ListAvatars(ListAvatarsRequest(page_size=2)).avatars[1].id
    return calls.usage.SummarizeUsage(SummarizeUsageRequest(avatar_id=avatar_id, page_token=page_token))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running embedded service with a user whose lists are as large as possible."""
    running = Deployment.embedded(tmp_path_factory.mktemp("large-answers"))
    try:
        running.start()
        with running.client("attacker") as client:
            project = client.projects.create("Large")
            add_avatars(running, client, project.id, AVATARS)
            newest, second = (avatar.id for avatar in client.avatars.list(page_size=2).page().items)
            for _ in range(USES):
                client.usage.record(newest, app_id="a", action="x", metadata={"numbers": [0] * 4080})
            add_apps(running, client, second, APPS)
        yield running
    finally:
        running.close()


def read_all(service: Deployment, page: Page) -> int:
    """Read all pages with a plain client, and return the size of the largest."""
    with Calls(service.target, service.token("attacker")) as calls:
        answer = page(calls, "")
        largest: int = answer.ByteSize()
        while answer.next_page_token:
            answer = page(calls, answer.next_page_token)
            largest = max(largest, answer.ByteSize())
    return largest


def outcome_of_reading(service: Deployment, page: Page) -> str:
    """Read all pages, and return OK, or the reason or the status of the error."""
    try:
        read_all(service, page)
    except grpc.RpcError as error:
        refused = refusal_of(error)
        return refused.reason or refused.code.name
    return "OK"


@pytest.mark.parametrize("page", [list_avatars, list_usage, summarize_usage])
def test_thirty_two_readers_of_the_largest_answers(service: Deployment, page: Page) -> None:
    with Witness(service) as witness:
        quiet = witness.quiet_median()
        assert MIB // 2 < read_all(service, page) < 4 * MIB
        gauge = Gauge(service)
        before, threads_before = gauge.server_bytes(), gauge.threads()

        with Threads(CALLERS) as threads, gauge.sampling(), witness.reading() as reads:
            readers = [threads.submit(outcome_of_reading, service, page) for _ in range(CALLERS)]
            outcomes = {reader.result() for reader in readers}

    # One user reads too much for the calls to end in time, or for a place among the readers of the database.
    assert outcomes <= {"OK", "DEADLINE_EXCEEDED", "DATABASE_LIMIT", "CALL_LIMIT", "OVERLOADED"}
    reads.assert_hardly_slower(quiet, SLOWER_NEXT_TO_LARGE_ANSWERS)
    assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
    wait_until(lambda: gauge.server_bytes() - before < MAX_KEPT_BYTES)
    wait_until(lambda: gauge.threads() <= threads_before + CALLERS)
