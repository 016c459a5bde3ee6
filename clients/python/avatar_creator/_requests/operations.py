"""Requests of the operations service."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import timestamp
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import Generation, GenerationPriority, GenerationState
from avatar_creator.v1.operations_pb2 import (
    GenerationFilter,
    GenerationLimits,
    Queue,
    UserActivity,
    UserLimits,
    Worker,
)
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
    UserOrder,
)


def list_workers() -> ListCall[ListWorkersResponse, Worker]:
    return ListCall(rpcs.LIST_WORKERS, ListWorkersRequest(), lambda response: response.workers)


def drain_worker(worker_name: str) -> Call[DrainWorkerResponse, Worker]:
    request = DrainWorkerRequest(worker_name=worker_name)
    return Call(rpcs.DRAIN_WORKER, request, lambda response: response.worker)


def resume_worker(worker_name: str) -> Call[ResumeWorkerResponse, Worker]:
    request = ResumeWorkerRequest(worker_name=worker_name)
    return Call(rpcs.RESUME_WORKER, request, lambda response: response.worker)


def get_queue() -> Call[GetQueueResponse, Queue]:
    return Call(rpcs.GET_QUEUE, GetQueueRequest(), lambda response: response.queue)


def pause_queue(route: str, note: str) -> Call[PauseQueueResponse, Queue]:
    request = PauseQueueRequest(route=route, note=note)
    return Call(rpcs.PAUSE_QUEUE, request, lambda response: response.queue)


def resume_queue(route: str) -> Call[ResumeQueueResponse, Queue]:
    return Call(rpcs.RESUME_QUEUE, ResumeQueueRequest(route=route), lambda response: response.queue)


def retry_now(generation_id: str) -> Call[RetryNowResponse, Generation]:
    request = RetryNowRequest(generation_id=generation_id)
    return Call(rpcs.RETRY_NOW, request, lambda response: response.generation)


def generation_filter(
    user_id: str,
    project_id: str,
    states: Iterable[GenerationState.ValueType],
    error_reasons: Iterable[ErrorReason.ValueType],
    priorities: Iterable[GenerationPriority.ValueType],
    create_time_to: datetime | None,
) -> GenerationFilter:
    return GenerationFilter(
        user_id=user_id,
        project_id=project_id,
        states=states,
        error_reasons=error_reasons,
        priorities=priorities,
        create_time_to=timestamp(create_time_to),
    )


def bulk_cancel(
    selection: GenerationFilter, dry_run: bool, max_count: int
) -> Call[BulkCancelGenerationsResponse, BulkCancelGenerationsResponse]:
    request = BulkCancelGenerationsRequest(filter=selection, dry_run=dry_run, max_count=max_count)
    return Call(rpcs.BULK_CANCEL_GENERATIONS, request, lambda response: response)


def bulk_retry(
    selection: GenerationFilter, dry_run: bool, max_count: int
) -> Call[BulkRetryGenerationsResponse, BulkRetryGenerationsResponse]:
    request = BulkRetryGenerationsRequest(filter=selection, dry_run=dry_run, max_count=max_count)
    return Call(rpcs.BULK_RETRY_GENERATIONS, request, lambda response: response)


def list_users(
    order: UserOrder.ValueType, since: datetime | None
) -> ListCall[ListUsersResponse, UserActivity]:
    request = ListUsersRequest(order=order, since=timestamp(since))
    return ListCall(rpcs.LIST_USERS, request, lambda response: response.users)


def get_user_limits(user_id: str) -> Call[GetUserLimitsResponse, UserLimits]:
    request = GetUserLimitsRequest(user_id=user_id)
    return Call(rpcs.GET_USER_LIMITS, request, lambda response: response.limits)


def set_user_limits(
    user_id: str,
    concurrent: int | None,
    per_minute: int | None,
    per_day: int | None,
    spend_per_day_micros: int | None,
) -> Call[SetUserLimitsResponse, UserLimits]:
    limits = GenerationLimits(
        concurrent=concurrent,
        per_minute=per_minute,
        per_day=per_day,
        spend_per_day_micros=spend_per_day_micros,
    )
    request = SetUserLimitsRequest(user_id=user_id, limits=limits)
    return Call(rpcs.SET_USER_LIMITS, request, lambda response: response.limits)


def clear_user_limits(user_id: str) -> Call[ClearUserLimitsResponse, UserLimits]:
    request = ClearUserLimitsRequest(user_id=user_id)
    return Call(rpcs.CLEAR_USER_LIMITS, request, lambda response: response.limits)
