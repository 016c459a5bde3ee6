"""Queues of the users, which the database keeps: they are the truth, and claims and places use them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import peewee
import psycopg2
import pytest

from avatar_creator import GenerationPriority
from avatar_creator_server.database.compiled_queries import Statement
from avatar_creator_server.database.postgresql import Postgresql
from tests import pictures
from tests.support.doctor import Check, checks_of
from tests.support.generations import row_of
from tests.support.in_process import InProcessService
from tests.support.rows import copy_row
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.studio import Studio

PRIORITIES = list(GenerationPriority)

INTERACTIVE = GenerationPriority.INTERACTIVE
CANDIDATES = 50
"""Number of queues from which a claim chooses."""

_RESTORES = r"\n## Restores\n.*?```sql\n(.*?)```"
_GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"
(RESTORE_SQL,) = re.findall(_RESTORES, _GUIDE.read_text(), re.DOTALL)

OTHERS = 2000
ROWS = 20_000
OWN = 500
MOST_READ = 100
"""Rows that a step of a claim reads: the first ones of the candidates."""
CLAIMS_OF_TURN = 4
"""Claims of which the last one is for a waiting user."""
CLAIM_FORMS = 4
"""Urgent, waiting, lost, and of any user."""


@pytest.fixture(params=["embedded", "distributed"])
async def studios(request: pytest.FixtureRequest, user: str) -> AsyncIterator[list[Studio]]:
    """Three users without a worker: once on SQLite, and once on PostgreSQL and Redis."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(
            InProcessService.serving(request.getfixturevalue(request.param))
        )
        clients = [await stack.enter_async_context(service.client(f"{user}-{n}")) for n in range(3)]
        yield [Studio(service, client, (await client.projects.create("Queue")).id) for client in clients]


def kept(deployment: Deployment) -> list[tuple[Any, ...]]:
    """Return the queues that the database keeps: user, priority, length, first id and time of the turn."""
    rows = deployment.execute("SELECT * FROM user_queues WHERE length <> 0 OR head_id IS NOT NULL")
    return sorted(
        (row["user_id"], row["priority"], row["length"], row["head_id"], row["turn_time"]) for row in rows
    )


def counted(deployment: Deployment) -> list[tuple[Any, ...]]:
    """Return the same, computed from the generations and the turns."""
    turns = {row["user_id"]: row for row in deployment.rows("claim_turns")}
    queues: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in sorted(deployment.rows("avatar_generations"), key=lambda row: row["id"]):
        was_due = row["due_time"] and (row["due_time"] <= row["update_time"] or row["delay_over"])
        if row["state"] == "pending" and was_due:
            queues.setdefault((row["user_id"], row["priority"]), []).append(row)
    columns = ("claim_time", "normal_claim_time", "bulk_claim_time")
    return sorted(
        (
            user_id,
            priority,
            len(rows),
            rows[0]["id"],
            max(rows[0]["create_time"], turns[user_id][columns[priority]] or rows[0]["create_time"]),
        )
        for (user_id, priority), rows in queues.items()
    )


@pytest.mark.parametrize("seed", range(2))
async def test_the_queues_are_the_truth_after_any_changes(studios: list[Studio], seed: int) -> None:
    random = Random(seed)
    deployment = studios[0].service.deployment

    def set_times(generation_id: str, **times: datetime) -> None:
        columns = ", ".join(f"{column} = %s" for column in times)
        deployment.execute(
            f"UPDATE avatar_generations SET {columns} WHERE id = %s", *times.values(), generation_id
        )

    created: list[tuple[Studio, str]] = []
    for _ in range(40):
        studio = random.choice(studios)
        change = random.choice(
            ["create", "create", "create", "cancel", "retry", "delay", "end delay", "move"]
        )
        if change == "create" or not created:
            generation = await studio.create_generation(priority=random.choice(PRIORITIES))
            created.append((studio, generation.id))
            continue
        owner, generation_id = random.choice(created)
        state = row_of(deployment, generation_id)["state"]
        now = datetime.now(UTC)
        if change == "cancel":
            await owner.client.generations.cancel(generation_id)
        elif change == "retry" and state == "cancelled":
            created.append((owner, (await owner.client.generations.retry(generation_id)).id))
        elif change == "delay" and state == "pending":
            set_times(generation_id, due_time=now + timedelta(hours=1))
        elif change == "end delay" and state == "pending":
            set_times(generation_id, due_time=now - timedelta(hours=1))
        elif change == "move":
            set_times(generation_id, create_time=now - timedelta(seconds=random.randrange(1000)))
        assert kept(deployment) == counted(deployment), change
    await studios[0].client.projects.delete(studios[0].project_id)
    assert kept(deployment) == counted(deployment)

    provider = ScriptedProvider()
    async with studios[0].service.working(provider):
        for number in range(sum(length for _, _, length, _, _ in kept(deployment))):
            drawing = await provider.next_drawing()
            if number % 2:
                drawing.fail(RuntimeError("once"))
            else:
                drawing.succeed()
    assert kept(deployment) == counted(deployment)


