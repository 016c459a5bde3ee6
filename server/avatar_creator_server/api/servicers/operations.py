"""Servicer of `OperationsService`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from avatar_creator.v1 import operations_pb2
from avatar_creator.v1 import operations_service_pb2 as pb
from avatar_creator.v1 import operations_service_pb2_grpc as pb_grpc
from avatar_creator.v1.generation_pb2 import GenerationState
from avatar_creator_server.api.access import log_operation, require_operator, resolve_bulk_owner
from avatar_creator_server.api.answers import fit
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.validation import validate
from avatar_creator_server.contract import mapping, operations_mapping
from avatar_creator_server.core import Core
from avatar_creator_server.errors import FieldViolation
from avatar_creator_server.generations.lists import GenerationFilter
from avatar_creator_server.generations.user_activity import UserOrder
from avatar_creator_server.shared.caller import Caller

_DEFAULT_COUNT = 100
_LISTED_IDS = 100
"""Maximum number of ids in an answer."""
_LISTED_FAILURES = 20

_CANCELLABLE = (GenerationState.GENERATION_STATE_PENDING, GenerationState.GENERATION_STATE_PROCESSING)
_RETRYABLE = (GenerationState.GENERATION_STATE_FAILED, GenerationState.GENERATION_STATE_CANCELLED)


class OperationsService(pb_grpc.OperationsServiceServicer):
    """Operation of the service, for callers with role ops. The bulk calls are for others too."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        operator = _operator(request)
        page = await self._core.queue_control.list_workers(
            operator.user_id, page_size=request.page_size, page_token=request.page_token
        )
        encoded, page = fit(page, operations_mapping.worker_to_proto)
        return pb.ListWorkersResponse(workers=encoded, next_page_token=page.next_page_token)

    async def DrainWorker(self, request: pb.DrainWorkerRequest, context: Context) -> pb.DrainWorkerResponse:
        _operator(request)
        worker = await self._core.workers.drain(request.worker_name)
        return pb.DrainWorkerResponse(worker=operations_mapping.worker_to_proto(worker))

    async def ResumeWorker(
        self, request: pb.ResumeWorkerRequest, context: Context
    ) -> pb.ResumeWorkerResponse:
        _operator(request)
        worker = await self._core.workers.resume(request.worker_name)
        return pb.ResumeWorkerResponse(worker=operations_mapping.worker_to_proto(worker))

    async def GetQueue(self, request: pb.GetQueueRequest, context: Context) -> pb.GetQueueResponse:
        _operator(request)
        status = await self._core.queue_control.status()
        return pb.GetQueueResponse(queue=operations_mapping.queue_to_proto(status))

    async def PauseQueue(self, request: pb.PauseQueueRequest, context: Context) -> pb.PauseQueueResponse:
        operator = _operator(request)
        status = await self._core.queue_control.pause(
            request.route, note=request.note.strip(), operator=operator.user_id
        )
        return pb.PauseQueueResponse(queue=operations_mapping.queue_to_proto(status))

    async def ResumeQueue(self, request: pb.ResumeQueueRequest, context: Context) -> pb.ResumeQueueResponse:
        _operator(request)
        status = await self._core.queue_control.resume(request.route)
        return pb.ResumeQueueResponse(queue=operations_mapping.queue_to_proto(status))

    async def RetryNow(self, request: pb.RetryNowRequest, context: Context) -> pb.RetryNowResponse:
        generation = await self._core.generations.retry_now(_operator(request), request.generation_id)
        return pb.RetryNowResponse(generation=mapping.generation_to_proto(generation))

    async def BulkCancelGenerations(
        self, request: pb.BulkCancelGenerationsRequest, context: Context
    ) -> pb.BulkCancelGenerationsResponse:
        validate(request, *_violations_of_filter(request, _CANCELLABLE))
        result = await self._core.bulk_changes.cancel(
            resolve_bulk_owner(request),
            _filter(request.filter, _CANCELLABLE),
            most=request.max_count or _DEFAULT_COUNT,
            dry_run=request.dry_run,
        )
        return pb.BulkCancelGenerationsResponse(
            generation_count=len(result.ids),
            generation_ids=result.ids[:_LISTED_IDS],
            has_more=result.has_more,
        )

    async def BulkRetryGenerations(
        self, request: pb.BulkRetryGenerationsRequest, context: Context
    ) -> pb.BulkRetryGenerationsResponse:
        validate(request, *_violations_of_filter(request, _RETRYABLE))
        result = await self._core.bulk_changes.retry(
            resolve_bulk_owner(request),
            _filter(request.filter, (GenerationState.GENERATION_STATE_FAILED,)),
            most=request.max_count or _DEFAULT_COUNT,
            dry_run=request.dry_run,
        )
        return pb.BulkRetryGenerationsResponse(
            generation_count=len(result.ids),
            generation_ids=result.ids[:_LISTED_IDS],
            retry_ids=result.result_ids[:_LISTED_IDS],
            has_more=result.has_more,
            failure_count=len(result.failures),
            failures=map(operations_mapping.bulk_failure_to_proto, result.failures[:_LISTED_FAILURES]),
        )

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        operator = _operator(request)
        page = await self._core.user_ranking.list_page(
            operator.user_id,
            UserOrder(mapping.word_of(pb.UserOrder, request.order) or UserOrder.QUEUE_DEPTH),
            mapping.instant_of(request, "since"),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        users, page = fit(page, operations_mapping.user_activity_to_proto)
        return pb.ListUsersResponse(users=users, next_page_token=page.next_page_token)

    async def GetUserLimits(
        self, request: pb.GetUserLimitsRequest, context: Context
    ) -> pb.GetUserLimitsResponse:
        _operator(request)
        limits = await self._core.user_limits.get(request.user_id)
        return pb.GetUserLimitsResponse(limits=operations_mapping.user_limits_to_proto(limits))

    async def SetUserLimits(
        self, request: pb.SetUserLimitsRequest, context: Context
    ) -> pb.SetUserLimitsResponse:
        given = {field.name: value for field, value in request.limits.ListFields()}
        lacks_all = request.HasField("limits") and not given
        violations = [FieldViolation("limits", "must have at least one limit")] if lacks_all else []
        operator = _operator(request, *violations)
        limits = await self._core.user_limits.set(request.user_id, given, operator=operator.user_id)
        return pb.SetUserLimitsResponse(limits=operations_mapping.user_limits_to_proto(limits))

    async def ClearUserLimits(
        self, request: pb.ClearUserLimitsRequest, context: Context
    ) -> pb.ClearUserLimitsResponse:
        _operator(request)
        limits = await self._core.user_limits.clear(request.user_id)
        return pb.ClearUserLimitsResponse(limits=operations_mapping.user_limits_to_proto(limits))


def _operator(request: Message, *violations: FieldViolation) -> Caller:
    """Return the operator who makes a valid call, and log the call.

    Raises:
        PermissionDeniedError: The caller is not an operator.
        InvalidArgumentError: The request breaks a rule, or has these violations.
    """
    operator = require_operator()
    validate(request, *violations)
    log_operation(request)
    return operator


def _filter(
    message: operations_pb2.GenerationFilter, default: tuple[GenerationState.ValueType, ...]
) -> GenerationFilter:
    """Decode a filter. Without states, it has these."""
    filters = mapping.generation_filter_from_proto(message)
    states = filters.states or tuple(mapping.word_of(GenerationState, state) for state in default)
    return replace(filters, states=states)


def _violations_of_filter(
    request: Any, allowed: tuple[GenerationState.ValueType, ...]
) -> Iterator[FieldViolation]:
    for index, state in enumerate(request.filter.states):
        if state not in allowed and state in GenerationState.values() and state:
            words = " or ".join(mapping.word_of(GenerationState, each).upper() for each in allowed)
            yield FieldViolation(f"filter.states[{index}]", f"must be {words}")
