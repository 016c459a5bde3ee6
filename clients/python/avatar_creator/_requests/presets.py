"""Requests of the preset service: presets and persona examples."""

from __future__ import annotations

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator.v1.persona_pb2 import PersonaExample
from avatar_creator.v1.preset_pb2 import AvatarPreset
from avatar_creator.v1.preset_service_pb2 import (
    GetPersonaExampleRequest,
    GetPersonaExampleResponse,
    GetPresetRequest,
    GetPresetResponse,
    ListPersonaExamplesRequest,
    ListPersonaExamplesResponse,
    ListPresetsRequest,
    ListPresetsResponse,
)


def list_presets(
    category: str, query: str, include_images: bool
) -> ListCall[ListPresetsResponse, AvatarPreset]:
    request = ListPresetsRequest(category=category, query=query, include_images=include_images)
    return ListCall(rpcs.LIST_PRESETS, request, lambda response: response.presets)


def get_preset(preset_id: str) -> Call[GetPresetResponse, AvatarPreset]:
    return Call(rpcs.GET_PRESET, GetPresetRequest(preset_id=preset_id), lambda response: response.preset)


def list_persona_examples(category: str) -> ListCall[ListPersonaExamplesResponse, PersonaExample]:
    request = ListPersonaExamplesRequest(category=category)
    return ListCall(rpcs.LIST_PERSONA_EXAMPLES, request, lambda response: response.persona_examples)


def get_persona_example(persona_example_id: str) -> Call[GetPersonaExampleResponse, PersonaExample]:
    request = GetPersonaExampleRequest(persona_example_id=persona_example_id)
    return Call(rpcs.GET_PERSONA_EXAMPLE, request, lambda response: response.persona_example)