async def test_a_retry_is_queued_once_its_delay_is_over(studios: list[Studio]) -> None:
    studio = studios[0]
    deployment = studio.service.deployment
    generation = await studio.create_generation()
    # As a failed attempt leaves it, long ago: it was not due when it was last written.
    deployment.execute(
        "UPDATE avatar_generations SET update_time = %s, due_time = %s",
        datetime.now(UTC) - timedelta(hours=2),
        datetime.now(UTC) - timedelta(hours=1),
    )
    assert kept(deployment) == []
    later = await studio.create_generation()
    read = await studio.client.generations.get(generation.id)
    assert (read.queue_position, later.queue_position) == (1, 0)

    provider = ScriptedProvider()
    async with studio.service.working(provider):
        for _ in range(2):
            (await provider.next_drawing()).succeed()
        await studio.wait_for_end(generation.id)

    assert not row_of(deployment, generation.id)["delay_over"]


async def test_a_generation_that_an_earlier_version_fails_again_is_not_queued(studios: list[Studio]) -> None:
    deployment = studios[0].service.deployment
    await studios[0].create_generation()
    now = datetime.now(UTC)
    delayed = "state = 'pending', update_time = %s, due_time = %s"
    ended = now - timedelta(hours=1)
    # As this version queues a retry, and as 0.1.0, which does not know `delay_over`, claims and fails it.
    deployment.execute(
        f"UPDATE avatar_generations SET {delayed}, delay_over = TRUE", now - timedelta(hours=2), ended
    )
    assert [length for _, _, length, _, _ in kept(deployment)] == [1]
    deployment.execute("UPDATE avatar_generations SET state = 'processing', update_time = %s", now)
    deployment.execute(f"UPDATE avatar_generations SET {delayed}", now, now + timedelta(hours=1))
    assert kept(deployment) == counted(deployment) == []


async def test_urgent_queues_that_cannot_be_claimed_keep_no_other_waiting(studios: list[Studio]) -> None:
    studio = studios[0]
    deployment = studio.service.deployment
    urgent = await studio.create_generation(priority=INTERACTIVE)
    user_id = row_of(deployment, urgent.id)["user_id"]
    others = [f"{user_id}-other-{number}" for number in range(CANDIDATES + 1)]
    copies = [
        {"id": f"{urgent.id[:-6]}{number:06d}", "user_id": other} for number, other in enumerate(others)
    ]
    copy_row(deployment, "avatar_generations", {"id": urgent.id}, copies)
    copy_row(deployment, "claim_turns", {"user_id": user_id}, [{"user_id": other} for other in others])
    deployment.execute(
        "UPDATE avatar_generations SET delay_over = TRUE, due_time = %s",
        datetime.now(UTC) + timedelta(hours=1),
    )
    assert len(kept(deployment)) == len(others) + 1
    generation = await studio.create_generation()

    provider = ScriptedProvider()
    async with studio.service.working(provider):
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(generation.id)


async def test_places_of_retries_are_the_order_of_their_times(studios: list[Studio]) -> None:
    deployment = studios[0].service.deployment
    generations = [await studio.create_generation() for studio in studios for _ in range(2)]
    now = datetime.now(UTC)
    for generation, hours in zip(generations, [3, None, 1, 4, None, 1], strict=True):
        if hours:
            deployment.execute(
                "UPDATE avatar_generations SET due_time = %s WHERE id = %s",
                now + timedelta(hours=hours),
                generation.id,
            )

    read = {}
    for studio in studios:
        async for generation in studio.client.generations.list():
            read[generation.id] = generation.queue_position

    assert [read[generation.id] for generation in generations] == [4, 0, 2, 5, 1, 3]


async def test_a_generation_of_a_deleted_project_delays_no_other_of_its_user(studios: list[Studio]) -> None:
    studio = studios[0]
    deployment = studio.service.deployment
    doomed = (await studio.client.projects.create("Doomed")).id
    for _ in range(2):
        await studio.client.generations.create(doomed, "a portrait")
    generation = await studio.create_generation()
    # As the deletion of a large project leaves it, until background jobs have ended its generations.
    deployment.execute(
        "UPDATE avatar_projects SET delete_time = %s, subtracted = %s WHERE id = %s",
        datetime.now(UTC),
        json.dumps({"usages": 0, "generations": {}}),
        doomed,
    )

    provider = ScriptedProvider()
    async with studio.service.working(provider):
        (await provider.next_drawing()).succeed()
        await studio.wait_for_end(generation.id)


