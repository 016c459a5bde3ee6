"""The checks of `avatar-creator doctor --target`: a running server, asked like any client asks it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from avatar_creator import (
    AvatarCreator,
    AvatarCreatorError,
    PermissionDeniedError,
    UnauthenticatedError,
    Worker,
    WorkerState,
    channels,
)
from avatar_creator.errors import from_rpc_error
from avatar_creator.targets import Target
from avatar_creator_server.cli.format import local_time
from avatar_creator_server.operations.checks import CheckResult, unknown
from avatar_creator_server.operations.resume_advice import end_of_drains, end_of_pauses
from avatar_creator_server.operations.versions import installed_versions

_ANSWER_SECONDS = 10.0
_LARGEST_PAGE = 100
_OPS_TOKEN = (
    "set AVATAR_CREATOR_TOKEN to the output of `avatar-creator token --user USER_ID --role ops`, which needs "
    "the settings of the service"
)
_PARTS = {
    "provider": (
        "the provider does not refuse the service; no key was tested",
        "the provider refuses the service's key, or its credit is used up",
        "fix the API key or top up the credit; `avatar-creator doctor` with the server's settings says more",
    ),
    "queue": (
        "the server reaches its queue",
        "the server does not reach Redis, so jobs start up to a second late",
        "start Redis, and check REDIS_URL of the server",
    ),
    "claims": (
        "nothing is paused",
        "an operator has paused the queue or a route",
        "`avatar-creator queue show` lists the pauses: end each with `avatar-creator queue resume`, or "
        "`avatar-creator queue resume --route NAME` if only that route is paused",
    ),
    "worker": (
        "at least one worker takes generations",
        "no worker that draws with the server's provider takes generations",
        "`avatar-creator workers list` lists the workers: resume a drained one, or start "
        "`avatar-creator worker` with the settings of the service",
    ),
}
"""Names of the server's health by part: what SERVING means, what NOT_SERVING means, and what to do then."""


@dataclass(frozen=True, slots=True)
class TargetReport:
    """The answers of a running server."""

    results: list[CheckResult]
    workers: tuple[Worker, ...] = ()


def examine_target(target: Target, token: str) -> TargetReport:
    """Ask a server for its health and, with a token that has the role ops, for its workers.

    Args:
        target: The server.
        token: The token; empty for none.
    """
    results = [CheckResult("version", True, installed_versions())]
    with channels.connect(target.name, tls=target.tls, root_certificates=None) as channel:
        health = HealthStub(channel)
        server = _check_server(health, target)
        results.append(server)
        if not server.passed:
            return TargetReport(results)
        results += [_check_part(health, part) for part in _PARTS]
        if not token:
            results.append(unknown("workers", "unknown, because there is no token", _OPS_TOKEN))
            return TargetReport(results)
        with AvatarCreator(channel=channel, token=token, timeout=_ANSWER_SECONDS) as client:
            try:
                workers = tuple(client.operations.list_workers(page_size=_LARGEST_PAGE))
                pauses = client.operations.get_queue().pauses
            except (UnauthenticatedError, PermissionDeniedError) as error:
                found = f"unknown, because the server refuses the token: {error.message}"
                results.append(unknown("workers", found, _OPS_TOKEN))
                return TargetReport(results)
            except AvatarCreatorError as error:
                found = f"unknown, because the server does not list them: {error.message}"
                results.append(unknown("workers", found, "look in the log of the server"))
                return TargetReport(results)
    if pauses:
        # Only the queue says which routes are paused.
        advice = end_of_pauses(pause.route for pause in pauses)
        results = [replace(each, fix=advice) if each.check == "claims" else each for each in results]
    return TargetReport([*results, _describe_workers(workers)], workers)


def _check_server(health: HealthStub, target: Target) -> CheckResult:
    try:
        status = health.Check(HealthCheckRequest(), timeout=_ANSWER_SECONDS).status
    except grpc.RpcError as error:
        cause = from_rpc_error(error).message
        scheme = "https" if target.tls else "http"
        return CheckResult(
            "server",
            False,
            f"{target.name} does not answer {'with' if target.tls else 'without'} TLS: {cause}",
            f"start `avatar-creator serve` there, or check --target and --tls (it is {scheme}:// now)",
        )
    if status == HealthCheckResponse.SERVING:
        return CheckResult("server", True, f"{target.name} answers, and reaches its database")
    return CheckResult(
        "server",
        False,
        f"{target.name} answers, but it does not serve: it does not reach its database, or it is stopping",
        "run `avatar-creator doctor` with the settings of the server, and look in its log",
    )


def _check_part(health: HealthStub, part: str) -> CheckResult:
    serving, not_serving, fix = _PARTS[part]
    try:
        status = health.Check(HealthCheckRequest(service=part), timeout=_ANSWER_SECONDS).status
    except grpc.RpcError as error:
        cause = from_rpc_error(error).message
        return unknown(part, f"unknown, because the server does not say: {cause}", "update the server")
    if status == HealthCheckResponse.SERVING:
        return CheckResult(part, True, serving)
    # A pause is an operator's decision, and no fault.
    return CheckResult(part, part == "claims", not_serving, fix)


def _describe_workers(workers: Sequence[Worker]) -> CheckResult:
    found, fixes = [], []
    lost = [worker for worker in workers if worker.state == WorkerState.LOST]
    drained = [worker for worker in workers if worker.state == WorkerState.DRAINING]
    takes = any(worker.state == WorkerState.LIVE for worker in workers)
    for worker in workers:
        if worker in lost:
            continue
        draining = ", drained by an operator" if worker in drained else ""
        found.append(
            f"{worker.name} (version {worker.version}, {worker.provider}) runs {len(worker.running):,} of "
            f"{worker.slots:,}{draining}"
        )
    found += [f"{worker.name} was last seen {local_time(worker.last_seen_time)}" for worker in lost]
    if drained:
        fixes.append(end_of_drains(worker.name for worker in drained))
    elif not takes:
        fixes.append("start `avatar-creator worker` with the settings of the service")
    if takes and lost:
        fixes.append("look in the logs of the lost workers and of their hosts for the cause")
    return CheckResult("workers", takes, "; ".join(found) or "none", "; ".join(fixes))
