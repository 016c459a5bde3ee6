"""Requests of the generation service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import at_least_one, avatar_ids, given_or_new, timestamp
from avatar_creator.parameters import GenerationParameters
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator.v1.generation_pb2 import (
    Generation,
    GenerationAttempt,
    GenerationOptions,
    GenerationPriority,
    GenerationState,
    Recipe,
)
from avatar_creator.v1.generation_service_pb2 import (
    CancelGenerationRequest,
    CancelGenerationResponse,
    CreateGenerationRequest,
    CreateGenerationResponse,
    EstimateGenerationRequest,
    EstimateGenerationResponse,
    GenerationOrder,
    GetGenerationRequest,
    GetGenerationResponse,
    ListGenerationsRequest,
    ListGenerationsResponse,
    RetryGenerationRequest,
    RetryGenerationResponse,
    WatchGenerationRequest,
    WatchGenerationsRequest,
    WatchTarget,
)


def generation_request(
    project_id: str, prompt: str, parameters: GenerationParameters
) -> CreateGenerationRequest:
    unknown = parameters.keys() - GenerationParameters.__optional_keys__
    if unknown:
        raise TypeError(
            f"unknown keyword argument {', '.join(sorted(unknown))}; see avatar_creator.GenerationParameters"
        )
    return CreateGenerationRequest(
        project_id=project_id,
        prompt=prompt,
        avatar_name=parameters.get("avatar_name", ""),
        persona=parameters.get("persona"),
        attributes=parameters.get("attributes"),
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
        preset_id=parameters.get("preset_id", ""),
        persona_example_id=parameters.get("persona_example_id", ""),
        reference_avatar_id=parameters.get("reference_avatar_id", ""),
        reference_avatar_ids=avatar_ids("reference_avatar_ids", parameters.get("reference_avatar_ids", ())),
        priority=parameters.get("priority", GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED),
    )


def create_generation(
    request: CreateGenerationRequest, request_id: str | None
) -> Call[CreateGenerationResponse, Generation]:
    request.request_id = given_or_new(request_id)
    return Call(rpcs.CREATE_GENERATION, request, lambda response: response.generation)


def create_variations(
    request: CreateGenerationRequest, count: int, request_id: str | None
) -> Call[CreateGenerationResponse, list[Generation]]:
    request.variation_count = at_least_one("count", count)
    request.request_id = given_or_new(request_id)
    return Call(rpcs.CREATE_GENERATION, request, lambda response: [response.generation, *response.variations])


def reproduce_generation(
    generation_id: str,
    project_id: str,
    avatar_name: str,
    priority: GenerationPriority.ValueType,
    request_id: str | None,
) -> Call[CreateGenerationResponse, Generation]:
    request = CreateGenerationRequest(
        project_id=project_id,
        avatar_name=avatar_name,
        reproduce_generation_id=generation_id,
        priority=priority,
        request_id=given_or_new(request_id),
    )
    return Call(rpcs.CREATE_GENERATION, request, lambda response: response.generation)


def estimate_generation(
    generation: CreateGenerationRequest, variation_count: int
) -> Call[EstimateGenerationResponse, EstimateGenerationResponse]:
    generation.variation_count = at_least_one("variation_count", variation_count)
    request = EstimateGenerationRequest(generation=generation)
    return Call(rpcs.ESTIMATE_GENERATION, request, lambda response: response)


def get_generation(generation_id: str) -> Call[GetGenerationResponse, Generation]:
    request = GetGenerationRequest(generation_id=generation_id)
    return Call(rpcs.GET_GENERATION, request, lambda response: response.generation)


def list_attempts(generation_id: str) -> Call[GetGenerationResponse, list[GenerationAttempt]]:
    request = GetGenerationRequest(generation_id=generation_id)
    return Call(rpcs.GET_GENERATION, request, lambda response: list(response.attempts))


def get_recipe(generation_id: str) -> Call[GetGenerationResponse, Recipe | None]:
    request = GetGenerationRequest(generation_id=generation_id)
    return Call(
        rpcs.GET_GENERATION,
        request,
        lambda response: response.recipe if response.HasField("recipe") else None,
    )


def list_generations(
    project_id: str,
    group_id: str,
    states: Iterable[GenerationState.ValueType],
    create_time_from: datetime | None,
    create_time_to: datetime | None,
    user_id: str,
    error_reasons: Iterable[ErrorReason.ValueType],
    priorities: Iterable[GenerationPriority.ValueType],
    order: GenerationOrder.ValueType,
) -> ListCall[ListGenerationsResponse, Generation]:
    request = ListGenerationsRequest(
        project_id=project_id,
        group_id=group_id,
        states=states,
        create_time_from=timestamp(create_time_from),
        create_time_to=timestamp(create_time_to),
        user_id=user_id,
        error_reasons=error_reasons,
        priorities=priorities,
        order=order,
    )
    return ListCall(rpcs.LIST_GENERATIONS, request, lambda response: response.generations)


def watch_generation(generation_id: str, known_revision: int) -> WatchGenerationRequest:
    return WatchGenerationRequest(generation_id=generation_id, known_revision=known_revision)


def watch_generations(known_revisions: Mapping[str, int]) -> WatchGenerationsRequest:
    targets = [
        WatchTarget(generation_id=generation_id, known_revision=revision)
        for generation_id, revision in known_revisions.items()
    ]
    return WatchGenerationsRequest(targets=targets)


def watch_group(group_id: str) -> WatchGenerationsRequest:
    return WatchGenerationsRequest(group_id=group_id)


def watch_project(project_id: str, changed_since: Timestamp | None) -> WatchGenerationsRequest:
    return WatchGenerationsRequest(project_id=project_id, changed_since=changed_since)


def cancel_generation(generation_id: str) -> Call[CancelGenerationResponse, Generation]:
    request = CancelGenerationRequest(generation_id=generation_id)
    return Call(rpcs.CANCEL_GENERATION, request, lambda response: response.generation)


def retry_generation(generation_id: str, request_id: str | None) -> Call[RetryGenerationResponse, Generation]:
    request = RetryGenerationRequest(generation_id=generation_id, request_id=given_or_new(request_id))
    return Call(rpcs.RETRY_GENERATION, request, lambda response: response.generation)