async def test_a_worker_takes_the_next_generation_of_a_user_whose_turn_another_one_holds(
    distributed: Deployment, user: str
) -> None:
    async with InProcessService.serving(distributed) as service, service.client(user) as client:
        studio = Studio(service, client, (await client.projects.create("Held")).id)
        held, free = [await studio.create_generation() for _ in range(2)]
        provider = ScriptedProvider()
        with closing(psycopg2.connect(distributed.settings["DATABASE_URL"])) as other:
            other.cursor().execute("SELECT 1 FROM claim_turns FOR UPDATE")
            other.cursor().execute("SELECT 1 FROM avatar_generations WHERE id = %s FOR UPDATE", (held.id,))
            async with service.working(provider):
                (await provider.next_drawing()).succeed()
                await studio.wait_for_end(free.id)
        assert row_of(distributed, held.id)["attempt_number"] == 0


async def test_restored_rows_without_queues_are_found_and_the_documented_sql_fills_the_queues(
    distributed: Deployment, user: str
) -> None:
    async with InProcessService.serving(distributed) as service, service.client(user) as client:
        studio = Studio(service, client, (await client.projects.create("Restored")).id)
        for priority in PRIORITIES:
            await studio.create_generation(priority=priority)
        await client.avatars.upload(studio.project_id, pictures.png(), name="Quetzal")

        def stored() -> list[list[str]]:
            return [sorted(map(str, distributed.rows(name))) for name in tables]

        tables = "user_queues", "avatar_search"
        before = stored()
        for name in tables:
            distributed.execute(f"DELETE FROM {name}")
        found = await queue_check(distributed)
        assert found.result == "failed"
        assert "3 queue(s) of users have another length" in found.found

        distributed.execute(RESTORE_SQL)

        assert stored() == before
        found = await queue_check(distributed)
        assert "another length" not in found.found


async def queue_check(deployment: Deployment) -> Check:
    """Return the check of `doctor` about the queue. It asks the server, which runs in this process."""
    finished = await asyncio.to_thread(deployment.run_command, "doctor")
    return checks_of(finished.stdout)["generations"]


