"""Calls: GetAvatar, lists, and writes, next to a handler that only answers or only runs the same SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psutil

from avatar_creator.v1 import avatar_project_service_pb2 as project_pb
from avatar_creator.v1 import avatar_service_pb2 as avatar_pb
from avatar_creator.v1 import generation_service_pb2 as generation_pb
from avatar_creator.v1 import usage_service_pb2 as usage_pb
from bench.filling import fill
from bench.goals import BY_NAME
from bench.lab import USER, Lab, Scale, baseline, rpc
from bench.load import Speed, Target, answer_of, at_rate, enough_calls, full_speed, median_speed
from bench.recording import recording, with_new_ids
from bench.results import Result, interleaved, of_more_processes, of_pairs
from tests.support.service import Deployment

_SECONDS = {Scale.TINY: 0.05, Scale.SHORT: 0.4, Scale.FULL: 2.0}
"""Time of one measurement at full speed."""
_AT_ONCE = {Scale.TINY: 1, Scale.SHORT: 32, Scale.FULL: 32}
"""Calls in flight. A server never refuses the only call of a user, however busy the machine is."""
_LATENCY_FACTOR = 2.5
"""Time of a measurement of latency, as a multiple of that."""
_PAGE = 20
_PROJECTS = 32
_AVATARS = {Scale.TINY: 100, Scale.SHORT: 10_000, Scale.FULL: 10_000}
"""Avatars of the user who calls."""
_USERS = 100
_CONNECTIONS = 16
"""Connections to a server of several processes: the kernel gives each one to a process."""

READS = ("get-avatar", "get-avatar-spread", "get-avatar-p99", "list-avatars", "batch-get-avatars")
WRITES = ("create-project", "record-usage", "create-generation", "create-generation-projects")
ROWS = (*READS, *WRITES, "processes")


@dataclass(frozen=True, slots=True)
class _Data:
    """Rows that the calls name."""

    project_ids: Sequence[str]
    avatar_ids: Sequence[str]


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`."""
    url = lab.database()
    avatars = _AVATARS[lab.scale]
    fill(url, avatars=2 * avatars, users=_USERS, largest_user=avatars, uses=avatars)
    with lab.deployment(url) as deployment:
        data = _read(deployment)
        if set(rows) & {*READS, *WRITES}:
            deployment.start_server()
            yield from _reads(lab, deployment, data, [row for row in rows if row in READS])
            yield from _writes(lab, deployment, data, [row for row in rows if row in WRITES])
        if "processes" in rows:
            yield _processes(lab, deployment, data)


def _read(deployment: Deployment) -> _Data:
    avatars = deployment.execute("SELECT id FROM avatars WHERE user_id = %s ORDER BY id DESC", USER)
    projects = deployment.execute(
        "SELECT id FROM avatar_projects WHERE user_id = %s ORDER BY id LIMIT %s", USER, _PROJECTS
    )
    return _Data([row["id"] for row in projects], [row["id"] for row in avatars])


def _reads(lab: Lab, deployment: Deployment, data: _Data, rows: Sequence[str]) -> Iterator[Result]:
    first = avatar_pb.GetAvatarRequest(avatar_id=data.avatar_ids[0])
    each = [avatar_pb.GetAvatarRequest(avatar_id=avatar_id) for avatar_id in data.avatar_ids]
    targets = {
        "get-avatar": rpc(deployment, "AvatarService/GetAvatar", first),
        "get-avatar-spread": rpc(deployment, "AvatarService/GetAvatar", *each),
        "get-avatar-p99": rpc(deployment, "AvatarService/GetAvatar", first),
        "list-avatars": rpc(
            deployment, "AvatarService/ListAvatars", avatar_pb.ListAvatarsRequest(page_size=_PAGE)
        ),
        "batch-get-avatars": rpc(
            deployment,
            "AvatarService/BatchGetAvatars",
            avatar_pb.BatchGetAvatarsRequest(avatar_ids=data.avatar_ids[:_PAGE]),
        ),
    }
    for row in rows:
        target = targets[row]
        answer = answer_of(target, target.messages[0])
        with baseline({"Call": {"kind": "answer", "answer": answer.hex()}}) as null:
            other = null.target("Call")
            if row == "get-avatar-p99":
                yield _latency(lab, row, target, other)
            else:
                yield _speeds(lab, row, target, other)


