"""The request of each call, and the part of its response that the client returns.

An argument that is None was not given. A missing `request_id` is created here, once per logical call, so that
all attempts carry the same id.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from avatar_creator import rpcs
from avatar_creator.parameters import GenerationParameters
from avatar_creator.rpcs import Response, Rpc
from avatar_creator.v1.attributes_pb2 import AgeRange, Attributes, Gender, Style
from avatar_creator.v1.avatar_pb2 import Avatar, SourceType
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import (
    CreateProjectRequest,
    CreateProjectResponse,
    DeleteProjectRequest,
    DeleteProjectResponse,
    GetProjectRequest,
    GetProjectResponse,
    ListProjectsRequest,
    ListProjectsResponse,
    UpdateProjectRequest,
    UpdateProjectResponse,
)
from avatar_creator.v1.avatar_service_pb2 import (
    AvatarOrder,
    BatchGetAvatarsRequest,
    BatchGetAvatarsResponse,
    DeleteAvatarRequest,
    DeleteAvatarResponse,
    DownloadImageRequest,
    GetAvatarRequest,
    GetAvatarResponse,
    ImageVariant,
    ListAvatarsRequest,
    ListAvatarsResponse,
    UpdateAvatarRequest,
    UpdateAvatarResponse,
    UploadAvatarMetadata,
)
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
from avatar_creator.v1.persona_pb2 import Persona, PersonaExample
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
from avatar_creator.v1.usage_pb2 import AppUsageSummary, UsageRecord
from avatar_creator.v1.usage_service_pb2 import (
    GetStatsRequest,
    GetStatsResponse,
    ListUsageRequest,
    ListUsageResponse,
    RecordUsageRequest,
    RecordUsageResponse,
    SummarizeUsageRequest,
    SummarizeUsageResponse,
)

Result = TypeVar("Result")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Call(Generic[Response, Result]):
    """A call with one response."""

    rpc: Rpc[Response]
    request: Message
    result: Callable[[Response], Result]
    """Function that takes the caller's result from the response."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list."""

    items: Sequence[Item]
    """Items on the page, in the order of the list."""
    next_page_token: str
    """Value of `page_token` that returns the next page with the same arguments; empty on the last page."""


@dataclass(frozen=True, slots=True)
class ListCall(Generic[Response, Item]):
    """A call for one page of a list."""

    rpc: Rpc[Response]
    request: Any
    items: Callable[[Response], Sequence[Item]]
    """Function that takes the items of the page from the response."""

    def at(self, page_token: str, page_size: int) -> ListCall[Response, Item]:
        """Return the call for the page that starts at the token, in pages of this size."""
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token, request.page_size = page_token, page_size
        return replace(self, request=request)

    def page(self) -> Call[Any, Page[Item]]:
        """Return the call for this page alone."""
        return Call(
            self.rpc, self.request, lambda response: Page(self.items(response), response.next_page_token)
        )

    def after(self, page: Page[Item]) -> ListCall[Response, Item] | None:
        """Return the call for the page after this one; None if this one is the last."""
        return self.at(page.next_page_token, self.request.page_size) if page.next_page_token else None


def create_project(
    name: str, description: str, request_id: str | None
) -> Call[CreateProjectResponse, AvatarProject]:
    request = CreateProjectRequest(name=name, description=description, request_id=_given_or_new(request_id))
    return Call(rpcs.CREATE_PROJECT, request, lambda response: response.project)


def get_project(project_id: str) -> Call[GetProjectResponse, AvatarProject]:
    request = GetProjectRequest(project_id=project_id)
    return Call(rpcs.GET_PROJECT, request, lambda response: response.project)


def open_project(project_id: str) -> Call[GetProjectResponse, GetProjectResponse]:
    request = GetProjectRequest(project_id=project_id, include_avatars=True)
    return Call(rpcs.GET_PROJECT, request, lambda response: response)


