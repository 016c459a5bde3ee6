"""Serves `UsageService`."""

from __future__ import annotations

from avatar_creator.v1 import usage_service_pb2 as pb
from avatar_creator.v1 import usage_service_pb2_grpc as pb_grpc
from server.interceptors.around import Context


class UsageService(pb_grpc.UsageServiceServicer):
    """What apps do with the calling user's avatars. In the contract, and not served yet."""

    async def RecordUsage(self, request: pb.RecordUsageRequest, context: Context) -> pb.RecordUsageResponse:
        raise NotImplementedError

    async def ListUsage(self, request: pb.ListUsageRequest, context: Context) -> pb.ListUsageResponse:
        raise NotImplementedError

    async def SummarizeUsage(
        self, request: pb.SummarizeUsageRequest, context: Context
    ) -> pb.SummarizeUsageResponse:
        raise NotImplementedError

    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        raise NotImplementedError
