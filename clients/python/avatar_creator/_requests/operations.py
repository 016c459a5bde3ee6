"""Requests of the operations service."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import LARGEST_INT64, RequestArguments
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


def list_workers(page_token: str | None, page_size: int | None) -> ListCall[ListWorkersResponse, Worker]:
    with RequestArguments() as given:
        request = ListWorkersRequest(
            page_token=given.text("page_token", page_token), page_size=given.whole("page_size", page_size)
        )
    return ListCall(rpcs.LIST_WORKERS, request, lambda response: map(Worker.from_message, response.workers))


def drain_worker(worker: Worker | str) -> Call[DrainWorkerResponse, Worker]:
    request = DrainWorkerRequest(worker_name=_name_of(worker))
    return Call(rpcs.DRAIN_WORKER, request, lambda response: Worker.from_message(response.worker))


def resume_worker(worker: Worker | str) -> Call[ResumeWorkerResponse, Worker]:
    request = ResumeWorkerRequest(worker_name=_name_of(worker))
    return Call(rpcs.RESUME_WORKER, request, lambda response: Worker.from_message(response.worker))


def get_queue() -> Call[GetQueueResponse, Queue]:
    return Call(rpcs.GET_QUEUE, GetQueueRequest(), lambda response: Queue.from_message(response.queue))


def pause_queue(route: str | None, note: str | None) -> Call[PauseQueueResponse, Queue]:
    with RequestArguments() as given:
        request = PauseQueueRequest(route=given.text("route", route), note=given.text("note", note))
    return Call(rpcs.PAUSE_QUEUE, request, lambda response: Queue.from_message(response.queue))


def resume_queue(route: str | None) -> Call[ResumeQueueResponse, Queue]:
    with RequestArguments() as given:
        request = ResumeQueueRequest(route=given.text("route", route))
    return Call(rpcs.RESUME_QUEUE, request, lambda response: Queue.from_message(response.queue))


def retry_now(generation: AnyGeneration) -> Call[RetryNowResponse, Generation]:
    with RequestArguments() as given:
        request = RetryNowRequest(generation_id=given.id("generation", Generation, generation))
    return Call(rpcs.RETRY_NOW, request, lambda response: Generation.from_message(response.generation))


def bulk_cancel(
    user_id: str | None,
    project: Project | str | None,
    states: GenerationState | GenerationStateWord | Iterable[GenerationState | GenerationStateWord] | None,
    error_reasons: ErrorReason | str | Iterable[ErrorReason | str] | None,
    priorities: GenerationPriority
    | GenerationPriorityWord
    | Iterable[GenerationPriority | GenerationPriorityWord]
    | None,
    create_time_to: datetime | None,
    dry_run: bool | None,
    max_count: int | None,
) -> Call[BulkCancelGenerationsResponse, BulkCancellation]:
    with RequestArguments() as given:
        request = BulkCancelGenerationsRequest(
            filter=_filter(given, user_id, project, states, error_reasons, priorities, create_time_to),
            dry_run=given.flag("dry_run", dry_run),
            max_count=given.whole("max_count", max_count),
        )
    return Call(rpcs.BULK_CANCEL_GENERATIONS, request, BulkCancellation.from_message)


def bulk_retry(
    user_id: str | None,
    project: Project | str | None,
    states: GenerationState | GenerationStateWord | Iterable[GenerationState | GenerationStateWord] | None,
    error_reasons: ErrorReason | str | Iterable[ErrorReason | str] | None,
    priorities: GenerationPriority
    | GenerationPriorityWord
    | Iterable[GenerationPriority | GenerationPriorityWord]
    | None,
    create_time_to: datetime | None,
    dry_run: bool | None,
    max_count: int | None,
) -> Call[BulkRetryGenerationsResponse, BulkRetry]:
    with RequestArguments() as given:
        request = BulkRetryGenerationsRequest(
            filter=_filter(given, user_id, project, states, error_reasons, priorities, create_time_to),
            dry_run=given.flag("dry_run", dry_run),
            max_count=given.whole("max_count", max_count),
        )
    return Call(rpcs.BULK_RETRY_GENERATIONS, request, BulkRetry.from_message)


def _filter(
    given: RequestArguments,
    user_id: object,
    project: object,
    states: object,
    error_reasons: object,
    priorities: object,
    create_time_to: object,
) -> GenerationFilter:
    return GenerationFilter(
        user_id=given.text("user_id", user_id),
        project_id=given.optional_id("project", Project, project),
        states=given.enums("states", GenerationState, states),
        error_reasons=given.enums("error_reasons", ErrorReason, error_reasons),
        priorities=given.enums("priorities", GenerationPriority, priorities),
        create_time_to=given.time("create_time_to", create_time_to),
    )


def list_users(
    order: UserOrder | UserOrderWord | None,
    since: datetime | None,
    page_token: str | None,
    page_size: int | None,
) -> ListCall[ListUsersResponse, UserActivity]:
    with RequestArguments() as given:
        request = ListUsersRequest(
            order=given.enum("order", UserOrder, order),
            since=given.time("since", since),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
        )
    return ListCall(rpcs.LIST_USERS, request, lambda response: map(UserActivity.from_message, response.users))


def get_user_limits(user_id: str) -> Call[GetUserLimitsResponse, UserLimits]:
    with RequestArguments() as given:
        request = GetUserLimitsRequest(user_id=given.text("user_id", user_id, required=True))
    return Call(rpcs.GET_USER_LIMITS, request, lambda response: UserLimits.from_message(response.limits))


def set_user_limits(
    user_id: str,
    concurrent: int | None,
    per_minute: int | None,
    per_day: int | None,
    spend_per_day_micros: int | None,
) -> Call[SetUserLimitsResponse, UserLimits]:
    with RequestArguments() as given:
        limits = GenerationLimitsMessage(
            concurrent=given.optional_whole("concurrent", concurrent),
            per_minute=given.optional_whole("per_minute", per_minute),
            per_day=given.optional_whole("per_day", per_day),
            spend_per_day_micros=given.optional_whole(
                "spend_per_day_micros", spend_per_day_micros, most=LARGEST_INT64
            ),
        )
        request = SetUserLimitsRequest(user_id=given.text("user_id", user_id, required=True), limits=limits)
    return Call(rpcs.SET_USER_LIMITS, request, lambda response: UserLimits.from_message(response.limits))


def clear_user_limits(user_id: str) -> Call[ClearUserLimitsResponse, UserLimits]:
    with RequestArguments() as given:
        request = ClearUserLimitsRequest(user_id=given.text("user_id", user_id, required=True))
    return Call(rpcs.CLEAR_USER_LIMITS, request, lambda response: UserLimits.from_message(response.limits))


def _name_of(worker: Worker | str) -> str:
    if isinstance(worker, Worker):
        return worker.name
    with RequestArguments() as given:
        return given.text("worker", worker, required=True)