class LongQueue:
    """A queue of 20,000 generations of 2,000 users, and the statements that use it."""

    def __init__(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        self.studio = studio
        self._deployment = studio.service.deployment
        self._monkeypatch = monkeypatch
        self._statements: dict[str, Any] = {}

    async def fill(self) -> None:
        """Copy a pending generation of the user to others."""
        generation = await self.studio.create_generation()
        user_id = row_of(self._deployment, generation.id)["user_id"]
        copies = [
            {
                "id": f"{generation.id[:-6]}{number:06d}",
                "user_id": user_id if number < OWN else f"other-{number % OTHERS}",
            }
            for number in range(ROWS)
        ]
        copy_row(self._deployment, "avatar_generations", {"id": generation.id}, copies)
        turns = [{"user_id": f"other-{number}"} for number in range(OTHERS)]
        copy_row(self._deployment, "claim_turns", {"user_id": user_id}, turns)

    def record(self) -> None:
        """Record the statements from now on."""
        kind: Any = peewee.Database if self._deployment.is_embedded else Postgresql
        run, run_together = kind.execute_sql, Postgresql.execute_together

        def recorded(database: Any, sql: str, params: Any = None) -> Any:
            self._statements[sql] = params
            return run(database, sql, params)

        def recorded_together(database: Any, statements: Sequence[Statement]) -> Any:
            self._statements |= {statement.sql: statement.values for statement in statements}
            return run_together(database, statements)

        self._monkeypatch.setattr(kind, "execute_sql", recorded)
        self._monkeypatch.setattr(Postgresql, "execute_together", recorded_together)

    def plans(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield each recorded query of the queue with its plan."""
        explain = "EXPLAIN QUERY PLAN" if self._deployment.is_embedded else "EXPLAIN (ANALYZE, FORMAT JSON)"
        for sql, params in self._queries():
            yield sql, self._deployment.execute(f"{explain} {sql}", *params)

    def kept_plans(self, mode: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each recorded query with the plan that PostgreSQL keeps for it in a `plan_cache_mode`."""
        with closing(psycopg2.connect(self._deployment.settings["DATABASE_URL"])) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SET plan_cache_mode = {mode}")
            for sql, params in self._queries():
                cursor.execute(f"PREPARE kept AS {sql}" % tuple(f"${n + 1}" for n in range(len(params))))
                call = f"EXECUTE kept ({', '.join(['%s'] * len(params))})" if params else "EXECUTE kept"
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {call}", params)
                [[[plan]]] = cursor.fetchall()
                yield sql, plan["Plan"]
                cursor.execute("DEALLOCATE kept")

    def _queries(self) -> Iterator[tuple[str, Sequence[Any]]]:
        self._monkeypatch.undo()
        for sql, params in self._statements.items():
            if sql.startswith("SELECT") and re.search("user_queues|avatar_generations", sql):
                yield sql, params or ()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan of PostgreSQL."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def rows_read(node: dict[str, Any]) -> float:
    """Return the number of rows that a node of a plan has read."""
    return float(node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * int(node["Actual Loops"])


async def test_claims_and_places_do_not_read_a_long_queue(
    studios: list[Studio], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = LongQueue(studios[0], monkeypatch)
    await queue.fill()
    studios[0].service.deployment.execute("ANALYZE")
    queue.record()
    client = studios[0].client
    page = [generation async for generation in client.generations.list(page_size=OWN)]
    assert len({generation.queue_position for generation in page}) == OWN + 1
    await client.generations.get(page[0].id)
    await client.generations.estimate(studios[0].project_id, "a portrait")
    provider = ScriptedProvider()
    provider.max_concurrency = 1
    async with studios[0].service.working(provider):
        for _ in range(5):
            (await provider.next_drawing()).fail(RuntimeError("once"))

    used = set()
    for sql, plan in queue.plans():
        if studios[0].service.deployment.is_embedded:
            details = [row["detail"] for row in plan]
            aliases = re.findall(r'"avatar_generations" AS "(\w+)"', sql)
            scanned = [each for each in details if re.match(rf"SCAN ({'|'.join(aliases)})\b", each)]
            assert not aliases or scanned == [], (sql, details)
            used |= {name for each in details for name in re.findall(r"INDEX (\w+)", each)}
            continue
        for node in nodes(plan[0]["QUERY PLAN"][0]["Plan"]):
            if node.get("Relation Name") == "avatar_generations":
                assert rows_read(node) < 4 * OWN, (sql, node)
            if "Sort" in node["Node Type"]:
                assert rows_read(node["Plans"][0]) < 4 * OWN, (sql, node)
            used.add(node.get("Index Name"))

    # SQLite finds the first pending generation of a user by the index of the states as well.
    by_state = {"avatar_generations_user_state"} if studios[0].service.deployment.is_embedded else set()
    assert "user_queues_turns" in used
    assert used & ({"avatar_generations_queued"} | by_state)


async def test_a_claim_reads_no_long_queue_however_old_the_statistics_are(
    distributed: Deployment, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("avatar_generations", "user_queues", "claim_turns"):
        distributed.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    async with InProcessService.serving(distributed) as service, service.client(user) as client:
        queue = LongQueue(Studio(service, client, (await client.projects.create("Queue")).id), monkeypatch)
        await queue.fill()
        queue.record()
        provider = ScriptedProvider()
        provider.max_concurrency = 1
        async with service.working(provider):
            for _ in range(CLAIMS_OF_TURN):
                (await provider.next_drawing()).fail(RuntimeError("once"))
        with closing(psycopg2.connect(distributed.settings["DATABASE_URL"])) as other:
            other.cursor().execute("SELECT 1 FROM claim_turns FOR UPDATE")
            async with service.working(provider):
                await provider.next_drawing()

    def require_few_rows(statistics: str, most: int = MOST_READ) -> None:
        for mode in ("force_custom_plan", "force_generic_plan"):
            plans = dict(queue.kept_plans(mode))
            assert sum("SKIP LOCKED" in sql for sql in plans) >= CLAIM_FORMS
            for sql, plan in plans.items():
                for node in nodes(plan):
                    if node.get("Relation Name") in ("avatar_generations", "claim_turns"):
                        assert rows_read(node) <= most, (statistics, mode, node, sql)

    pending = "WHERE state = 'pending'"
    # PostgreSQL sorts the queues then, and needs the first generation of each.
    require_few_rows("none", most=OTHERS + 1)
    distributed.execute(f"UPDATE avatar_generations SET due_time = NULL {pending}")
    distributed.execute("ANALYZE")
    distributed.execute(f"UPDATE avatar_generations SET due_time = update_time {pending}")
    require_few_rows("older than the queue")
    distributed.execute("ANALYZE")
    require_few_rows("new")
    distributed.execute(
        "INSERT INTO queue_pauses (route, pause_time, paused_by, note) VALUES ('', %s, 'olga', '')",
        datetime.now(UTC),
    )
    # Without the pause, a claim looks for an open generation in every queue then.
    require_few_rows("new, while the queue is paused", most=OWN)
