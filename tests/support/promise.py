"""The promise, checked from what is left: the database, the file store and the provider's own counter.

Whatever dies, each accepted generation reaches exactly one terminal state, yields at most one avatar, submits
to the provider at most once per attempt, and every watcher learns the outcome.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from avatar_creator import Generation, GenerationState
from tests.support.generations import all_ended
from tests.support.huggingface_router import RouterFake
from tests.support.service import Deployment
from tests.support.waiting import wait_until

_ENDED = ("completed", "failed", "cancelled")
_OPEN_OUTCOMES = ("running", "submitting")


def assert_promise_kept(
    deployment: Deployment,
    router: RouterFake | None = None,
    *,
    outcomes_seen: Iterable[Generation] = (),
) -> None:
    """Find every generation ended, once, with what belongs to it and nothing else.

    Args:
        deployment: a service that still runs, with a worker.
        router: the provider's fake, whose submissions are counted.
        outcomes_seen: the last state that each watcher was told.
    """
    _wait_until_quiet(deployment)
    generations = deployment.rows("avatar_generations")
    attempts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for attempt in sorted(deployment.rows("generation_attempts"), key=lambda row: row["attempt_number"]):
        attempts[attempt["generation_id"]].append(attempt)
    avatars = Counter(row["generation_id"] for row in deployment.rows("avatars") if row["generation_id"])

    for row in generations:
        identity = (row["id"], row["state"])
        assert row["state"] in _ENDED, identity
        assert row["due_time"] is None, identity
        assert avatars[row["id"]] == (row["state"] == "completed"), identity
        own = attempts[row["id"]]
        assert [attempt["attempt_number"] for attempt in own] == list(range(1, len(own) + 1)), identity
        assert all(attempt["end_time"] for attempt in own), identity
        assert not [attempt for attempt in own if attempt["outcome"] in _OPEN_OUTCOMES], identity
        succeeded = [attempt for attempt in own if attempt["outcome"] == "succeeded"]
        assert len(succeeded) == (row["state"] == "completed"), identity
        assert succeeded == own[len(own) - len(succeeded) :], identity
        assert row["price_micros"] == sum(attempt["price_micros"] for attempt in own), identity
    assert set(avatars) <= {row["id"] for row in generations}

    _assert_counts_are_true(deployment, generations, attempts)
    if router is not None:
        _assert_submitted_once(router, attempts)
    states = {row["id"]: (row["state"], row["revision"]) for row in generations}
    for seen in outcomes_seen:
        state = GenerationState.Name(seen.state).removeprefix("GENERATION_STATE_").lower()
        told = (state, seen.revision)
        assert told == states[seen.id], seen.id


def _wait_until_quiet(deployment: Deployment) -> None:
    """Until nothing is left to do, with what was staged by the dead an hour older than it is."""
    wait_until(
        lambda: all_ended(deployment),
        30.0,
        lambda: (
            f"unfinished: {deployment.execute('SELECT id, state, stage, due_time FROM avatar_generations')}"
        ),
    )
    if deployment.execute("SELECT 1 FROM files WHERE state = 'staged'"):
        deployment.execute("UPDATE files SET create_time = %s", datetime.now(UTC) - timedelta(hours=2))
        _tidy(deployment)
    wanted = 2 * len(deployment.rows("avatars"))
    wait_until(
        lambda: (
            [row["state"] for row in deployment.rows("files")] == ["owned"] * wanted
            and len(deployment.files()) == wanted
        ),
        30.0,
        lambda: f"{wanted} files wanted: {deployment.rows('files')}, {sorted(deployment.files())}",
    )


def _tidy(deployment: Deployment) -> None:
    """Let a worker look for orphans now, as each does when it starts and every minute after that."""
    if not deployment.is_embedded:
        deployment.start_worker()
        return
    for server in deployment.servers:
        server.close()
    deployment.start_server()


def _assert_counts_are_true(
    deployment: Deployment,
    generations: list[dict[str, Any]],
    attempts: dict[str, list[dict[str, Any]]],
) -> None:
    """What is counted by the writes that change it agrees with what there is."""
    states: defaultdict[str, Counter[str]] = defaultdict(Counter)
    spent: Counter[str] = Counter()
    for row in generations:
        states[row["user_id"]][row["state"]] += 1
        spent[row["user_id"]] += sum(attempt["price_micros"] for attempt in attempts[row["id"]])
    for row in deployment.rows("user_statistics"):
        counted = {state: row[f"{state}_count"] for state in ("pending", "processing", *_ENDED)}
        assert counted == {state: states[row["user_id"]][state] for state in counted}, row["user_id"]
    counted_spend: Counter[str] = Counter()
    for row in deployment.rows("daily_spend"):
        counted_spend[row["user_id"]] += row["price_micros"]
    assert not [spend for spend in counted_spend.values() if spend < 0]
    assert +counted_spend == +spent
    started = {row["generation_id"]: row["price_micros"] for row in deployment.rows("generation_starts")}
    assert started == {row["id"]: row["price_micros"] for row in generations}


def _assert_submitted_once(router: RouterFake, attempts: dict[str, list[dict[str, Any]]]) -> None:
    """No attempt has submitted twice, and what may have been submitted says that it may be charged."""
    every = [attempt for own in attempts.values() for attempt in own]
    # Whoever took a request over asked for it and submitted nothing.
    ids = [attempt["provider_request_id"] for attempt in every if attempt["provider_request_id"]]
    unanswered = [attempt for attempt in every if attempt["outcome"] == "submit_unknown"]
    accepted = {each["request_id"] for each in router.submissions() if each["accepted"]}
    assert router.count <= len(every)
    assert len(set(ids)) <= len(accepted) <= len(set(ids)) + len(unanswered)
    assert all(attempt["possibly_charged"] for attempt in unanswered)
