"""Requests of the usage service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import RequestArguments
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
    app_id: str | None,
    app_name: str | None,
    reference_id: str | None,
    reference_type: str | None,
    metadata: Mapping[str, Any] | None,
    request_id: str | None,
) -> Call[RecordUsageResponse, RecordedUsage]:
    with RequestArguments() as given:
        request = RecordUsageRequest(
            avatar_id=given.id("avatar", Avatar, avatar),
            action=given.text("action", action, required=True),
            app_id=given.text("app_id", app_id),
            app_name=given.text("app_name", app_name),
            reference_id=given.text("reference_id", reference_id),
            reference_type=given.text("reference_type", reference_type),
            metadata=given.mapping("metadata", metadata),
            request_id=given.request_id(request_id),
        )
    return Call(rpcs.RECORD_USAGE, request, RecordedUsage.from_message)


def list_usage(
    avatar: Avatar | str,
    app_id: str | None,
    action: str | None,
    page_token: str | None,
    page_size: int | None,
) -> ListCall[ListUsageResponse, UsageRecord]:
    with RequestArguments() as given:
        request = ListUsageRequest(
            avatar_id=given.id("avatar", Avatar, avatar),
            app_id=given.text("app_id", app_id),
            action=given.text("action", action),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
        )
    return ListCall(rpcs.LIST_USAGE, request, lambda response: map(UsageRecord.from_message, response.usages))


def summarize_usage(avatar: Avatar | str) -> ListCall[SummarizeUsageResponse, AppUsageSummary]:
    with RequestArguments() as given:
        request = SummarizeUsageRequest(avatar_id=given.id("avatar", Avatar, avatar))
    return ListCall(
        rpcs.SUMMARIZE_USAGE, request, lambda response: map(AppUsageSummary.from_message, response.apps)
    )


def get_stats(user_id: str | None, page_token: str) -> Call[GetStatsResponse, GetStatsResponse]:
    with RequestArguments() as given:
        request = GetStatsRequest(user_id=given.text("user_id", user_id), page_token=page_token)
    return Call(rpcs.GET_STATS, request, lambda response: response)


def stats(response: GetStatsResponse) -> Stats:
    return Stats.from_message(response)