def list_projects(user_id: str) -> ListCall[ListProjectsResponse, AvatarProject]:
    request = ListProjectsRequest(user_id=user_id)
    return ListCall(rpcs.LIST_PROJECTS, request, lambda response: response.projects)


def update_project(
    project_id: str, name: str | None, description: str | None
) -> Call[UpdateProjectResponse, AvatarProject]:
    request = UpdateProjectRequest(
        project=AvatarProject(id=project_id, name=name or "", description=description or ""),
        update_mask=_mask(None, name=name, description=description),
    )
    return Call(rpcs.UPDATE_PROJECT, request, lambda response: response.project)


def delete_project(project_id: str) -> Call[DeleteProjectResponse, None]:
    return Call(rpcs.DELETE_PROJECT, DeleteProjectRequest(project_id=project_id), lambda _: None)


def upload_avatar(
    project_id: str,
    name: str,
    persona: Persona | None,
    attributes: Attributes | None,
    content_type: str,
    request_id: str | None,
) -> UploadAvatarMetadata:
    return UploadAvatarMetadata(
        project_id=project_id,
        name=name,
        persona=persona,
        attributes=attributes,
        content_type=content_type,
        request_id=_given_or_new(request_id),
    )


def get_avatar(avatar_id: str) -> Call[GetAvatarResponse, Avatar]:
    return Call(rpcs.GET_AVATAR, GetAvatarRequest(avatar_id=avatar_id), lambda response: response.avatar)


def batch_get_avatars(
    avatar_ids: Iterable[str], include_thumbnails: bool
) -> Call[BatchGetAvatarsResponse, BatchGetAvatarsResponse]:
    if isinstance(avatar_ids, str):
        raise ValueError("avatar_ids must be a list of ids, not one string; use get() for one id")
    request = BatchGetAvatarsRequest(avatar_ids=avatar_ids, include_thumbnails=include_thumbnails)
    return Call(rpcs.BATCH_GET_AVATARS, request, lambda response: response)


def list_avatars(
    project_id: str,
    query: str,
    source_types: Iterable[SourceType.ValueType],
    gender: Gender.ValueType,
    age_range: AgeRange.ValueType,
    ethnicity: str,
    style: Style.ValueType,
    order: AvatarOrder.ValueType,
    include_thumbnails: bool,
    user_id: str,
) -> ListCall[ListAvatarsResponse, Avatar]:
    request = ListAvatarsRequest(
        project_id=project_id,
        query=query,
        source_types=source_types,
        gender=gender,
        age_range=age_range,
        ethnicity=ethnicity,
        style=style,
        order=order,
        include_thumbnails=include_thumbnails,
        user_id=user_id,
    )
    return ListCall(rpcs.LIST_AVATARS, request, lambda response: response.avatars)


def update_avatar(
    avatar_id: str,
    name: str | None,
    persona: Persona | None,
    attributes: Attributes | None,
    paths: Iterable[str] | None,
) -> Call[UpdateAvatarResponse, Avatar]:
    request = UpdateAvatarRequest(
        avatar=Avatar(id=avatar_id, name=name or "", persona=persona, attributes=attributes),
        update_mask=_mask(paths, name=name, persona=persona, attributes=attributes),
    )
    return Call(rpcs.UPDATE_AVATAR, request, lambda response: response.avatar)


def delete_avatar(avatar_id: str) -> Call[DeleteAvatarResponse, None]:
    return Call(rpcs.DELETE_AVATAR, DeleteAvatarRequest(avatar_id=avatar_id), lambda _: None)


def download_image(avatar_id: str, variant: ImageVariant.ValueType) -> DownloadImageRequest:
    return DownloadImageRequest(avatar_id=avatar_id, variant=variant)


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
        priority=parameters.get("priority", GenerationPriority.GENERATION_PRIORITY_UNSPECIFIED),
    )


def create_generation(
    request: CreateGenerationRequest, request_id: str | None
) -> Call[CreateGenerationResponse, Generation]:
    request.request_id = _given_or_new(request_id)
    return Call(rpcs.CREATE_GENERATION, request, lambda response: response.generation)


