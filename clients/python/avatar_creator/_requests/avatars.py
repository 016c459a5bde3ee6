"""Requests of the avatar service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from avatar_creator import rpcs
from avatar_creator._requests.calls import Call, ListCall
from avatar_creator._requests.fields import (
    attributes_of,
    field_mask,
    given_or_new,
    id_of,
    ids_of,
    number_of,
    numbers_of,
    persona_of,
    refused,
)
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
from avatar_creator.pictures import Picture, PictureSource, is_picture
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
    name: str,
    persona: Persona | PersonaFields | None,
    attributes: Attributes | AttributesFields | None,
    content_type: str,
    defer_thumbnail: bool,
    request_id: str | None,
) -> UploadAvatarMetadata:
    return UploadAvatarMetadata(
        project_id=id_of("project", Project, project),
        name=name,
        persona=persona_of(persona),
        attributes=attributes_of(attributes),
        content_type=content_type,
        defer_thumbnail=defer_thumbnail,
        request_id=given_or_new(request_id),
    )


def upload_avatars(
    project: Project | str, pictures: Iterable[Picture] | Mapping[str, Picture]
) -> tuple[list[Picture], list[UploadAvatarMetadata]]:
    """Return the pictures with the metadata of their uploads."""
    if is_picture(pictures) or not isinstance(pictures, Iterable):
        raise refused("pictures", "must be a list, as in [first, second], or a mapping of names to pictures")
    if isinstance(pictures, Mapping):
        named = list(pictures.items())
    else:
        named = [(PictureSource(picture).name, picture) for picture in pictures]
    for number, (name, picture) in enumerate(named):
        if not is_picture(picture):
            raise refused(f"pictures[{number}]", "must be a path, bytes, an open file or an image of Pillow")
        if not name:
            raise refused(f"pictures[{number}]", "has no file name; give a mapping of names to pictures")
    return (
        [picture for _, picture in named],
        [upload_avatar(project, name, None, None, "", False, None) for name, _ in named],
    )


def get_avatar(avatar: Avatar | str, include_links: bool = False) -> Call[GetAvatarResponse, Avatar]:
    request = GetAvatarRequest(avatar_id=id_of("avatar", Avatar, avatar), include_links=include_links)
    return Call(rpcs.GET_AVATAR, request, lambda response: Avatar.from_message(response.avatar))


def batch_get_avatars(
    avatars: Iterable[Avatar | str], include_thumbnails: bool, include_links: bool = False
) -> Call[BatchGetAvatarsResponse, BatchGetAvatarsResponse]:
    ids = ids_of("avatars", Avatar, avatars)
    request = BatchGetAvatarsRequest(
        avatar_ids=ids, include_thumbnails=include_thumbnails, include_links=include_links
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
    project: Project | str,
    query: str,
    source_types: SourceType | SourceTypeWord | Iterable[SourceType | SourceTypeWord],
    gender: Gender | GenderWord | None,
    age_range: AgeRange | AgeRangeWord | None,
    ethnicity: str,
    style: Style | StyleWord | None,
    order: AvatarOrder | AvatarOrderWord | None,
    include_thumbnails: bool,
    include_links: bool,
    user_id: str,
) -> ListCall[ListAvatarsResponse, Avatar]:
    request = ListAvatarsRequest(
        project_id=id_of("project", Project, project),
        query=query,
        source_types=numbers_of("source_types", SourceType, source_types),
        gender=number_of("gender", Gender, gender),
        age_range=number_of("age_range", AgeRange, age_range),
        ethnicity=ethnicity,
        style=number_of("style", Style, style),
        order=number_of("order", AvatarOrder, order),
        include_thumbnails=include_thumbnails,
        include_links=include_links,
        user_id=user_id,
    )
    return ListCall(rpcs.LIST_AVATARS, request, lambda response: map(Avatar.from_message, response.avatars))


def update_avatar(
    avatar: Avatar | str,
    name: str | None,
    persona: Persona | PersonaFields | None,
    attributes: Attributes | AttributesFields | None,
    paths: Iterable[str] | None,
    expected_revision: int,
    request_id: str | None,
) -> Call[UpdateAvatarResponse, Avatar]:
    request = UpdateAvatarRequest(
        avatar=AvatarMessage(
            id=id_of("avatar", Avatar, avatar),
            name=name or "",
            persona=persona_of(persona),
            attributes=attributes_of(attributes),
        ),
        update_mask=field_mask(paths, name=name, persona=persona, attributes=attributes),
        expected_revision=expected_revision,
        request_id=given_or_new(request_id),
    )
    return Call(rpcs.UPDATE_AVATAR, request, lambda response: Avatar.from_message(response.avatar))


def delete_avatar(avatar: Avatar | str) -> Call[DeleteAvatarResponse, None]:
    request = DeleteAvatarRequest(avatar_id=id_of("avatar", Avatar, avatar))
    return Call(rpcs.DELETE_AVATAR, request, lambda _: None)


def download_images(
    avatars: Iterable[Avatar | str], variant: ImageVariant | ImageVariantWord | None
) -> tuple[list[Avatar | str], list[DownloadImageRequest]]:
    """Return the avatars with the requests for their pictures."""
    given = avatars if isinstance(avatars, str | Avatar) else list(avatars)
    ids = ids_of("avatars", Avatar, given)
    return list(given), [download_image(each, variant) for each in ids]


def file_name(request: DownloadImageRequest, suffix: str) -> str:
    """Return the name of the file for the downloaded picture."""
    thumbnail = request.variant == ImageVariant.THUMBNAIL.number
    return f"{request.avatar_id}{'-thumbnail' if thumbnail else ''}{suffix}"


def download_image(
    avatar: Avatar | str, variant: ImageVariant | ImageVariantWord | None
) -> DownloadImageRequest:
    return DownloadImageRequest(
        avatar_id=id_of("avatar", Avatar, avatar), variant=number_of("variant", ImageVariant, variant)
    )
