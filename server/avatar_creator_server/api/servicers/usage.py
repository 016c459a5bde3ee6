"""Servicer of `UsageService`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from avatar_creator.v1 import generation_pb2
from avatar_creator.v1 import usage_service_pb2 as pb
from avatar_creator.v1 import usage_service_pb2_grpc as pb_grpc
from avatar_creator_server.api.access import current_caller, privileged_caller, resolve_list_owner
from avatar_creator_server.api.answers import fit
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.request_keys import request_key
from avatar_creator_server.api.validation import validate
from avatar_creator_server.contract import mapping
from avatar_creator_server.errors import FieldViolation, PermissionDeniedError
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.paging import Page
from avatar_creator_server.shared.turns import Turns
from avatar_creator_server.usage.service import Usage, Use

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_ENCODING_WAIT_SECONDS = 300.0
"""More than the deadlines of calls, which end the wait."""


class UsageService(pb_grpc.UsageServiceServicer):
    """Uses of the calling user's avatars by apps, and statistics."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        # One at a time, because several threads that encode would keep the event loop from the interpreter.
        self._encoding = Turns("large answers", at_once=1, wait_seconds=_ENCODING_WAIT_SECONDS)

    async def RecordUsage(self, request: pb.RecordUsageRequest, context: Context) -> pb.RecordUsageResponse:
        caller = current_caller()
        if request.app_id.strip() or caller.app_id:
            validate(request)
        else:
            validate(request, FieldViolation("app_id", "must not be empty, because the token has no app id"))
        app_id = _app_of(caller, request.app_id)
        use = Use(
            avatar_id=request.avatar_id,
            app_id=app_id,
            app_name=request.app_name,
            action=request.action,
            reference_id=request.reference_id,
            reference_type=request.reference_type,
            metadata=mapping.metadata_from_proto(request.metadata),
        )
        # The app is part of the call, even if the token names it and the request does not.
        key = request_key("RecordUsage", request.request_id, request, app_id.encode())
        usage, usage_count = await self._usage.record(caller, key, use)
        return pb.RecordUsageResponse(usage=mapping.usage_to_proto(usage), usage_count=usage_count)

    async def ListUsage(self, request: pb.ListUsageRequest, context: Context) -> pb.ListUsageResponse:
        validate(request)
        page = await self._usage.list_page(
            privileged_caller(request),
            request.avatar_id,
            app_id=request.app_id,
            action=request.action,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        usages, page = await self._encode(page, mapping.usage_to_proto)
        return pb.ListUsageResponse(usages=usages, next_page_token=page.next_page_token)

    async def SummarizeUsage(
        self, request: pb.SummarizeUsageRequest, context: Context
    ) -> pb.SummarizeUsageResponse:
        validate(request)
        page, totals = await self._usage.summarize(
            privileged_caller(request),
            request.avatar_id,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        apps, page = await self._encode(page, mapping.app_usage_to_proto)
        return pb.SummarizeUsageResponse(
            apps=apps,
            next_page_token=page.next_page_token,
            app_count=totals.app_count,
            usage_count=totals.usage_count,
        )

    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        validate(request)
        figures, page = await self._usage.statistics(
            resolve_list_owner(request), page_token=request.page_token
        )
        spending, page = fit(page, mapping.daily_spend_to_proto)
        return pb.GetStatsResponse(
            avatar_count=figures.avatar_count,
            recent_upload_count=figures.recent_upload_count,
            usage_count=figures.usage_count,
            average_usage_per_avatar=(
                figures.usage_count / figures.avatar_count if figures.avatar_count else 0.0
            ),
            generations=[
                pb.GenerationStateCount(
                    state=mapping.number_of(generation_pb2.GenerationState, state),  # type: ignore[arg-type]
                    generation_count=number,
                )
                for state, number in figures.generations.items()
            ],
            spending=spending,
            next_page_token=page.next_page_token,
        )

    async def _encode(self, page: Page[T], encode: Callable[[T], M]) -> tuple[list[M], Page[T]]:
        # In a thread, because a hundred uses with the maximum of metadata take half a second.
        async with self._encoding.turn(current_caller().user_id):
            return await asyncio.to_thread(fit, page, encode)


def _app_of(caller: Caller, requested: str) -> str:
    """Return the app that records the use: the token's, or else the requested one.

    Raises:
        PermissionDeniedError: The token has another app than the request.
    """
    if caller.app_id and requested not in ("", caller.app_id):
        raise PermissionDeniedError(
            "APP_MISMATCH",
            f"the token belongs to the app {caller.app_id!r}, but the request names the app {requested!r}",
            metadata={"token_app_id": caller.app_id, "request_app_id": requested},
        )
    return caller.app_id or requested
