"""The screen of `top`: one look at a running service, in a terminal of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from avatar_creator import Queue, RunningAttempt, UserActivity, Worker, WorkerState
from avatar_creator_server.cli.format import age, dollars, label, printable

_GAP = 2
_FEWEST_USERS = 3
_MIN_USER_WIDTH = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service at one moment."""

    time: datetime
    queue: Queue
    workers: Sequence[Worker]
    users: Sequence[UserActivity]
    """The users with the longest queues, longest first."""
    price_today_micros: int
    """Cost of the attempts of the current UTC day, in millionths of a US dollar."""


def screen(
    shown: Snapshot, *, server: str, hint: str = "", problem: str = "", console: Console | None = None
) -> RenderableType:
    """Return the snapshot as text.

    Args:
        shown: The snapshot.
        server: Address of the server.
        hint: Keys that the person can press; empty for none.
        problem: Warning, such as that the service does not answer; empty for none.
        console: Terminal that shows it; what does not fit is counted. None: everything.
    """
    above: list[RenderableType] = [_line(server, f"{shown.time.astimezone():%H:%M:%S}", hint)]
    if problem:
        above.append(_line(problem, style="bold red"))
    above.append(_totals(shown))
    above += [*_warnings(shown), *_outages(shown), *_pauses(shown)]
    failures = _failures(shown.queue)
    rest = None
    if console is not None:
        # Without the head of the table, its three priorities, and blank lines around the three parts.
        rest = console.height - len(above) - 7 - len(failures.wrap(console, console.width))
    users = shown.users if rest is None else shown.users[: max(_FEWEST_USERS, rest // 3)]
    more_users = 0 if rest is None else max(0, len(users) - len(shown.queue.depths))
    lines = None if rest is None else max(1, rest - more_users)
    return Group(*above, "", _queue(shown, users), "", failures, "", *_workers(shown, lines))


def _line(*parts: str, style: str = "") -> Text:
    return Text(
        f"{' ' * _GAP}".join(map(printable, filter(None, parts))), style, no_wrap=True, overflow="ellipsis"
    )


def _totals(shown: Snapshot) -> Text:
    live, drained = (
        sum(worker.slots for worker in shown.workers if worker.state == state)
        for state in (WorkerState.LIVE, WorkerState.DRAINING)
    )
    # A drained worker still runs what it has claimed.
    running = f"running {shown.queue.running_count:,} of {live + drained:,} slots"
    running += f" ({drained:,} drained)" if drained else ""
    return Text(f"{running}   price today {dollars(shown.price_today_micros)}", no_wrap=True)


def _warnings(shown: Snapshot) -> list[RenderableType]:
    """Return one line with what is wrong with the workers; none if nothing is."""
    states = [worker.state for worker in shown.workers]
    lost, abandoned = states.count(WorkerState.LOST), shown.queue.abandoned_count
    warnings = [
        "" if WorkerState.LIVE in states else "no worker takes generations",
        f"{lost:,} worker{'' if lost == 1 else 's'} lost" if lost else "",
        f"{abandoned:,} generation{'' if abandoned == 1 else 's'} abandoned" if abandoned else "",
    ]
    return [_line(", ".join(filter(None, warnings)), style="bold red")] if any(warnings) else []


def _outages(shown: Snapshot) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for route in shown.queue.routes:
        if route.outage_start_time is None or route.outage_retry_time is None:
            continue
        since = age(route.outage_start_time, shown.time)
        left = age(shown.time, route.outage_retry_time)
        sentence = f"OUTAGE route {route.name} for {since}: {route.outage_reason}, retry in {left}"
        lines.append(_line(sentence, style="bold red"))
    return lines


def _pauses(shown: Snapshot) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for pause in shown.queue.pauses:
        subject = f"route {pause.route}" if pause.route else "the whole queue"
        note = f": {pause.note}" if pause.note else ""
        since = age(pause.pause_time, shown.time)
        lines.append(_line(f"PAUSED {subject} for {since} by {pause.paused_by}{note}", style="bold yellow"))
    return lines


def _failures(queue: Queue) -> Text:
    if not queue.recent_failures:
        return Text("nothing failed in the last hour", "dim")
    text = Text("failed in the last hour")
    for failure in queue.recent_failures:
        text.append(f"   {failure.generation_count:,} {printable(failure.reason)}", "red")
    return text


def _queue(shown: Snapshot, users: Sequence[UserActivity]) -> Table:
    """Return the queue by priority, and next to it by user."""
    # Only the users' column gets narrower: the others hold numbers.
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("queue", no_wrap=True)
    for name in ("due", "waiting to retry", "oldest"):
        table.add_column(name, justify="right", no_wrap=True)
    if users:
        table.add_column("  user", min_width=_MIN_USER_WIDTH)
        for name in ("due", "running"):
            table.add_column(name, justify="right", no_wrap=True)
    for depth, user in zip_longest(shown.queue.depths, users):
        cells: list[RenderableType] = ["", "", "", ""]
        if depth:
            oldest = age(depth.oldest_due_time, shown.time)
            cells = [
                label(depth.priority),
                f"{depth.due_count:,}",
                f"{depth.waiting_to_retry_count:,}",
                oldest,
            ]
        if user:
            cells += [_name(f"  {user.user_id}"), f"{user.due_count:,}", f"{user.processing_count:,}"]
        table.add_row(*cells)
    return table


def _workers(shown: Snapshot, lines: int | None) -> list[RenderableType]:
    """Return the workers with their attempts, those with the oldest attempts first, on so many lines."""
    if not shown.workers:
        return [Text("no worker has been seen in the last day", "bold red")]
    workers = sorted(
        shown.workers, key=lambda worker: (not worker.running, _first_start(worker), worker.name)
    )
    parts: list[RenderableType] = []
    left = lines
    for number, worker in enumerate(workers):
        needed = 1 + len(worker.running)
        others = len(workers) - number
        # The last line may have to count the others.
        if left is not None and needed > left - (others > 1):
            hidden = sum(len(each.running) for each in workers[number:])
            parts.append(
                Text(f"and {others:,} worker{'' if others == 1 else 's'} more, which run {hidden:,}", "dim")
            )
            break
        if left is not None:
            left -= needed
        parts += running_work(worker, shown.time)
    return parts


def running_work(worker: Worker, now: datetime) -> list[RenderableType]:
    """Return a worker with its attempts, oldest first, on a line each."""
    attempts = sorted(worker.running, key=lambda attempt: attempt.start_time)
    return [_worker(worker, now), *([_attempts(attempts, now)] if attempts else [])]


def _first_start(worker: Worker) -> datetime:
    return min((attempt.start_time for attempt in worker.running), default=worker.start_time)


def _worker(worker: Worker, now: datetime) -> Text:
    state = label(worker.state)
    if worker.state == WorkerState.LOST:
        state += f" for {age(worker.last_seen_time, now)}"
    if worker.state == WorkerState.DRAINING:
        state += f" for {age(worker.drain_time, now)}"
    text = Text(f"worker {printable(worker.name)}", "bold", no_wrap=True, overflow="ellipsis")
    style = {WorkerState.LIVE: "green", WorkerState.DRAINING: "yellow"}.get(worker.state, "bold red")
    text.append(f"  {state}", style)
    text.append(f"  {len(worker.running):,} of {worker.slots:,}", "not bold")
    return text


def _attempts(attempts: Sequence[RunningAttempt], now: datetime) -> Table:
    table = Table.grid(
        Column(no_wrap=True),
        Column(min_width=9, no_wrap=True),
        Column(min_width=5, justify="right", no_wrap=True),
        Column(min_width=4, justify="right", no_wrap=True),
        Column(min_width=_MIN_USER_WIDTH),
        padding=(0, _GAP, 0, 0),
    )
    for attempt in attempts:
        again = f" (attempt {attempt.attempt_number})" if attempt.attempt_number > 1 else ""
        table.add_row(
            f"  {printable(attempt.generation_id)}",
            label(attempt.stage),
            f"{attempt.progress_percent} %",
            age(attempt.start_time, now),
            _name(f"{attempt.user_id}{again}"),
        )
    return table


def _name(text: str) -> Text:
    """Return a name, with the blanks before it, on one line that is shortened to its column."""
    blanks = len(text) - len(text.lstrip())
    return Text(f"{' ' * blanks}{printable(text)}", no_wrap=True, overflow="ellipsis")