def _writes(lab: Lab, deployment: Deployment, data: _Data, rows: Sequence[str]) -> Iterator[Result]:
    messages: dict[str, tuple[str, list[Any]]] = {
        "create-project": (
            "AvatarProjectService/CreateProject",
            [project_pb.CreateProjectRequest(name="Bench of writes")],
        ),
        "record-usage": (
            "UsageService/RecordUsage",
            [
                usage_pb.RecordUsageRequest(
                    avatar_id=data.avatar_ids[0], app_id="bench", action="measure", reference_id="a write"
                )
            ],
        ),
        "create-generation": (
            "GenerationService/CreateGeneration",
            [
                generation_pb.CreateGenerationRequest(
                    project_id=data.project_ids[0], prompt="a face that waits"
                )
            ],
        ),
        "create-generation-projects": (
            "GenerationService/CreateGeneration",
            [
                generation_pb.CreateGenerationRequest(project_id=each, prompt="a face that waits")
                for each in data.project_ids
            ],
        ),
    }
    marks = {"create-project": "Bench of writes", "record-usage": "a write"}
    if not rows:
        return
    recorded = _record(deployment, {row: messages[row] for row in rows}, marks, data)
    for row in rows:
        with baseline({"Call": recorded[row]}) as bare:
            method, requests = messages[row]
            answer_of(bare.target("Call"), b"")  # fails with a reason if a statement does
            yield _speeds(lab, row, rpc(deployment, method, *requests), bare.target("Call"))


def _record(
    deployment: Deployment,
    messages: dict[str, tuple[str, list[Any]]],
    marks: dict[str, str],
    data: _Data,
) -> dict[str, dict[str, Any]]:
    """Call each method once through a recorder, and return the baselines that repeat its transaction."""
    database_url = deployment.settings["DATABASE_URL"]
    kept = {*data.project_ids, *data.avatar_ids}
    recorded = {}
    with recording(database_url) as recorder:
        server = deployment.start_server(DATABASE_URL=recorder.url)
        try:
            for row, (method, requests) in messages.items():
                target = Target(
                    server.target,
                    f"/avatar_creator.v1.{method}",
                    [requests[0].SerializeToString()],
                    rpc(deployment, method).metadata,
                    (),
                )
                # The second call, because the first one may prepare what later ones have.
                answer_of(target, target.messages[0])
                for session in recorder.sessions:
                    session.forget()
                answer = answer_of(target, target.messages[0])
                statements, first = recorder.transaction_with(marks.get(row, "a face that waits"))
                recorded[row] = {
                    "kind": "statements",
                    "database_url": database_url,
                    "first": first,
                    "transaction": with_new_ids(statements, kept),
                    "answer": answer.hex(),
                }
        finally:
            server.terminate()
    return recorded


def _processes(lab: Lab, deployment: Deployment, data: _Data) -> Result:
    request = avatar_pb.GetAvatarRequest(avatar_id=data.avatar_ids[0])
    servers = [deployment.start_server(SERVER_PROCESSES=str(number)) for number in (1, 2)]
    one, two = (
        rpc(deployment, "AvatarService/GetAvatar", request, server=server, connections=_CONNECTIONS)
        for server in servers
    )
    busy: list[float] = []

    def speed(target: Target) -> float:
        psutil.cpu_percent()
        found = full_speed(target, calls).per_second
        if target is two:
            busy.append(psutil.cpu_percent())
        return found

    calls = enough_calls(two, _SECONDS[lab.scale])
    pairs = interleaved(lambda: speed(two), lambda: speed(one), lab.pairs)
    return of_more_processes(BY_NAME["processes"], pairs, busy)


def _speeds(lab: Lab, row: str, ours: Target, theirs: Target) -> Result:
    ours, theirs = (replace(target, at_once=_AT_ONCE[lab.scale]) for target in (ours, theirs))
    calls = {target.address: enough_calls(target, _SECONDS[lab.scale]) for target in (ours, theirs)}
    speeds: dict[str, list[Speed]] = {ours.address: [], theirs.address: []}

    def speed(target: Target) -> float:
        found = full_speed(target, calls[target.address])
        speeds[target.address].append(found)
        return found.per_second

    pairs = interleaved(lambda: speed(ours), lambda: speed(theirs), lab.pairs)
    cpu, bare_cpu = (median_speed(speeds[target.address]).cpu_ms for target in (ours, theirs))
    note = f"CPU {cpu:.2f} ms a call, baseline {bare_cpu:.2f}"
    return of_pairs(BY_NAME[row], pairs, unit="/s", note=note)


def _latency(lab: Lab, row: str, ours: Target, theirs: Target) -> Result:
    ours, theirs = (replace(target, at_once=_AT_ONCE[lab.scale]) for target in (ours, theirs))
    halves = {
        target.address: full_speed(target, enough_calls(target, _SECONDS[lab.scale])).per_second / 2
        for target in (ours, theirs)
    }

    seconds = _SECONDS[lab.scale] * _LATENCY_FACTOR

    def p99(target: Target) -> float:
        rate = halves[target.address]
        return at_rate(target, round(rate * seconds), rate).p99_ms

    pairs = interleaved(lambda: p99(ours), lambda: p99(theirs), lab.pairs)
    note = f"at {halves[ours.address]:,.0f}/s, baseline {halves[theirs.address]:,.0f}/s"
    return of_pairs(BY_NAME[row], pairs, unit="ms", note=note)
