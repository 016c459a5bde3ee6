"""PostgreSQL commits and the answer is lost: no process may repeat the committed work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_creator import AttemptOutcome
from tests.support.generations import COMPLETED, FAILED, SMALLEST, row_of
from tests.support.huggingface_router import Fault, RouterFake
from tests.support.promise import assert_promise_kept
from tests.support.proxy import Proxy
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

SUCCEEDED = AttemptOutcome.SUCCEEDED
FATAL = AttemptOutcome.FATAL
PRICE = 35_000


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A proxy between the service and its database."""
    proxy = Proxy(database_url)
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(
    tmp_path: Path, database_url: str, redis_url: str, proxy: Proxy, router_settings: dict[str, str]
) -> Iterator[Deployment]:
    """A service on the same database as `proxy`. A test starts one of its processes with the proxy's URL."""
    deployment = Deployment.distributed(tmp_path, database_url, redis_url, **router_settings)
    yield deployment
    deployment.close()


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(b'"generation_recipes"', id="of_the_completion"),
        pytest.param(b"'submitting'", id="of_the_submission", marks=pytest.mark.slow),
        pytest.param(b'"provider_request_id" = $1', id="of_the_request_id", marks=pytest.mark.slow),
    ],
)
def test_a_worker_looks_up_whether_its_commit_happened(
    proxied: Deployment, proxy: Proxy, router: RouterFake, user: str, statement: bytes
) -> None:
    proxied.start_server()
    worker = proxied.start_worker(DATABASE_URL=proxy.url)
    with proxied.client(user) as client:
        proxy.cut_commit_after(statement)
        generation = client.generations.create(
            client.projects.create("Lost answer").id, "a woman", width=SMALLEST, height=SMALLEST
        )
        last = Watcher(client, generation.id).states()[-1]
        [attempt] = client.generations.attempts(generation.id)
        wait_until(lambda: worker.events("generation_completed"))

    assert proxy.cuts == 1, "the fault did not happen"
    assert worker.events("database_access_retried")
    assert not worker.events("lease_ended")
    assert last.state == COMPLETED
    assert attempt.outcome == SUCCEEDED
    assert last.price_micros == attempt.price_micros == PRICE
    assert router.count == 1
    assert_promise_kept(proxied, router, outcomes_seen=[last])


@pytest.mark.slow
def test_a_failure_whose_commit_answer_was_lost_is_recorded_once(
    proxied: Deployment, proxy: Proxy, router: RouterFake, user: str
) -> None:
    router.behave(always=Fault(stage="result", status=422, error_type="content_policy_violation"))
    proxied.start_server()
    worker = proxied.start_worker(DATABASE_URL=proxy.url)
    with proxied.client(user) as client:
        proxy.cut_commit_after(b"'fatal'")
        generation = client.generations.create(
            client.projects.create("Lost answer").id, "a woman", width=SMALLEST, height=SMALLEST
        )
        last = Watcher(client, generation.id).states()[-1]
        [attempt] = client.generations.attempts(generation.id)
        wait_until(lambda: worker.events("database_access_retried"))

    assert proxy.cuts == 1, "the fault did not happen"
    assert (last.state, attempt.outcome) == (FAILED, FATAL)
    assert_promise_kept(proxied, router, outcomes_seen=[last])


def test_a_client_receives_its_generation_when_the_commit_answer_was_lost(
    proxied: Deployment, proxy: Proxy, router: RouterFake, user: str
) -> None:
    proxied.start_server(DATABASE_URL=proxy.url)
    proxied.start_worker()
    with proxied.client(user) as client:
        project = client.projects.create("Lost answer")
        proxy.cut_commit_after(b'"generation_starts"')
        generation = client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)
        last = Watcher(client, generation.id).states()[-1]

    assert proxy.cuts == 1, "the fault did not happen"
    assert [row["id"] for row in proxied.rows("avatar_generations")] == [generation.id]
    assert row_of(proxied, generation.id)["state"] == "completed"
    assert_promise_kept(proxied, router, outcomes_seen=[last])
