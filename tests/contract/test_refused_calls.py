"""A refused call has changed nothing, so callers may send it again without a `request_id`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import pytest_asyncio

from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import DeleteProjectRequest, UpdateProjectRequest
from avatar_creator.v1.avatar_service_pb2 import DeleteAvatarRequest, UpdateAvatarRequest
from avatar_creator.v1.generation_pb2 import GenerationState
from avatar_creator.v1.generation_service_pb2 import CancelGenerationRequest, RetryGenerationRequest
from avatar_creator.v1.operations_pb2 import GenerationFilter, GenerationLimits
from avatar_creator.v1.operations_service_pb2 import (
    BulkCancelGenerationsRequest,
    BulkRetryGenerationsRequest,
    ClearUserLimitsRequest,
    DrainWorkerRequest,
    PauseQueueRequest,
    ResumeQueueRequest,
    ResumeWorkerRequest,
    RetryNowRequest,
    SetUserLimitsRequest,
)
from avatar_creator_server.api.call_classes import CLASS_OF_RPC, CallClass
from avatar_creator_server.database.call_limits import current_call_limits
from avatar_creator_server.database.connection import Database
from avatar_creator_server.errors import overloaded_error
from tests import pictures
from tests.contract.calls import Calls, all_rows, refusal_of, rows_of
from tests.support.in_process import InProcessService
from tests.support.service import Deployment
from tests.support.shared_services import deployed

PICTURE = pictures.png()
MOST_TURNS = 20
"""More turns at the database than a call takes."""
OF_OPERATORS = ("workers", "queue_pauses", "user_limits")
"""The tables that operators change."""
WORKER = "press"
"""The name of a worker in the database."""
LATER = datetime.now(UTC) + timedelta(hours=1)
DELAYED = "a portrait that waits for its next attempt"
"""The prompt of a generation that is not yet due."""

Call = Callable[[], Any]


class DatabaseTurns:
    """Counts the turns of calls at the database, and refuses those from a chosen one on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._first_refused = math.inf
        self._turns = 0
        for name in ("read", "write"):
            self._wrap(monkeypatch, name)

    @contextmanager
    def refused_from(self, number: int) -> Iterator[None]:
        """Refuse this turn and all later ones while the context is open. The first one has the number 1."""
        self._first_refused, self._turns = number, 0
        try:
            yield
        finally:
            self._first_refused = math.inf

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        run = getattr(Database, name)

        async def counted(database: Database, *arguments: Any, **named: Any) -> Any:
            if current_call_limits() is not None:
                self._turns += 1
                if self._turns >= self._first_refused:
                    raise overloaded_error("the server has too many calls at the database right now")
            return await run(database, *arguments, **named)

        monkeypatch.setattr(Database, name, counted)


