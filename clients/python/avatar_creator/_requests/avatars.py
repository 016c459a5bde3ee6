"""Requests of the avatar service."""

from __future__ import annotations

from collections.abc import Iterable

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import field_mask, given_or_new
from avatar_creator.v1.attributes_pb2 import AgeRange, Attributes, Gender, Style
from avatar_creator.v1.avatar_pb2 import Avatar, SourceType
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
from avatar_creator.v1.persona_pb2 import Persona


def upload_avatar(
    project_id: str,
    name: str,
    persona: Persona | None,
    attributes: Attributes | None,
    content_type: str,
    defer_thumbnail: bool,
    request_id: str | None,
) -> UploadAvatarMetadata:
    return UploadAvatarMetadata(
        project_id=project_id,
        name=name,
        persona=persona,
        attributes=attributes,
        content_type=content_type,
        defer_thumbnail=defer_thumbnail,
        request_id=given_or_new(request_id),
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


def add_thumbnails(result: BatchGetAvatarsResponse, further: BatchGetAvatarsResponse) -> None:
    """Fill in the thumbnails that a further response has, and note which ones are still omitted."""
    thumbnails = {avatar.id: avatar.thumbnail_data for avatar in further.avatars}
    for avatar in result.avatars:
        avatar.thumbnail_data = thumbnails.get(avatar.id) or avatar.thumbnail_data
    del result.omitted_thumbnail_avatar_ids[:]
    result.omitted_thumbnail_avatar_ids.extend(further.omitted_thumbnail_avatar_ids)


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
    expected_revision: int,
    request_id: str | None,
) -> Call[UpdateAvatarResponse, Avatar]:
    request = UpdateAvatarRequest(
        avatar=Avatar(id=avatar_id, name=name or "", persona=persona, attributes=attributes),
        update_mask=field_mask(paths, name=name, persona=persona, attributes=attributes),
        expected_revision=expected_revision,
        request_id=given_or_new(request_id),
    )
    return Call(rpcs.UPDATE_AVATAR, request, lambda response: response.avatar)


def delete_avatar(avatar_id: str) -> Call[DeleteAvatarResponse, None]:
    return Call(rpcs.DELETE_AVATAR, DeleteAvatarRequest(avatar_id=avatar_id), lambda _: None)


def download_image(avatar_id: str, variant: ImageVariant.ValueType) -> DownloadImageRequest:
    return DownloadImageRequest(avatar_id=avatar_id, variant=variant)
