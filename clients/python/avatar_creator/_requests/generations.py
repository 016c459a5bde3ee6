"""Requests of the generation service."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import LARGEST_UINT32, RequestArguments
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
    project: Project | str,
    prompt: str | None,
    parameters: GenerationParameters,
    request_id: str | None,
) -> tuple[CreateGenerationRequest, list[str | PictureSource]]:
    """Return the request without its references, and the references, which may have to be uploaded first."""
    with RequestArguments() as given:
        request, references = _generation(given, project, prompt, parameters)
        request.request_id = given.request_id(request_id)
    return request, references


def variations_request(
    project: Project | str,
    prompt: str | None,
    count: int,
    parameters: GenerationParameters,
    request_id: str | None,
) -> tuple[CreateGenerationRequest, list[str | PictureSource]]:
    """Return the same for a call that starts several generations."""
    with RequestArguments() as given:
        request, references = _generation(given, project, prompt, parameters)
        request.request_id = given.request_id(request_id)
        # The service reads 0 as 1, so a caller whose count reaches 0 would pay for one generation.
        request.variation_count = given.whole("count", count, least=1, required=True)
    return request, references


def _generation(
    given: RequestArguments, project: object, prompt: object, parameters: GenerationParameters
) -> tuple[CreateGenerationRequest, list[str | PictureSource]]:
    unknown = parameters.keys() - GenerationParameters.__optional_keys__
    if unknown:
        raise TypeError(
            f"unknown keyword argument {', '.join(sorted(unknown))}; see avatar_creator.GenerationParameters"
        )
    get = parameters.get
    request = CreateGenerationRequest(
        project_id=given.id("project", Project, project),
        prompt=given.text("prompt", prompt),
        avatar_name=given.text("avatar_name", get("avatar_name")),
        persona=given.persona(get("persona")),
        attributes=given.attributes(get("attributes")),
        options=GenerationOptions(
            width=given.whole("width", get("width")),
            height=given.whole("height", get("height")),
            seed=given.optional_whole("seed", get("seed"), least=0, most=LARGEST_UINT32),
            steps=given.whole("steps", get("steps")),
            guidance_scale=given.number("guidance_scale", get("guidance_scale")),
            negative_prompt=given.text("negative_prompt", get("negative_prompt")),
            reference_strength=given.number("reference_strength", get("reference_strength")),
            strict=given.flag("strict", get("strict")),
            omit_recipe=given.flag("omit_recipe", get("omit_recipe")),
        ),
        preset_id=given.optional_id("preset", Preset, get("preset")),
        persona_example_id=given.optional_id("persona_example", PersonaExample, get("persona_example")),
        priority=given.enum("priority", GenerationPriority, get("priority")),
    )
    return request, given.references(get("reference"))


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
    avatar_name: str | None,
    priority: GenerationPriority | GenerationPriorityWord | None,
    request_id: str | None,
) -> Call[CreateGenerationResponse, Generation]:
    with RequestArguments() as given:
        request = CreateGenerationRequest(
            project_id=given.id("project", Project, project),
            avatar_name=given.text("avatar_name", avatar_name),
            reproduce_generation_id=given.id("generation", Generation, generation),
            priority=given.enum("priority", GenerationPriority, priority),
            request_id=given.request_id(request_id),
        )
    return Call(
        rpcs.CREATE_GENERATION, request, lambda response: Generation.from_message(response.generation)
    )


def estimate_generation(
    project: Project | str,
    prompt: str | None,
    parameters: GenerationParameters,
    variation_count: int | None,
) -> Call[EstimateGenerationResponse, Estimate]:
    with RequestArguments() as given:
        generation, references = _generation(given, project, prompt, parameters)
        generation.variation_count = given.whole(
            "variation_count", 1 if variation_count is None else variation_count, least=1
        )
        for reference in references:
            if isinstance(reference, str):
                generation.reference_avatar_ids.append(reference)
            else:
                given.refuse(
                    reference.argument, "must be an avatar or its id, because an estimate uploads nothing"
                )
    request = EstimateGenerationRequest(generation=generation)
    return Call(rpcs.ESTIMATE_GENERATION, request, Estimate.from_message)


def get_generation(generation: AnyGeneration) -> Call[GetGenerationResponse, Generation]:
    request = GetGenerationRequest(generation_id=_id_of(generation))
    return Call(rpcs.GET_GENERATION, request, lambda response: Generation.from_message(response.generation))


def get_details(generation: AnyGeneration) -> Call[GetGenerationResponse, GenerationDetails]:
    request = GetGenerationRequest(generation_id=_id_of(generation))
    return Call(rpcs.GET_GENERATION, request, GenerationDetails.from_message)


def list_attempts(generation: AnyGeneration) -> Call[GetGenerationResponse, tuple[GenerationAttempt, ...]]:
    request = GetGenerationRequest(generation_id=_id_of(generation))
    return Call(
        rpcs.GET_GENERATION,
        request,
        lambda response: tuple(map(GenerationAttempt.from_message, response.attempts)),
    )


def get_recipe(generation: AnyGeneration) -> Call[GetGenerationResponse, Recipe | None]:
    request = GetGenerationRequest(generation_id=_id_of(generation))
    return Call(
        rpcs.GET_GENERATION,
        request,
        lambda response: Recipe.from_message(response.recipe) if response.HasField("recipe") else None,
    )


def list_generations(
    project: Project | str | None,
    group_id: str | None,
    states: GenerationState | GenerationStateWord | Iterable[GenerationState | GenerationStateWord] | None,
    create_time_from: datetime | None,
    create_time_to: datetime | None,
    user_id: str | None,
    error_reasons: ErrorReason | str | Iterable[ErrorReason | str] | None,
    priorities: GenerationPriority
    | GenerationPriorityWord
    | Iterable[GenerationPriority | GenerationPriorityWord]
    | None,
    order: GenerationOrder | GenerationOrderWord | None,
    page_token: str | None,
    page_size: int | None,
) -> ListCall[ListGenerationsResponse, Generation]:
    with RequestArguments() as given:
        request = ListGenerationsRequest(
            project_id=given.optional_id("project", Project, project),
            group_id=given.text("group_id", group_id),
            states=given.enums("states", GenerationState, states),
            create_time_from=given.time("create_time_from", create_time_from),
            create_time_to=given.time("create_time_to", create_time_to),
            user_id=given.text("user_id", user_id),
            error_reasons=given.enums("error_reasons", ErrorReason, error_reasons),
            priorities=given.enums("priorities", GenerationPriority, priorities),
            order=given.enum("order", GenerationOrder, order),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
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
    request = CancelGenerationRequest(generation_id=_id_of(generation))
    return Call(
        rpcs.CANCEL_GENERATION, request, lambda response: Generation.from_message(response.generation)
    )


def retry_generation(
    generation: AnyGeneration, request_id: str | None
) -> Call[RetryGenerationResponse, Generation]:
    with RequestArguments() as given:
        request = RetryGenerationRequest(
            generation_id=given.id("generation", Generation, generation),
            request_id=given.request_id(request_id),
        )
    return Call(rpcs.RETRY_GENERATION, request, lambda response: Generation.from_message(response.generation))


def _id_of(generation: AnyGeneration) -> str:
    with RequestArguments() as given:
        return given.id("generation", Generation, generation)
