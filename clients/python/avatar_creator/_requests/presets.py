"""Requests of the preset service: presets and persona examples."""

from __future__ import annotations

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import RequestArguments
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


def list_presets(
    category: str | None,
    query: str | None,
    include_images: bool | None,
    page_token: str | None,
    page_size: int | None,
) -> ListCall[ListPresetsResponse, Preset]:
    with RequestArguments() as given:
        request = ListPresetsRequest(
            category=given.text("category", category),
            query=given.text("query", query),
            include_images=given.flag("include_images", include_images),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
        )
    return ListCall(rpcs.LIST_PRESETS, request, lambda response: map(Preset.from_message, response.presets))


def get_preset(preset: Preset | str) -> Call[GetPresetResponse, Preset]:
    with RequestArguments() as given:
        request = GetPresetRequest(preset_id=given.id("preset", Preset, preset))
    return Call(rpcs.GET_PRESET, request, lambda response: Preset.from_message(response.preset))


def list_persona_examples(
    category: str | None, page_token: str | None, page_size: int | None
) -> ListCall[ListPersonaExamplesResponse, PersonaExample]:
    with RequestArguments() as given:
        request = ListPersonaExamplesRequest(
            category=given.text("category", category),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
        )
    return ListCall(
        rpcs.LIST_PERSONA_EXAMPLES,
        request,
        lambda response: map(PersonaExample.from_message, response.persona_examples),
    )


def get_persona_example(
    persona_example: PersonaExample | str,
) -> Call[GetPersonaExampleResponse, PersonaExample]:
    with RequestArguments() as given:
        request = GetPersonaExampleRequest(
            persona_example_id=given.id("persona_example", PersonaExample, persona_example)
        )
    return Call(
        rpcs.GET_PERSONA_EXAMPLE,
        request,
        lambda response: PersonaExample.from_message(response.persona_example),
    )