@pytest.fixture(scope="module")
def turns() -> Iterator[DatabaseTurns]:
    """The turns of calls at the database of `service`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield DatabaseTurns(monkeypatch)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["embedded", "distributed"])
async def service(request: pytest.FixtureRequest, turns: DatabaseTurns) -> AsyncIterator[Deployment]:
    """A service without a worker, on each of the two databases."""
    with deployed(request, request.param) as deployment:
        async with InProcessService.serving(deployment):
            yield deployment


def create_project(calls: Calls) -> Call:
    return calls.create_project


def update_project(calls: Calls) -> Call:
    project = AvatarProject(id=calls.create_project().id, name="Autumn")
    return lambda: calls.projects.UpdateProject(UpdateProjectRequest(project=project))


def delete_project(calls: Calls) -> Call:
    request = DeleteProjectRequest(project_id=calls.create_project().id)
    return lambda: calls.projects.DeleteProject(request)


def upload_avatar(calls: Calls) -> Call:
    project_id = calls.create_project().id
    return lambda: calls.upload(project_id, PICTURE)


def update_avatar(calls: Calls) -> Call:
    avatar = Avatar(id=an_avatar(calls), name="Sara")
    return lambda: calls.avatars.UpdateAvatar(UpdateAvatarRequest(avatar=avatar))


def delete_avatar(calls: Calls) -> Call:
    request = DeleteAvatarRequest(avatar_id=an_avatar(calls))
    return lambda: calls.avatars.DeleteAvatar(request)


def create_generation(calls: Calls) -> Call:
    project_id = calls.create_project().id
    return lambda: calls.create_generation(project_id, variation_count=2)


def cancel_generation(calls: Calls) -> Call:
    generation = calls.create_generation(calls.create_project().id)
    request = CancelGenerationRequest(generation_id=generation.id)
    return lambda: calls.generations.CancelGeneration(request)


def retry_generation(calls: Calls) -> Call:
    request = RetryGenerationRequest(generation_id=calls.create_cancelled(calls.create_project().id).id)
    return lambda: calls.generations.RetryGeneration(request)


def record_usage(calls: Calls) -> Call:
    avatar_id = an_avatar(calls)
    return lambda: calls.record_usage(avatar_id)


def an_avatar(calls: Calls) -> str:
    return calls.upload(calls.create_project().id, PICTURE).id


def drain_worker(calls: Calls) -> Call:
    return lambda: calls.operations.DrainWorker(DrainWorkerRequest(worker_name=WORKER))


def resume_worker(calls: Calls) -> Call:
    drain_worker(calls)()
    return lambda: calls.operations.ResumeWorker(ResumeWorkerRequest(worker_name=WORKER))


def pause_queue(calls: Calls) -> Call:
    return lambda: calls.operations.PauseQueue(PauseQueueRequest(route="local", note="maintenance"))


def resume_queue(calls: Calls) -> Call:
    pause_queue(calls)()
    return lambda: calls.operations.ResumeQueue(ResumeQueueRequest(route="local"))


def retry_now(calls: Calls) -> Call:
    generation = calls.create_generation(calls.create_project().id, prompt=DELAYED)
    return lambda: calls.operations.RetryNow(RetryNowRequest(generation_id=generation.id))


def bulk_cancel(calls: Calls) -> Call:
    generation = calls.create_generation(calls.create_project().id)
    selected = GenerationFilter(user_id=generation.user_id, project_id=generation.project_id)
    return lambda: calls.operations.BulkCancelGenerations(BulkCancelGenerationsRequest(filter=selected))


def bulk_retry(calls: Calls) -> Call:
    generation = calls.create_cancelled(calls.create_project().id)
    selected = GenerationFilter(
        user_id=generation.user_id,
        project_id=generation.project_id,
        states=[GenerationState.GENERATION_STATE_CANCELLED],
    )
    return lambda: calls.operations.BulkRetryGenerations(BulkRetryGenerationsRequest(filter=selected))


def set_user_limits(calls: Calls) -> Call:
    user_id = calls.create_project().user_id
    request = SetUserLimitsRequest(user_id=user_id, limits=GenerationLimits(concurrent=2))
    return lambda: calls.operations.SetUserLimits(request)


def clear_user_limits(calls: Calls) -> Call:
    set_user_limits(calls)()
    user_id = calls.create_project().user_id
    return lambda: calls.operations.ClearUserLimits(ClearUserLimitsRequest(user_id=user_id))


WRITES: dict[str, Callable[[Calls], Call]] = {
    "CreateProject": create_project,
    "UpdateProject": update_project,
    "DeleteProject": delete_project,
    "UploadAvatar": upload_avatar,
    "UpdateAvatar": update_avatar,
    "DeleteAvatar": delete_avatar,
    "CreateGeneration": create_generation,
    "CancelGeneration": cancel_generation,
    "RetryGeneration": retry_generation,
    "RecordUsage": record_usage,
    "DrainWorker": drain_worker,
    "ResumeWorker": resume_worker,
    "PauseQueue": pause_queue,
    "ResumeQueue": resume_queue,
    "RetryNow": retry_now,
    "BulkCancelGenerations": bulk_cancel,
    "BulkRetryGenerations": bulk_retry,
    "SetUserLimits": set_user_limits,
    "ClearUserLimits": clear_user_limits,
}
"""The RPCs that write, each with a function that prepares a call."""


def test_every_rpc_that_writes_is_tried() -> None:
    writes = {name for name, class_ in CLASS_OF_RPC.items() if class_ is CallClass.WRITE}

    assert WRITES.keys() == writes | {"UploadAvatar"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("rpc", WRITES)
async def test_a_call_that_is_refused_at_any_turn_has_changed_nothing(
    service: Deployment, turns: DatabaseTurns, user: str, rpc: str
) -> None:
    def outcome(prepare: Callable[[Calls], Call], number: int) -> tuple[str, bool]:
        """Return OK or the reason of the refusal, and whether the call changed something."""
        with Calls(service.target, service.token(user, role="ops")) as calls:
            call = prepare(calls)
            service.execute("UPDATE avatar_generations SET due_time = %s WHERE prompt = %s", LATER, DELAYED)
            before = kept_rows(service, user)
            result = "OK"
            with turns.refused_from(number):
                try:
                    call()
                except grpc.RpcError as error:
                    result = refusal_of(error).reason
            return result, kept_rows(service, user) != before

    for table in OF_OPERATORS:
        service.execute(f"DELETE FROM {table}")
    service.execute(
        "INSERT INTO workers (name, version, host, provider, slots, start_time, last_seen_time)"
        " VALUES (%s, '1', 'host', 'sketch', 1, %s, %s)",
        *(WORKER, LATER, LATER),
    )
    outcomes: list[tuple[str, bool]] = []
    while ("OK", True) not in outcomes:
        assert len(outcomes) < MOST_TURNS
        outcomes.append(await asyncio.to_thread(outcome, WRITES[rpc], len(outcomes) + 1))

    assert outcomes[:-1], "the first turn was refused"
    assert set(outcomes[:-1]) == {("OVERLOADED", False)}


def kept_rows(deployment: Deployment, user: str) -> dict[str, list[Any]]:
    """Return the rows of a user, and those that operators change.

    The rows of files are not among them: a job removes the file of a refused upload.
    """
    of_user = {table: rows for table, rows in rows_of(deployment, user).items() if table != "files"}
    return of_user | all_rows(deployment, dict.fromkeys(OF_OPERATORS, ("", ())))
