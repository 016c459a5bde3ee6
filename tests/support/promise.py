"""The promise of the service, checked in the database, the file store and the provider's counter.

After any crash, each accepted generation reaches exactly one terminal state and has at most one avatar. Each
attempt submits to the provider at most once, and every watcher receives the outcome.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from avatar_creator import Generation
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
    users: str = "",
    prompt: str = "",
) -> None:
    """Assert that every generation has ended once, with all its records and no others.

    Args:
        deployment: A running service with a worker.
        router: The fake provider. Its submissions are counted.
        outcomes_seen: The last state that each watcher received.
        users: Start of the ids of the users to check. Others may have deleted generations.
        prompt: Text of the prompts of these users, which no other prompt contains.
    """
    _wait_until_quiet(deployment)
    generations = _rows_of(users, deployment, "avatar_generations")
    ids = {row["id"] for row in generations}
    attempts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for attempt in sorted(deployment.rows("generation_attempts"), key=lambda row: row["attempt_number"]):
        if attempt["generation_id"] in ids:
            attempts[attempt["generation_id"]].append(attempt)
    rows = _rows_of(users, deployment, "avatars")
    avatars = Counter(row["generation_id"] for row in rows if row["generation_id"])

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
    assert set(avatars) <= ids

    _assert_counts_match_rows(deployment, users, generations, attempts)
    if router is not None:
        submissions = [each for each in router.submissions() if prompt in str(each["body"])]
        _assert_submitted_once(submissions, attempts)
    states = {row["id"]: (row["state"], row["revision"]) for row in generations}
    for seen in outcomes_seen:
        received = (seen.state, seen.revision)
        assert received == states[seen.id], seen.id


def _rows_of(users: str, deployment: Deployment, table: str) -> list[dict[str, Any]]:
    return [row for row in deployment.rows(table) if row["user_id"].startswith(users)]


def _wait_until_quiet(deployment: Deployment) -> None:
    """Wait until no work is left. Make staged files of dead processes old enough to be deleted."""
    wait_until(
        lambda: all_ended(deployment),
        30.0,
        lambda: (
            f"unfinished: {deployment.execute('SELECT id, state, stage, due_time FROM avatar_generations')}"
        ),
    )
    if deployment.execute("SELECT 1 FROM files WHERE state = 'staged'"):
        deployment.execute("UPDATE files SET create_time = %s", datetime.now(UTC) - timedelta(hours=2))
        _delete_orphans(deployment)
    expected = 2 * len(deployment.rows("avatars"))
    wait_until(
        lambda: (
            [row["state"] for row in deployment.rows("files")] == ["owned"] * expected
            and len(deployment.files()) == expected
        ),
        30.0,
        lambda: f"expected {expected} files: {deployment.rows('files')}, {sorted(deployment.files())}",
    )


def _delete_orphans(deployment: Deployment) -> None:
    """Start a worker, which deletes orphaned files at its start."""
    if not deployment.is_embedded:
        deployment.start_worker()
        return
    for server in deployment.servers:
        server.close()
    deployment.start_server()


def _assert_counts_match_rows(
    deployment: Deployment,
    users: str,
    generations: list[dict[str, Any]],
    attempts: dict[str, list[dict[str, Any]]],
) -> None:
    """Assert that the stored counts equal the number of rows that they count."""
    states: defaultdict[str, Counter[str]] = defaultdict(Counter)
    spent: Counter[str] = Counter()
    for row in generations:
        states[row["user_id"]][row["state"]] += 1
        spent[row["user_id"]] += sum(attempt["price_micros"] for attempt in attempts[row["id"]])
    for row in _rows_of(users, deployment, "user_statistics"):
        counted = {state: row[f"{state}_count"] for state in ("pending", "processing", *_ENDED)}
        assert counted == {state: states[row["user_id"]][state] for state in counted}, row["user_id"]
    counted_spend: Counter[str] = Counter()
    for row in _rows_of(users, deployment, "daily_spend"):
        counted_spend[row["user_id"]] += row["price_micros"]
    assert not [spend for spend in counted_spend.values() if spend < 0]
    assert +counted_spend == +spent
    starts = _rows_of(users, deployment, "generation_starts")
    started = {row["generation_id"]: row["price_micros"] for row in starts}
    assert started == {row["id"]: row["price_micros"] for row in generations}


def _assert_submitted_once(
    submissions: list[dict[str, Any]], attempts: dict[str, list[dict[str, Any]]]
) -> None:
    """Assert that no attempt submitted twice, and that a possible submission counts as possibly charged."""
    all_attempts = [attempt for own in attempts.values() for attempt in own]
    # An attempt that resumed a request of a lost worker submitted nothing, so ids can repeat.
    ids = [attempt["provider_request_id"] for attempt in all_attempts if attempt["provider_request_id"]]
    unanswered = [attempt for attempt in all_attempts if attempt["outcome"] == "submit_unknown"]
    accepted = {each["request_id"] for each in submissions if each["accepted"]}
    assert len(submissions) <= len(all_attempts)
    assert len(set(ids)) <= len(accepted) <= len(set(ids)) + len(unanswered)
    assert all(attempt["possibly_charged"] for attempt in unanswered)
