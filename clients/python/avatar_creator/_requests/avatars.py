"""Requests of the avatar service."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import LARGEST_INT64, RequestArguments
from avatar_creator.enums import (
    AgeRange,
    AgeRangeWord,
    AvatarOrder,
    AvatarOrderWord,
    Gender,
    GenderWord,
    ImageVariant,
    ImageVariantWord,
    SourceType,
    SourceTypeWord,
    Style,
    StyleWord,
)
from avatar_creator.outcomes import BatchProgress
from avatar_creator.pictures import Picture, PictureSource, UploadProgress, is_picture
from avatar_creator.v1.avatar_pb2 import Avatar as AvatarMessage
from avatar_creator.v1.avatar_service_pb2 import (
    BatchGetAvatarsRequest,
    BatchGetAvatarsResponse,
    DeleteAvatarRequest,
    DeleteAvatarResponse,
    DownloadImageRequest,
    GetAvatarRequest,
    GetAvatarResponse,
    ListAvatarsRequest,
    ListAvatarsResponse,
    UpdateAvatarRequest,
    UpdateAvatarResponse,
    UploadAvatarMetadata,
)
from avatar_creator.values import (
    Attributes,
    AttributesFields,
    Avatar,
    AvatarBatch,
    Persona,
    PersonaFields,
    Project,
)


def upload_avatar(
    project: Project | str,
    picture: Picture,
    name: str | None,
    persona: Persona | PersonaFields | None,
    attributes: Attributes | AttributesFields | None,
    content_type: str | None,
    defer_thumbnail: bool | None,
    on_progress: UploadProgress | None,
    request_id: str | None,
) -> tuple[PictureSource, UploadAvatarMetadata]:
    """Return the picture, and the metadata of its upload."""
    with RequestArguments() as given:
        source = PictureSource(picture, "picture")
        given.collected(source.check)
        metadata = UploadAvatarMetadata(
            project_id=given.id("project", Project, project),
            name=given.text("name", source.name if name is None else name),
            persona=given.persona(persona),
            attributes=given.attributes(attributes),
            content_type=given.text("content_type", content_type),
            defer_thumbnail=given.flag("defer_thumbnail", defer_thumbnail),
            request_id=given.request_id(request_id),
        )
        if name is None and not source.name:
            given.refuse("name", "must be given, because the picture has no file name")
        given.function("on_progress", on_progress)
    return source, metadata


def upload_avatars(
    project: Project | str,
    pictures: Iterable[Picture] | Mapping[str, Picture],
    concurrency: int | None,
    on_progress: BatchProgress | None,
) -> tuple[list[Picture], list[tuple[PictureSource, UploadAvatarMetadata]], int]:
    """Return the pictures, their uploads, and how many are made at the same time."""
    with RequestArguments() as given:
        project_id = given.id("project", Project, project)
        named = list[tuple[str | None, Picture]]()
        if is_picture(pictures) or not isinstance(pictures, Iterable):
            given.refuse(
                "pictures", "must be a list, as in [first, second], or a mapping of names to pictures"
            )
        elif isinstance(pictures, Mapping):
            named = list(pictures.items())
        else:
            named = [(None, picture) for picture in pictures]
        uploads = list[tuple[PictureSource, UploadAvatarMetadata]]()
        for number, (name, picture) in enumerate(named):
            source = PictureSource(picture, f"pictures[{number}]")
            given.collected(source.check)
            name = source.name if name is None else given.text(source.argument, name, required=True)
            if not name and is_picture(picture):
                given.refuse(source.argument, "has no file name; give a mapping of names to pictures")
            metadata = UploadAvatarMetadata(
                project_id=project_id, name=name, request_id=given.request_id(None)
            )
            uploads.append((source, metadata))
        at_once = given.concurrency(concurrency)
        given.function("on_progress", on_progress)
    return [picture for _, picture in named], uploads, at_once


def get_avatar(avatar: Avatar | str, include_links: bool | None = None) -> Call[GetAvatarResponse, Avatar]:
    with RequestArguments() as given:
        request = GetAvatarRequest(
            avatar_id=given.id("avatar", Avatar, avatar),
            include_links=given.flag("include_links", include_links),
        )
    return Call(rpcs.GET_AVATAR, request, lambda response: Avatar.from_message(response.avatar))


def batch_get_avatars(
    avatars: Iterable[Avatar | str], include_thumbnails: bool | None, include_links: bool | None = None
) -> Call[BatchGetAvatarsResponse, BatchGetAvatarsResponse]:
    with RequestArguments() as given:
        request = BatchGetAvatarsRequest(
            avatar_ids=given.ids("avatars", Avatar, avatars),
            include_thumbnails=given.flag("include_thumbnails", include_thumbnails),
            include_links=given.flag("include_links", include_links),
        )
    return Call(rpcs.BATCH_GET_AVATARS, request, lambda response: response)


def add_thumbnails(result: BatchGetAvatarsResponse, further: BatchGetAvatarsResponse) -> None:
    """Fill in the thumbnails that a further response has, and note which ones are still omitted."""
    thumbnails = {avatar.id: avatar.thumbnail_data for avatar in further.avatars}
    for avatar in result.avatars:
        avatar.thumbnail_data = thumbnails.get(avatar.id) or avatar.thumbnail_data
    del result.omitted_thumbnail_avatar_ids[:]
    result.omitted_thumbnail_avatar_ids.extend(further.omitted_thumbnail_avatar_ids)


def avatar_batch(result: BatchGetAvatarsResponse) -> AvatarBatch:
    return AvatarBatch.from_message(result)


def list_avatars(
    project: Project | str | None,
    query: str | None,
    source_types: SourceType | SourceTypeWord | Iterable[SourceType | SourceTypeWord] | None,
    gender: Gender | GenderWord | None,
    age_range: AgeRange | AgeRangeWord | None,
    ethnicity: str | None,
    style: Style | StyleWord | None,
    order: AvatarOrder | AvatarOrderWord | None,
    include_thumbnails: bool | None,
    include_links: bool | None,
    user_id: str | None,
    page_token: str | None,
    page_size: int | None,
) -> ListCall[ListAvatarsResponse, Avatar]:
    with RequestArguments() as given:
        request = ListAvatarsRequest(
            project_id=given.optional_id("project", Project, project),
            query=given.text("query", query),
            source_types=given.enums("source_types", SourceType, source_types),
            gender=given.enum("gender", Gender, gender),
            age_range=given.enum("age_range", AgeRange, age_range),
            ethnicity=given.text("ethnicity", ethnicity),
            style=given.enum("style", Style, style),
            order=given.enum("order", AvatarOrder, order),
            include_thumbnails=given.flag("include_thumbnails", include_thumbnails),
            include_links=given.flag("include_links", include_links),
            user_id=given.text("user_id", user_id),
            page_token=given.text("page_token", page_token),
            page_size=given.whole("page_size", page_size),
        )
    return ListCall(rpcs.LIST_AVATARS, request, lambda response: map(Avatar.from_message, response.avatars))


def update_avatar(
    avatar: Avatar | str,
    name: str | None,
    persona: Persona | PersonaFields | None,
    attributes: Attributes | AttributesFields | None,
    paths: Iterable[str] | None,
    expected_revision: int | None,
    request_id: str | None,
) -> Call[UpdateAvatarResponse, Avatar]:
    with RequestArguments() as given:
        request = UpdateAvatarRequest(
            avatar=AvatarMessage(
                id=given.id("avatar", Avatar, avatar),
                name=given.text("name", name),
                persona=given.persona(persona),
                attributes=given.attributes(attributes),
            ),
            update_mask=given.mask(paths, name=name, persona=persona, attributes=attributes),
            expected_revision=given.whole("expected_revision", expected_revision, most=LARGEST_INT64),
            request_id=given.request_id(request_id),
        )
    return Call(rpcs.UPDATE_AVATAR, request, lambda response: Avatar.from_message(response.avatar))


def delete_avatar(avatar: Avatar | str) -> Call[DeleteAvatarResponse, None]:
    with RequestArguments() as given:
        request = DeleteAvatarRequest(avatar_id=given.id("avatar", Avatar, avatar))
    return Call(rpcs.DELETE_AVATAR, request, lambda _: None)


def download_image(
    avatar: Avatar | str,
    variant: ImageVariant | ImageVariantWord | None,
    to: str | os.PathLike[str] | None,
) -> tuple[DownloadImageRequest, Path | None]:
    """Return the request for the picture, and the path of its file."""
    with RequestArguments() as given:
        request = DownloadImageRequest(
            avatar_id=given.id("avatar", Avatar, avatar), variant=given.enum("variant", ImageVariant, variant)
        )
        path = given.optional_path("to", to)
    return request, path


def download_images(
    avatars: Iterable[Avatar | str],
    variant: ImageVariant | ImageVariantWord | None,
    to: str | os.PathLike[str] | None,
    concurrency: int | None,
    on_progress: BatchProgress | None,
) -> tuple[list[Avatar | str], list[DownloadImageRequest], Path | None, int]:
    """Return the avatars, the requests for their pictures, the folder, and how many are made at a time."""
    with RequestArguments() as given:
        listed = (
            avatars if isinstance(avatars, str | bytes) or not isinstance(avatars, Iterable) else [*avatars]
        )
        ids = given.ids("avatars", Avatar, listed)
        number = given.enum("variant", ImageVariant, variant)
        folder = given.optional_path("to", to)
        at_once = given.concurrency(concurrency)
        given.function("on_progress", on_progress)
    assert isinstance(listed, list)
    return listed, [DownloadImageRequest(avatar_id=id, variant=number) for id in ids], folder, at_once


def file_name(request: DownloadImageRequest, suffix: str) -> str:
    """Return the name of the file for the downloaded picture."""
    thumbnail = request.variant == ImageVariant.THUMBNAIL.number
    return f"{request.avatar_id}{'-thumbnail' if thumbnail else ''}{suffix}"