def create_variations(
    request: CreateGenerationRequest, count: int, request_id: str | None
) -> Call[CreateGenerationResponse, list[Generation]]:
    request.variation_count = _at_least_one("count", count)
    request.request_id = _given_or_new(request_id)
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
        request_id=_given_or_new(request_id),
    )
    return Call(rpcs.CREATE_GENERATION, request, lambda response: response.generation)


def estimate_generation(
    generation: CreateGenerationRequest, variation_count: int
) -> Call[EstimateGenerationResponse, EstimateGenerationResponse]:
    generation.variation_count = _at_least_one("variation_count", variation_count)
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
) -> ListCall[ListGenerationsResponse, Generation]:
    request = ListGenerationsRequest(
        project_id=project_id,
        group_id=group_id,
        states=states,
        create_time_from=timestamp(create_time_from),
        create_time_to=timestamp(create_time_to),
        user_id=user_id,
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
    request = RetryGenerationRequest(generation_id=generation_id, request_id=_given_or_new(request_id))
    return Call(rpcs.RETRY_GENERATION, request, lambda response: response.generation)


def record_usage(
    avatar_id: str,
    action: str,
    app_id: str,
    app_name: str,
    reference_id: str,
    reference_type: str,
    metadata: Mapping[str, Any] | None,
    request_id: str | None,
) -> Call[RecordUsageResponse, RecordUsageResponse]:
    request = RecordUsageRequest(
        avatar_id=avatar_id,
        action=action,
        app_id=app_id,
        app_name=app_name,
        reference_id=reference_id,
        reference_type=reference_type,
        metadata=_struct(metadata),
        request_id=_given_or_new(request_id),
    )
    return Call(rpcs.RECORD_USAGE, request, lambda response: response)


def list_usage(avatar_id: str, app_id: str, action: str) -> ListCall[ListUsageResponse, UsageRecord]:
    request = ListUsageRequest(avatar_id=avatar_id, app_id=app_id, action=action)
    return ListCall(rpcs.LIST_USAGE, request, lambda response: response.usages)


def summarize_usage(avatar_id: str) -> Call[SummarizeUsageResponse, list[AppUsageSummary]]:
    request = SummarizeUsageRequest(avatar_id=avatar_id)
    return Call(rpcs.SUMMARIZE_USAGE, request, lambda response: list(response.apps))


def get_stats(user_id: str) -> Call[GetStatsResponse, GetStatsResponse]:
    return Call(rpcs.GET_STATS, GetStatsRequest(user_id=user_id), lambda response: response)


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


def _given_or_new(request_id: str | None) -> str:
    return request_id or str(uuid.uuid4())


def _at_least_one(name: str, count: int) -> int:
    if count < 1:
        # The service reads 0 as 1, so a caller whose count reaches 0 would pay for one generation.
        raise ValueError(f"{name} must be 1 or more (got {count})")
    return count


def _mask(paths: Iterable[str] | None, **changes: object) -> FieldMask:
    given = [name for name, value in changes.items() if value is not None]
    written = given if paths is None else list(paths)
    if not written:
        # The service reads an empty mask as "all populated fields", so an empty update would not be empty.
        raise ValueError(f"nothing to update; give at least one of {', '.join(changes)}")
    for name in given:
        if not any(path == "*" or path.partition(".")[0] == name for path in written):
            raise ValueError(
                f"{name} is given but not named in paths, so it would not be written; "
                "add it to paths or leave it out"
            )
    return FieldMask(paths=written)


def timestamp(time: datetime | None) -> Timestamp | None:
    """Return the time as a message of the contract; None if none is given.

    Raises:
        ValueError: The time has no time zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone; give one, for example datetime.now(UTC)")
    message = Timestamp()
    message.FromDatetime(time)
    return message


def _struct(metadata: Mapping[str, Any] | None) -> Struct | None:
    if metadata is None:
        return None
    struct = Struct()
    struct.update(dict(metadata))
    return struct
