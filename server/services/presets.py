"""Serves `PresetService`."""

from __future__ import annotations

from avatar_creator.v1 import preset_service_pb2 as pb
from avatar_creator.v1 import preset_service_pb2_grpc as pb_grpc
from server.interceptors.around import Context


class PresetService(pb_grpc.PresetServiceServicer):
    """The gallery of starting points. In the contract, and not served yet."""

    async def ListPresets(self, request: pb.ListPresetsRequest, context: Context) -> pb.ListPresetsResponse:
        raise NotImplementedError

    async def GetPreset(self, request: pb.GetPresetRequest, context: Context) -> pb.GetPresetResponse:
        raise NotImplementedError

    async def ListPersonaExamples(
        self, request: pb.ListPersonaExamplesRequest, context: Context
    ) -> pb.ListPersonaExamplesResponse:
        raise NotImplementedError

    async def GetPersonaExample(
        self, request: pb.GetPersonaExampleRequest, context: Context
    ) -> pb.GetPersonaExampleResponse:
        raise NotImplementedError
