"""Requests of the generation service."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import (
    at_least_one,
    attributes_of,
    given_or_new,
    id_of,
    number_of,
    numbers_of,
    persona_of,
    references_of,
    refused,
    timestamp,
)
from avatar_creator.enums import (
    ErrorReason,
    GenerationOrder,
    GenerationOrderWord,
    GenerationPriority,
    GenerationPriorityWord,
    GenerationState,
    GenerationStateWord,
)
from avatar_creator.handles import AnyGeneration
from avatar_creator.parameters import GenerationParameters
from avatar_creator.pictures import PictureSource
from avatar_creator.v1.avatar_service_pb2 import UploadAvatarMetadata
from avatar_creator.v1.generation_pb2 import GenerationOptions
from avatar_creator.v1.generation_service_pb2 import (
    CancelGenerationRequest,
    CancelGenerationResponse,
    CreateGenerationRequest,
    CreateGenerationResponse,
    EstimateGenerationRequest,
    EstimateGenerationResponse,
    GetGenerationRequest,
    GetGenerationResponse,
    ListGenerationsRequest,
    ListGenerationsResponse,
    RetryGenerationRequest,
    RetryGenerationResponse,
    WatchAll,
    WatchGenerationRequest,
    WatchGenerationsRequest,
    WatchTarget,
    WatchTargets,
)
from avatar_creator.values import (
    Estimate,
    Generation,
    GenerationAttempt,
    GenerationDetails,
    PersonaExample,
    Preset,
    Project,
    Recipe,
)


def generation_request(
    project: Project | str, prompt: str, parameters: GenerationParameters
) -> CreateGenerationRequest:
    """Return the request without its references, which may have to be uploaded first."""
    unknown = parameters.keys() - GenerationParameters.__optional_keys__
    if unknown:
        raise TypeError(
            f"unknown keyword argument {', '.join(sorted(unknown))}; see avatar_creator.GenerationParameters"
        )
    return CreateGenerationRequest(
        project_id=id_of("project", Project, project),
        prompt=prompt,
        avatar_name=parameters.get("avatar_name", ""),
        persona=persona_of(parameters.get("persona")),
        attributes=attributes_of(parameters.get("attributes")),
        options=GenerationOptions(
            width=parameters.get("width", 0),
            height=parameters.get("height", 0),
            seed=parameters.get("seed"),
            steps=parameters.get("steps", 0),
            guidance_scale=parameters.get("guidance_scale", 0.0),
            negative_prompt=parameters.get("negative_prompt", ""),
            reference_strength=parameters.get("reference_strength", 0.0),
            strict=parameters.get("strict", False),
            omit_recipe=parameters.get("omit_recipe", False),
        ),
        preset_id=id_of("preset", Preset, parameters.get("preset", "")),
        persona_example_id=id_of("persona_example", PersonaExample, parameters.get("persona_example", "")),
        priority=number_of("priority", GenerationPriority, parameters.get("priority")),
    )


def references(parameters: GenerationParameters) -> list[str | PictureSource]:
    return references_of(parameters.get("reference"))


def upload_of_reference(
    request: CreateGenerationRequest, picture: PictureSource, number: int
) -> UploadAvatarMetadata:
    """Return the metadata of the upload. Its request id depends on that of the generation alone.

    An app that repeats `create` with the same request id therefore does not upload the picture again.
    """
    request_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{request.request_id}/reference/{number}")
    return UploadAvatarMetadata(
        project_id=request.project_id, name=picture.name or "Reference", request_id=str(request_id)
    )


def create_generations(
    request: CreateGenerationRequest,
) -> Call[CreateGenerationResponse, tuple[Generation, ...]]:
    """Return the call, whose result is the generation with its variations."""
    return Call(
        rpcs.CREATE_GENERATION,
        request,
        lambda response: tuple(map(Generation.from_message, [response.generation, *response.variations])),
    )


def reproduce_generation(
    generation: AnyGeneration,
    project: Project | str,
    avatar_name: str,
    priority: GenerationPriority | GenerationPriorityWord | None,
    request_id: str | None,
) -> Call[CreateGenerationResponse, Generation]:
    request = CreateGenerationRequest(
        project_id=id_of("project", Project, project),
        avatar_name=avatar_name,
        reproduce_generation_id=id_of("generation", Generation, generation),
        priority=number_of("priority", GenerationPriority, priority),
        request_id=given_or_new(request_id),
    )
    return Call(
        rpcs.CREATE_GENERATION, request, lambda response: Generation.from_message(response.generation)
    )


def estimate_generation(
    project: Project | str, prompt: str, parameters: GenerationParameters, variation_count: int
) -> Call[EstimateGenerationResponse, Estimate]:
    generation = generation_request(project, prompt, parameters)
    generation.variation_count = at_least_one("variation_count", variation_count)
    for reference in references(parameters):
        if isinstance(reference, PictureSource):
            raise refused("reference", "must be an avatar or its id, because an estimate uploads nothing")
        generation.reference_avatar_ids.append(reference)
    request = EstimateGenerationRequest(generation=generation)
    return Call(rpcs.ESTIMATE_GENERATION, request, Estimate.from_message)


def get_generation(generation: AnyGeneration) -> Call[GetGenerationResponse, Generation]:
    request = GetGenerationRequest(generation_id=id_of("generation", Generation, generation))
    return Call(rpcs.GET_GENERATION, request, lambda response: Generation.from_message(response.generation))


def get_details(generation: AnyGeneration) -> Call[GetGenerationResponse, GenerationDetails]:
    request = GetGenerationRequest(generation_id=id_of("generation", Generation, generation))
    return Call(rpcs.GET_GENERATION, request, GenerationDetails.from_message)


def list_attempts(generation: AnyGeneration) -> Call[GetGenerationResponse, tuple[GenerationAttempt, ...]]:
    request = GetGenerationRequest(generation_id=id_of("generation", Generation, generation))
    return Call(
        rpcs.GET_GENERATION,
        request,
        lambda response: tuple(map(GenerationAttempt.from_message, response.attempts)),
    )


def get_recipe(generation: AnyGeneration) -> Call[GetGenerationResponse, Recipe | None]:
    request = GetGenerationRequest(generation_id=id_of("generation", Generation, generation))
    return Call(
        rpcs.GET_GENERATION,
        request,
        lambda response: Recipe.from_message(response.recipe) if response.HasField("recipe") else None,
    )


def list_generations(
    project: Project | str,
    group_id: str,
    states: GenerationState | GenerationStateWord | Iterable[GenerationState | GenerationStateWord],
    create_time_from: datetime | None,
    create_time_to: datetime | None,
    user_id: str,
    error_reasons: ErrorReason | str | Iterable[ErrorReason | str],
    priorities: GenerationPriority
    | GenerationPriorityWord
    | Iterable[GenerationPriority | GenerationPriorityWord],
    order: GenerationOrder | GenerationOrderWord | None,
) -> ListCall[ListGenerationsResponse, Generation]:
    request = ListGenerationsRequest(
        project_id=id_of("project", Project, project),
        group_id=group_id,
        states=numbers_of("states", GenerationState, states),
        create_time_from=timestamp(create_time_from),
        create_time_to=timestamp(create_time_to),
        user_id=user_id,
        error_reasons=numbers_of("error_reasons", ErrorReason, error_reasons),
        priorities=numbers_of("priorities", GenerationPriority, priorities),
        order=number_of("order", GenerationOrder, order),
    )
    return ListCall(
        rpcs.LIST_GENERATIONS, request, lambda response: map(Generation.from_message, response.generations)
    )


def watch_generation(generation_id: str, known_revision: int) -> WatchGenerationRequest:
    return WatchGenerationRequest(generation_id=generation_id, known_revision=known_revision)


def watch_generations(known_revisions: Mapping[str, int]) -> WatchGenerationsRequest:
    targets = [
        WatchTarget(generation_id=generation_id, known_revision=revision)
        for generation_id, revision in known_revisions.items()
    ]
    return WatchGenerationsRequest(targets=WatchTargets(targets=targets))


def watch_group(group_id: str) -> WatchGenerationsRequest:
    return WatchGenerationsRequest(group_id=group_id)


def watch_project(project_id: str, changed_since: Timestamp | None) -> WatchGenerationsRequest:
    return WatchGenerationsRequest(project_id=project_id, changed_since=changed_since)


def watch_all(user_id: str, changed_since: Timestamp | None) -> WatchGenerationsRequest:
    return WatchGenerationsRequest(all=WatchAll(user_id=user_id), changed_since=changed_since)


def cancel_generation(generation: AnyGeneration) -> Call[CancelGenerationResponse, Generation]:
    request = CancelGenerationRequest(generation_id=id_of("generation", Generation, generation))
    return Call(
        rpcs.CANCEL_GENERATION, request, lambda response: Generation.from_message(response.generation)
    )


def retry_generation(
    generation: AnyGeneration, request_id: str | None
) -> Call[RetryGenerationResponse, Generation]:
    request = RetryGenerationRequest(
        generation_id=id_of("generation", Generation, generation), request_id=given_or_new(request_id)
    )
    return Call(rpcs.RETRY_GENERATION, request, lambda response: Generation.from_message(response.generation))
