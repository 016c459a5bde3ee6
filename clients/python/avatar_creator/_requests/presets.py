"""Requests of the preset service: presets and persona examples."""

from __future__ import annotations

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import id_of
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
from avatar_creator.values import PersonaExample, Preset


def list_presets(category: str, query: str, include_images: bool) -> ListCall[ListPresetsResponse, Preset]:
    request = ListPresetsRequest(category=category, query=query, include_images=include_images)
    return ListCall(rpcs.LIST_PRESETS, request, lambda response: map(Preset.from_message, response.presets))


def get_preset(preset: Preset | str) -> Call[GetPresetResponse, Preset]:
    request = GetPresetRequest(preset_id=id_of("preset", Preset, preset))
    return Call(rpcs.GET_PRESET, request, lambda response: Preset.from_message(response.preset))


def list_persona_examples(category: str) -> ListCall[ListPersonaExamplesResponse, PersonaExample]:
    request = ListPersonaExamplesRequest(category=category)
    return ListCall(
        rpcs.LIST_PERSONA_EXAMPLES,
        request,
        lambda response: map(PersonaExample.from_message, response.persona_examples),
    )


def get_persona_example(
    persona_example: PersonaExample | str,
) -> Call[GetPersonaExampleResponse, PersonaExample]:
    request = GetPersonaExampleRequest(
        persona_example_id=id_of("persona_example", PersonaExample, persona_example)
    )
    return Call(
        rpcs.GET_PERSONA_EXAMPLE,
        request,
        lambda response: PersonaExample.from_message(response.persona_example),
    )
