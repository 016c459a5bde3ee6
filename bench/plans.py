"""The plan of every statement of the service, on a database of any size.

`make plans` fills a database with 1,000,000 avatars, calls every RPC with every filter, lets a worker work,
and records what PostgreSQL receives. It then runs EXPLAIN ANALYZE for each statement and prints a table. It
fails if a statement reads or sorts many more rows than a page has, unless `STATED` gives a reason. A test
does the same with 20,000 avatars.

    python -m bench.plans [AVATARS]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from rich.console import Console
from rich.table import Table

from avatar_creator import AvatarCreator, ResourceExhaustedError
from bench.contract_calls import CALLS, Filled
from bench.filling import LARGEST_USER, fill
from tests.support.ports import free_port
from tests.support.postgres import OwnPostgres
from tests.support.redis import Redis
from tests.support.service import Deployment
from tests.support.statement_log import Received, StatementLog
from tests.support.waiting import let_pass, wait_until

MOST_ROWS = 1001
"""Rows of the largest page that most lists have, and one more: no step may read or sort more of them."""
SMALL_TABLE = 1000
"""A sequential scan of a table with fewer rows is no problem."""

NO_LIMIT = "1000000"
"""A limit that is checked and never reached."""

_WORKER_SECONDS = 280.0


@dataclass(frozen=True, slots=True)
class Stated:
    """A finding that is as it should be."""

    call: str
    """Pattern of the name of the call."""
    finding: str
    """Pattern of the finding."""
    reason: str


STATED = (
    Stated(
        "Generation|CreateProject",
        "generation_starts_user_price|^Subquery Scan reads",
        "The limits add up what a user has started in a day, from the index alone: 2 ms for 20,000.",
    ),
    Stated(
        "GetStats, of all users",
        "user_statistics|daily_uploads_day|daily_spend_day",
        "An operator's sums of all users, from rows for each user and day: 5 ms for 10,000 users.",
    ),
    Stated(
        "SummarizeUsage",
        "avatar_app_actions|avatar_app_usage|Subquery Scan|sorts",
        "A page has up to 1,000 apps, and each app has several actions.",
    ),
    Stated(
        "ListUsage, of an action",
        "avatar_usage_history_newest",
        "An action alone has no index, which would be written at every use. Most uses are of a few actions, "
        "and an action that never occurred is known from the sums.",
    ),
    Stated(
        "ListUsage",
        "avatar_usage_history_newest reads",
        "A frequent app is found as fast in the list of all uses.",
    ),
    Stated(
        "^(ListGenerations|ListAvatars)",
        "_pkey reads",
        "For a user with a tenth of all rows, PostgreSQL walks the primary key, which is in the order of the "
        "list, and drops the rows of others: 1 to 3 ms. It also walks a long queue that is newer than the "
        "first row of the list, so 50,000 waiting generations cost some milliseconds once.",
    ),
    Stated(
        "ListAvatars, of all users, last used first",
        "",
        "An operator's list. PostgreSQL would read an index for it also for the list of one user, whose "
        "avatars may come late in it.",
    ),
    Stated(
        "WatchGenerations, of a project",
        "",
        "The first answer has all unfinished generations of the project, in the order of their changes.",
    ),
    Stated(
        "ListGenerations, of all users, pending",
        "sorts|avatar_generations_due",
        "An operator's list of a queue: the whole queue is sorted if few of its rows are new.",
    ),
    Stated(
        "ListGenerations, of a project, active",
        "",
        "Unfinished generations are found by user, and a limit bounds how many a user has.",
    ),
    Stated(
        "DeleteProject, large|worker",
        "avatars_project|avatar_generations_project|avatar_generations_user_state|Heap Scan avatar",
        "A deletion counts the rows of its project once, to subtract them from the statistics.",
    ),
    Stated(
        "GetQueue|PauseQueue|ResumeQueue|ListUsers|RetryNow",
        "user_queues|quick_work|daily_spend_day_user|avatar_generations_ended|avatar_generations_delayed|sorts",
        "An operator's call: it counts the queue, or the failures and the spending of a day.",
    ),
    Stated(
        "BulkCancelGenerations, dry run",
        "sorts|avatar_generations_due|avatar_generations_queued",
        "An operator's call: the oldest generations of a whole queue, which no index has in their order.",
    ),
    Stated(
        "",
        "user_queues",
        "Places in the queue follow from the lengths of all queues, and turns are checked for all: a row for "
        "each user who waits, 0.3 ms for 1,500, and up to 10 ms for a page of many users.",
    ),
    Stated(
        "Generation",
        "avatar_generations_delayed|WindowAgg",
        "A place behind a retry's delay counts the earlier ones: 1 ms for 1,000, once for a page.",
    ),
    Stated(
        "^metrics",
        "quick_work|avatar_generations_due",
        "A scrape counts the background jobs and the due generations: 1 ms for 5,000 jobs.",
    ),
    Stated(
        "^doctor",
        "avatar_generations_queued|user_queues|Subquery Scan|sorts",
        "A comparison of all queues with their generations, from the index alone: 30 ms for 300,000.",
    ),
    Stated(
        "Generation",
        "avatar_generations_queued reads",
        "A place in the queue counts the user's own queue, from the index alone; the limit allows 50.",
    ),
    Stated(
        "^ListAvatars",
        "avatar_search",
        "A frequent attribute of a list by last use: the index has all avatars that have the attribute.",
    ),
)
"""The findings that are no defects. The first one that fits counts."""

INDEXES = {
    "ListGenerations, failed": "avatar_generations_user_state",
    "ListGenerations, failed or cancelled": "avatar_generations_user_state",
    "ListGenerations, processing": "avatar_generations_user_state",
    "ListGenerations, created in an old week, failed": "avatar_generations_user_state",
    "ListGenerations, of a project, failed": "avatar_generations_project_ended",
    "ListGenerations, of all users, failed": "avatar_generations_ended",
    "WatchGenerations, of a project": "avatar_generations_user_state",
    "DeleteProject, large": "avatar_generations_user_state",
    "ListUsage": "avatar_usage_history_newest",
    "ListUsage, of a rare app": "avatar_usage_history_app",
    "ListUsage, of a rare app and an action": "avatar_usage_history_app",
    "ListUsage, of an absent action": "avatar_app_actions_pkey",
    "CreateGeneration, normal": "generation_starts_user_price",
    "CreateGeneration, over SPEND_LIMIT_PER_DAY": "generation_starts_user_price",
    "GetStats, of all users": "daily_spend_day",
    "worker": "idempotency_keys_create_time",
}
"""An index that a statement of a call must use, by the name of the call."""


@dataclass(slots=True)
class Plan:
    """The plan of a statement."""

    call: str
    """Name of the call that sent the statement."""
    received: Received
    milliseconds: float
    """Time in PostgreSQL; 0 if it was not run."""
    indexes: list[str] = field(default_factory=list)
    worst: str = ""
    """The step that took longest."""
    findings: list[str] = field(default_factory=list)
    """Steps that read or sort too many rows."""


def record(deployment: Deployment, log: StatementLog) -> Iterator[tuple[str, list[Received]]]:
    """Call everything, and yield the statements of each call, first those that an idle server repeats."""
    metrics = f"127.0.0.1:{free_port()}"
    deployment.start_server(METRICS_ADDRESS=metrics)
    with (
        deployment.client(LARGEST_USER) as largest,
        deployment.client("user-77") as ordinary,
        deployment.client("olga", role="ops") as operator,
    ):
        filled = Filled.of(deployment, largest, ordinary, operator)
        with largest.generations.watch_many(filled.pending) as states:
            next(states)
            log.read_new()
            yield "repeated by an idle server", _for_a_while(log)
        for rpc, forms in CALLS.items():
            for form, call in forms.items():
                log.read_new()
                call(filled)
                yield ", ".join(filter(None, (rpc.partition(".")[2], form))), log.read_new()
        for limit in ("CONCURRENT", "PER_MINUTE", "PER_DAY"):
            yield from _refused(deployment, log, filled, f"GENERATION_LIMIT_{limit}", "1")
        yield from _refused(deployment, log, filled, "SPEND_LIMIT_PER_DAY", "0.01")
    log.read_new()
    urllib.request.urlopen(f"http://{metrics}/metrics", timeout=60).read()
    yield "metrics", log.read_new()
    deployment.run_command("doctor")
    yield "doctor", log.read_new()
    yield "worker", _of_worker(deployment, log)


def _for_a_while(log: StatementLog) -> list[Received]:
    """Return what arrives in three seconds, in which an idle server does all that it repeats often."""
    let_pass(3.0)
    return log.read_new()


def _refused(
    deployment: Deployment, log: StatementLog, filled: Filled, setting: str, limit: str
) -> Iterator[tuple[str, list[Received]]]:
    """Yield the statements of a server that refuses a generation, because the user is over a limit."""
    server = deployment.start_server(**{setting: limit})
    with closing(AvatarCreator(server.target, token=deployment.token(LARGEST_USER))) as client:
        client.projects.get(filled.project_id)
        log.read_new()
        try:
            client.generations.create(filled.project_id, "a portrait", timeout=60.0)
        except ResourceExhaustedError:
            yield f"CreateGeneration, over {setting}", log.read_new()
        else:
            raise RuntimeError(f"{setting} {limit} refused nothing")
    server.close()


def _of_worker(deployment: Deployment, log: StatementLog) -> list[Received]:
    """Return the statements of a worker that draws, removes a project and clears away."""
    # Make some of the rows old, so that they are cleared away.
    for table, change in (
        ("idempotency_keys", "create_time = create_time - interval '30 days'"),
        (
            "generation_starts",
            "create_time = create_time - interval '30 days', generation_id = '0' || substr(generation_id, 2)",
        ),
    ):
        deployment.execute(
            f"UPDATE {table} SET {change} WHERE ctid IN (SELECT ctid FROM {table} LIMIT {MOST_ROWS})"
        )
    log.read_new()
    worker = deployment.start_worker()
    found = list[Received]()
    missing = {
        "INSERT avatars",
        "DELETE avatars",
        "DELETE quick_work",
        "DELETE idempotency_keys",
        "DELETE generation_starts",
    }

    def worked() -> bool:
        added = log.read_new()
        found.extend(added)
        missing.difference_update(received.subject for received in added)
        return not missing

    wait_until(worked, _WORKER_SECONDS, lambda: f"no {missing}\n{worker.last_output()}")
    worker.close()
    return found


def explain(database_url: str, recorded: Sequence[tuple[str, list[Received]]], *, small: bool) -> list[Plan]:
    """Return a plan for each statement of each call, without those that an idle server repeats anyway.

    Args:
        database_url: URL of the database.
        recorded: Names of calls, and the statements of each.
        small: True if sequential scans must be avoided where that is possible, because the tables are small.
    """
    plans = list[Plan]()
    idle = {received.form for received in recorded[0][1]}
    with closing(psycopg2.connect(database_url)) as connection:
        cursor = connection.cursor()
        if small:
            # The planner then takes the indexes that it takes for large tables.
            cursor.execute("SET enable_seqscan = off")
            cursor.execute("SET random_page_cost = 1")
        cursor.execute("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'")
        sizes = dict(cursor.fetchall())
        connection.commit()
        for call, statements in recorded:
            forms = {received.form: received for received in statements}
            for form, received in forms.items():
                if call != recorded[0][0] and form in idle:
                    continue
                plans.append(_explain(connection, call, received, sizes))
    return plans


def _explain(connection: Any, call: str, received: Received, sizes: dict[str, float]) -> Plan:
    cursor = connection.cursor()
    for options in ("ANALYZE, ", ""):
        try:
            if received.prepared:
                cursor.execute("DEALLOCATE ALL")
                cursor.execute(received.prepared)
            cursor.execute(f"EXPLAIN ({options}FORMAT JSON) {received.sql}")
            [[[root]]] = cursor.fetchall()
            break
        except psycopg2.IntegrityError:
            pass  # The row is there since the call.
        finally:
            connection.rollback()
    plan = Plan(call, received, root.get("Execution Time", 0.0))
    steps = list(_steps(root["Plan"]))
    plan.indexes = sorted({step["Index Name"] for step in steps if "Index Name" in step})
    if plan.milliseconds:
        slowest = max(steps, key=_own_milliseconds)
        plan.worst = f"{_described(slowest)} {_own_milliseconds(slowest):.2f} ms"
    for step in steps:
        rows = _rows(step) + _dropped(step)
        table = step.get("Relation Name", "")
        if step["Node Type"] == "Seq Scan" and sizes.get(table, 0) >= SMALL_TABLE and rows > 1:
            plan.findings.append(f"reads all of {table}")
        elif "Scan" in step["Node Type"] and rows > MOST_ROWS:
            plan.findings.append(f"{_described(step)} reads {rows:,.0f} rows")
        elif step["Node Type"] == "Sort" and (sorted_rows := _rows(step["Plans"][0])) > MOST_ROWS:
            plan.findings.append(f"sorts {sorted_rows:,.0f} rows")
    return plan


def _steps(step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield step
    for inner in step.get("Plans", ()):
        yield from _steps(inner)


def _rows(step: dict[str, Any]) -> float:
    return float(step.get("Actual Rows", 0) * step.get("Actual Loops", 0))


def _dropped(step: dict[str, Any]) -> float:
    dropped = step.get("Rows Removed by Filter", 0) + step.get("Rows Removed by Index Recheck", 0)
    return float(dropped * step.get("Actual Loops", 0))


def _own_milliseconds(step: dict[str, Any]) -> float:
    def total(of: dict[str, Any]) -> float:
        return float(of.get("Actual Total Time", 0) * of.get("Actual Loops", 0))

    return total(step) - sum(total(inner) for inner in step.get("Plans", ()))


def _described(step: dict[str, Any]) -> str:
    subject = step.get("Index Name") or step.get("Relation Name") or step.get("CTE Name") or ""
    return f"{step['Node Type']} {subject}".strip()


def different(plans: Sequence[Plan]) -> list[Plan]:
    """Return one plan for each form of a statement and each set of indexes and findings that it has."""
    found = dict[tuple[Any, ...], Plan]()
    for plan in plans:
        findings = [re.sub(r"[\d,]+", "", finding) for finding in plan.findings]
        found.setdefault((plan.received.form, *plan.indexes, *findings), plan)
    return list(found.values())


def missing_indexes(plans: Sequence[Plan]) -> list[str]:
    """Return the calls whose statements do not use the index of `INDEXES`."""
    used = {
        call: {index for plan in plans if plan.call == call for index in plan.indexes} for call in INDEXES
    }
    return [f"{call} does not use {index}" for call, index in INDEXES.items() if index not in used[call]]


def unstated(plans: Sequence[Plan]) -> list[str]:
    """Return the findings for which `STATED` gives no reason."""
    return [
        f"{plan.call}: {finding}\n    {plan.received.form[:1500]}"
        for plan in different(plans)
        for finding in plan.findings
        if not any(re.search(each.call, plan.call) and re.search(each.finding, finding) for each in STATED)
    ]


def record_and_explain(
    postgres: OwnPostgres, redis_url: str, directory: Path, *, avatars: int, small: bool
) -> list[Plan]:
    """Fill a new database, call everything, and return the plans.

    Args:
        postgres: The server for the database.
        redis_url: An empty database of Redis.
        directory: An empty folder for the service.
        avatars: Number of avatars; other numbers are in proportion.
        small: See `explain`.
    """
    url = postgres.create_database()
    no_limits = dict.fromkeys(
        (f"GENERATION_LIMIT_{limit}" for limit in ("CONCURRENT", "PER_MINUTE", "PER_DAY")), NO_LIMIT
    )
    deployment = Deployment.distributed(directory, url, redis_url, SPEND_LIMIT_PER_DAY=NO_LIMIT, **no_limits)
    try:
        deployment.run_command("migrate")
        fill(
            url,
            avatars=avatars,
            users=max(avatars // 100, 100),
            largest_user=avatars // 10 if not small else avatars // 5,
            uses=5 * avatars,
            queued=avatars // 20 if not small else avatars // 10,
        )
        recorded = list(record(deployment, postgres.log_statements(url)))
    finally:
        deployment.close()
    plans = explain(url, recorded, small=small)
    postgres.drop_database(url)
    return plans


def main() -> int:
    """Print the table and the findings; return 1 if a finding has no stated reason."""
    parser = argparse.ArgumentParser(description="Explain every statement of the service.")
    parser.add_argument("avatars", type=int, nargs="?", default=1_000_000)
    arguments = parser.parse_args()
    with ExitStack() as closing_all:
        postgres = OwnPostgres()
        closing_all.callback(postgres.close)
        redis = Redis.start()
        closing_all.callback(redis.close)
        directory = Path(closing_all.enter_context(tempfile.TemporaryDirectory()))
        plans = record_and_explain(postgres, redis.url(1), directory, avatars=arguments.avatars, small=False)
    table = Table("call", "statement", "indexes", "ms", "slowest step")
    for plan in different(plans):
        shown = f"{plan.milliseconds:.2f}" if plan.milliseconds else ""
        table.add_row(plan.call, plan.received.subject, "\n".join(plan.indexes), shown, plan.worst)
    Console(width=180).print(table)
    found = [*unstated(plans), *missing_indexes(plans)]
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
