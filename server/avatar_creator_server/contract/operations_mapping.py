"""Mapping of the records for operators to messages of the contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from avatar_creator.v1 import error_reason_pb2, generation_pb2, operations_pb2
from avatar_creator_server.contract.mapping import number_of, timestamp
from avatar_creator_server.database.models.states import PRIORITIES
from avatar_creator_server.generations.bulk_changes import BulkFailure
from avatar_creator_server.generations.queue_control import QueueRoute, QueueStatus
from avatar_creator_server.generations.spending import Limits, OwnLimits, UsedAmounts
from avatar_creator_server.generations.user_activity import UserActivity
from avatar_creator_server.generations.user_limits import UserLimitsRecord
from avatar_creator_server.generations.workers import RunningAttempt, WorkingWorker


def worker_to_proto(working: WorkingWorker) -> operations_pb2.Worker:
    """Encode a worker with what it runs."""
    worker = working.worker
    return operations_pb2.Worker(
        name=worker.name,
        version=worker.version,
        host=worker.host,
        provider=worker.provider,
        slots=worker.slots,
        state=_number(operations_pb2.WorkerState, worker.state),
        start_time=timestamp(worker.start_time),
        last_seen_time=timestamp(worker.last_seen_time),
        drain_time=timestamp(worker.drain_time),
        running=map(_running_to_proto, working.running),
    )


def _route_to_proto(each: QueueRoute) -> operations_pb2.QueueRoute:
    outage = each.outage
    return operations_pb2.QueueRoute(
        name=each.route.name,
        provider=each.route.provider,
        model=each.route.model,
        draws_from_reference=each.draws_from_reference,
        draws_from_text=each.draws_from_text,
        outage_start_time=timestamp(outage.open_time if outage else None),
        outage_reason=_number(error_reason_pb2.ErrorReason, outage.reason if outage else "UNSPECIFIED"),
        outage_retry_time=timestamp(outage.probe_time if outage else None),
    )


def queue_to_proto(status: QueueStatus) -> operations_pb2.Queue:
    """Encode the queue."""
    figures = status.figures
    return operations_pb2.Queue(
        depths=[
            operations_pb2.QueueDepth(
                priority=_number(generation_pb2.GenerationPriority, priority),
                due_count=figures.depth.get((priority, "due"), 0),
                waiting_to_retry_count=figures.depth.get((priority, "waiting_to_retry"), 0),
                oldest_due_time=timestamp(
                    status.now - timedelta(seconds=figures.oldest_due_seconds[priority])
                    if priority in figures.oldest_due_seconds
                    else None
                ),
            )
            for priority in PRIORITIES
        ],
        running_count=figures.live_leases,
        abandoned_count=figures.expired_leases,
        routes=map(_route_to_proto, status.routes),
        pauses=[
            operations_pb2.QueuePause(
                route=pause.route,
                pause_time=timestamp(pause.pause_time),
                paused_by=pause.paused_by,
                note=pause.note,
            )
            for pause in status.pauses
        ],
        recent_failures=[
            operations_pb2.FailureCount(
                reason=_number(error_reason_pb2.ErrorReason, reason), generation_count=number
            )
            for reason, number in status.recent_failures
        ],
    )


def user_activity_to_proto(activity: UserActivity) -> operations_pb2.UserActivity:
    """Encode the activity of a user."""
    return operations_pb2.UserActivity(
        user_id=activity.user_id,
        due_count=activity.due,
        pending_count=activity.pending,
        processing_count=activity.processing,
        failed_count=activity.failed,
        price_micros=activity.price_micros,
    )


def user_limits_to_proto(limits: UserLimitsRecord) -> operations_pb2.UserLimits:
    """Encode the limits of a user."""
    return operations_pb2.UserLimits(
        user_id=limits.user_id,
        own=_limits_to_proto(limits.own),
        effective=_limits_to_proto(limits.effective),
        used=_limits_to_proto(limits.used),
        update_time=timestamp(limits.update_time),
        updated_by=limits.updated_by,
    )


def bulk_failure_to_proto(failure: BulkFailure) -> operations_pb2.BulkFailure:
    """Encode a generation that could not be changed."""
    return operations_pb2.BulkFailure(
        generation_id=failure.generation_id,
        error=generation_pb2.GenerationError(
            reason=_number(error_reason_pb2.ErrorReason, failure.reason), message=failure.message
        ),
    )


def _limits_to_proto(limits: Limits | OwnLimits | UsedAmounts) -> operations_pb2.GenerationLimits:
    return operations_pb2.GenerationLimits(
        concurrent=limits.concurrent,
        per_minute=limits.per_minute,
        per_day=limits.per_day,
        spend_per_day_micros=limits.spend_per_day_micros,
    )


def _running_to_proto(running: RunningAttempt) -> operations_pb2.RunningAttempt:
    return operations_pb2.RunningAttempt(
        generation_id=running.generation_id,
        user_id=running.user_id,
        attempt_number=running.attempt_number,
        stage=_number(generation_pb2.GenerationStage, running.stage),
        progress_percent=running.progress_percent,
        route=running.route,
        start_time=timestamp(running.start_time),
        priority=_number(generation_pb2.GenerationPriority, running.priority),
    )


def _number(enum: Any, word: str) -> Any:
    """Return the enum value of a word; see `number_of`."""
    return number_of(enum, word)
