"""Servicer of `PresetService`."""

from __future__ import annotations

from avatar_creator.v1 import preset_service_pb2 as pb
from avatar_creator.v1 import preset_service_pb2_grpc as pb_grpc
from avatar_creator_server.api.access import current_caller
from avatar_creator_server.api.answers import fit
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.validation import validate
from avatar_creator_server.contract import mapping
from avatar_creator_server.presets.service import Gallery


class PresetService(pb_grpc.PresetServiceServicer):
    """The gallery of presets and persona examples, the same for every user."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    async def ListPresets(self, request: pb.ListPresetsRequest, context: Context) -> pb.ListPresetsResponse:
        validate(request)
        page = await self._gallery.presets(
            current_caller(),
            category=request.category,
            query=request.query,
            with_images=request.include_images,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        presets, page = fit(page, mapping.preset_to_proto)
        return pb.ListPresetsResponse(presets=presets, next_page_token=page.next_page_token)

    async def GetPreset(self, request: pb.GetPresetRequest, context: Context) -> pb.GetPresetResponse:
        validate(request)
        preset = await self._gallery.preset(request.preset_id)
        return pb.GetPresetResponse(preset=mapping.preset_to_proto(preset))

    async def ListPersonaExamples(
        self, request: pb.ListPersonaExamplesRequest, context: Context
    ) -> pb.ListPersonaExamplesResponse:
        validate(request)
        page = await self._gallery.persona_examples(
            current_caller(),
            category=request.category,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        examples, page = fit(page, mapping.persona_example_to_proto)
        return pb.ListPersonaExamplesResponse(persona_examples=examples, next_page_token=page.next_page_token)

    async def GetPersonaExample(
        self, request: pb.GetPersonaExampleRequest, context: Context
    ) -> pb.GetPersonaExampleResponse:
        validate(request)
        example = await self._gallery.persona_example(request.persona_example_id)
        return pb.GetPersonaExampleResponse(persona_example=mapping.persona_example_to_proto(example))
