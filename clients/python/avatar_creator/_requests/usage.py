"""Requests of the usage service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import given_or_new, id_of, struct
from avatar_creator.v1.usage_service_pb2 import (
    GetStatsRequest,
    GetStatsResponse,
    ListUsageRequest,
    ListUsageResponse,
    RecordUsageRequest,
    RecordUsageResponse,
    SummarizeUsageRequest,
    SummarizeUsageResponse,
)
from avatar_creator.values import AppUsageSummary, Avatar, RecordedUsage, Stats, UsageRecord


def record_usage(
    avatar: Avatar | str,
    action: str,
    app_id: str,
    app_name: str,
    reference_id: str,
    reference_type: str,
    metadata: Mapping[str, Any] | None,
    request_id: str | None,
) -> Call[RecordUsageResponse, RecordedUsage]:
    request = RecordUsageRequest(
        avatar_id=id_of("avatar", Avatar, avatar),
        action=action,
        app_id=app_id,
        app_name=app_name,
        reference_id=reference_id,
        reference_type=reference_type,
        metadata=struct(metadata),
        request_id=given_or_new(request_id),
    )
    return Call(rpcs.RECORD_USAGE, request, RecordedUsage.from_message)


def list_usage(avatar: Avatar | str, app_id: str, action: str) -> ListCall[ListUsageResponse, UsageRecord]:
    request = ListUsageRequest(avatar_id=id_of("avatar", Avatar, avatar), app_id=app_id, action=action)
    return ListCall(rpcs.LIST_USAGE, request, lambda response: map(UsageRecord.from_message, response.usages))


def summarize_usage(avatar: Avatar | str) -> ListCall[SummarizeUsageResponse, AppUsageSummary]:
    request = SummarizeUsageRequest(avatar_id=id_of("avatar", Avatar, avatar))
    return ListCall(
        rpcs.SUMMARIZE_USAGE, request, lambda response: map(AppUsageSummary.from_message, response.apps)
    )


def get_stats(user_id: str, page_token: str) -> Call[GetStatsResponse, GetStatsResponse]:
    request = GetStatsRequest(user_id=user_id, page_token=page_token)
    return Call(rpcs.GET_STATS, request, lambda response: response)


def stats(response: GetStatsResponse) -> Stats:
    return Stats.from_message(response)
