"""Requests of the operations service."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import id_of, number_of, numbers_of, timestamp
from avatar_creator.enums import (
    ErrorReason,
    GenerationPriority,
    GenerationPriorityWord,
    GenerationState,
    GenerationStateWord,
    UserOrder,
    UserOrderWord,
)
from avatar_creator.handles import AnyGeneration
from avatar_creator.v1.operations_pb2 import GenerationFilter
from avatar_creator.v1.operations_pb2 import GenerationLimits as GenerationLimitsMessage
from avatar_creator.v1.operations_service_pb2 import (
    BulkCancelGenerationsRequest,
    BulkCancelGenerationsResponse,
    BulkRetryGenerationsRequest,
    BulkRetryGenerationsResponse,
    ClearUserLimitsRequest,
    ClearUserLimitsResponse,
    DrainWorkerRequest,
    DrainWorkerResponse,
    GetQueueRequest,
    GetQueueResponse,
    GetUserLimitsRequest,
    GetUserLimitsResponse,
    ListUsersRequest,
    ListUsersResponse,
    ListWorkersRequest,
    ListWorkersResponse,
    PauseQueueRequest,
    PauseQueueResponse,
    ResumeQueueRequest,
    ResumeQueueResponse,
    ResumeWorkerRequest,
    ResumeWorkerResponse,
    RetryNowRequest,
    RetryNowResponse,
    SetUserLimitsRequest,
    SetUserLimitsResponse,
)
from avatar_creator.values import (
    BulkCancellation,
    BulkRetry,
    Generation,
    Project,
    Queue,
    UserActivity,
    UserLimits,
    Worker,
)


def list_workers() -> ListCall[ListWorkersResponse, Worker]:
    return ListCall(
        rpcs.LIST_WORKERS, ListWorkersRequest(), lambda response: map(Worker.from_message, response.workers)
    )


def drain_worker(worker: Worker | str) -> Call[DrainWorkerResponse, Worker]:
    request = DrainWorkerRequest(worker_name=_name_of(worker))
    return Call(rpcs.DRAIN_WORKER, request, lambda response: Worker.from_message(response.worker))


def resume_worker(worker: Worker | str) -> Call[ResumeWorkerResponse, Worker]:
    request = ResumeWorkerRequest(worker_name=_name_of(worker))
    return Call(rpcs.RESUME_WORKER, request, lambda response: Worker.from_message(response.worker))


def get_queue() -> Call[GetQueueResponse, Queue]:
    return Call(rpcs.GET_QUEUE, GetQueueRequest(), lambda response: Queue.from_message(response.queue))


def pause_queue(route: str, note: str) -> Call[PauseQueueResponse, Queue]:
    request = PauseQueueRequest(route=route, note=note)
    return Call(rpcs.PAUSE_QUEUE, request, lambda response: Queue.from_message(response.queue))


def resume_queue(route: str) -> Call[ResumeQueueResponse, Queue]:
    return Call(
        rpcs.RESUME_QUEUE,
        ResumeQueueRequest(route=route),
        lambda response: Queue.from_message(response.queue),
    )


def retry_now(generation: AnyGeneration) -> Call[RetryNowResponse, Generation]:
    request = RetryNowRequest(generation_id=id_of("generation", Generation, generation))
    return Call(rpcs.RETRY_NOW, request, lambda response: Generation.from_message(response.generation))


def generation_filter(
    user_id: str,
    project: Project | str,
    states: GenerationState | GenerationStateWord | Iterable[GenerationState | GenerationStateWord],
    error_reasons: ErrorReason | str | Iterable[ErrorReason | str],
    priorities: GenerationPriority
    | GenerationPriorityWord
    | Iterable[GenerationPriority | GenerationPriorityWord],
    create_time_to: datetime | None,
) -> GenerationFilter:
    return GenerationFilter(
        user_id=user_id,
        project_id=id_of("project", Project, project),
        states=numbers_of("states", GenerationState, states),
        error_reasons=numbers_of("error_reasons", ErrorReason, error_reasons),
        priorities=numbers_of("priorities", GenerationPriority, priorities),
        create_time_to=timestamp(create_time_to),
    )


def bulk_cancel(
    selection: GenerationFilter, dry_run: bool, max_count: int
) -> Call[BulkCancelGenerationsResponse, BulkCancellation]:
    request = BulkCancelGenerationsRequest(filter=selection, dry_run=dry_run, max_count=max_count)
    return Call(rpcs.BULK_CANCEL_GENERATIONS, request, BulkCancellation.from_message)


def bulk_retry(
    selection: GenerationFilter, dry_run: bool, max_count: int
) -> Call[BulkRetryGenerationsResponse, BulkRetry]:
    request = BulkRetryGenerationsRequest(filter=selection, dry_run=dry_run, max_count=max_count)
    return Call(rpcs.BULK_RETRY_GENERATIONS, request, BulkRetry.from_message)


def list_users(
    order: UserOrder | UserOrderWord | None, since: datetime | None
) -> ListCall[ListUsersResponse, UserActivity]:
    request = ListUsersRequest(order=number_of("order", UserOrder, order), since=timestamp(since))
    return ListCall(rpcs.LIST_USERS, request, lambda response: map(UserActivity.from_message, response.users))


def get_user_limits(user_id: str) -> Call[GetUserLimitsResponse, UserLimits]:
    request = GetUserLimitsRequest(user_id=user_id)
    return Call(rpcs.GET_USER_LIMITS, request, lambda response: UserLimits.from_message(response.limits))


def set_user_limits(
    user_id: str,
    concurrent: int | None,
    per_minute: int | None,
    per_day: int | None,
    spend_per_day_micros: int | None,
) -> Call[SetUserLimitsResponse, UserLimits]:
    limits = GenerationLimitsMessage(
        concurrent=concurrent,
        per_minute=per_minute,
        per_day=per_day,
        spend_per_day_micros=spend_per_day_micros,
    )
    request = SetUserLimitsRequest(user_id=user_id, limits=limits)
    return Call(rpcs.SET_USER_LIMITS, request, lambda response: UserLimits.from_message(response.limits))


def clear_user_limits(user_id: str) -> Call[ClearUserLimitsResponse, UserLimits]:
    request = ClearUserLimitsRequest(user_id=user_id)
    return Call(rpcs.CLEAR_USER_LIMITS, request, lambda response: UserLimits.from_message(response.limits))


def _name_of(worker: Worker | str) -> str:
    return worker.name if isinstance(worker, Worker) else worker
