"""Servicer of `AvatarService`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from functools import partial

from google.protobuf.field_mask_pb2 import FieldMask

from avatar_creator.v1 import avatar_pb2
from avatar_creator.v1 import avatar_service_pb2 as pb
from avatar_creator.v1 import avatar_service_pb2_grpc as pb_grpc
from avatar_creator.v1.attributes_pb2 import AgeRange, Attributes, Gender, Style
from avatar_creator.v1.persona_pb2 import Persona
from avatar_creator_server.api.access import current_caller, privileged_caller, resolve_list_owner
from avatar_creator_server.api.answers import count_fitting, fit
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.field_masks import written_paths
from avatar_creator_server.api.request_keys import request_key
from avatar_creator_server.api.transfers import Pace, Transfers
from avatar_creator_server.api.validation import validate
from avatar_creator_server.avatars.records import Avatar, AvatarFilter
from avatar_creator_server.avatars.service import AvatarChanges, Avatars, Upload
from avatar_creator_server.contract import mapping
from avatar_creator_server.contract.field_options import limits_of
from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.picture import MAX_IMAGE_BYTES
from avatar_creator_server.images.picture_links import PictureLinks
from avatar_creator_server.images.spool import SpooledFile
from avatar_creator_server.shared.paging import Page

MAX_CHUNKS = 20_000
"""Maximum number of chunks in an upload: single bytes would keep the server busy for nothing."""

_MAX_CHUNK_BYTES = limits_of("UploadAvatarRequest.chunk").max_bytes

_WRITABLE = (
    "name",
    *(f"persona.{field.name}" for field in Persona.DESCRIPTOR.fields),
    *(f"attributes.{field.name}" for field in Attributes.DESCRIPTOR.fields),
)


class AvatarService(pb_grpc.AvatarServiceServicer):
    """Avatars of the calling user."""

    def __init__(self, avatars: Avatars, transfers: Transfers, links: PictureLinks) -> None:
        self._avatars = avatars
        self._transfers = transfers
        self._links = links

    async def UploadAvatar(
        self, request_iterator: AsyncIterator[pb.UploadAvatarRequest], context: Context
    ) -> pb.UploadAvatarResponse:
        caller = current_caller()
        async with self._transfers.upload(caller.user_id) as (file, pace):
            metadata = await _receive_metadata(request_iterator, pace)
            await _receive_picture(request_iterator, pace, file)
            upload = Upload(
                project_id=metadata.project_id,
                name=metadata.name,
                persona=mapping.persona_from_proto(metadata.persona),
                attributes=mapping.attributes_from_proto(metadata.attributes),
                content_type=metadata.content_type,
                defer_thumbnail=metadata.defer_thumbnail,
            )
            key = request_key("UploadAvatar", metadata.request_id, metadata, file.sha256())
            avatar = await self._avatars.upload(caller, key, upload, file)
        return pb.UploadAvatarResponse(avatar=mapping.avatar_to_proto(avatar))

    async def GetAvatar(self, request: pb.GetAvatarRequest, context: Context) -> pb.GetAvatarResponse:
        validate(request)
        avatar = await self._avatars.get(privileged_caller(request), request.avatar_id)
        links = self._links if request.include_links else None
        return pb.GetAvatarResponse(avatar=mapping.avatar_to_proto(avatar, links))

    async def BatchGetAvatars(
        self, request: pb.BatchGetAvatarsRequest, context: Context
    ) -> pb.BatchGetAvatarsResponse:
        validate(request)
        found = await self._avatars.batch_get(privileged_caller(request), list(request.avatar_ids))
        found_ids = {avatar.id for avatar in found}
        response = pb.BatchGetAvatarsResponse(
            avatars=map(avatar_encoder(self._links if request.include_links else None), found),
            missing_avatar_ids=[
                avatar_id for avatar_id in dict.fromkeys(request.avatar_ids) if avatar_id not in found_ids
            ],
        )
        if request.include_thumbnails:
            with_thumbnail = [avatar for avatar in found if avatar.thumbnail]
            count = count_fitting(map(_thumbnail_bytes, with_thumbnail), response.ByteSize())
            await _add_thumbnails(self._avatars, with_thumbnail[:count], response.avatars)
            response.omitted_thumbnail_avatar_ids.extend(avatar.id for avatar in with_thumbnail[count:])
        return response

    async def ListAvatars(self, request: pb.ListAvatarsRequest, context: Context) -> pb.ListAvatarsResponse:
        validate(request)
        page = await self._avatars.list_page(
            resolve_list_owner(request),
            AvatarFilter(
                project_id=request.project_id,
                source_types=tuple(
                    sorted(mapping.word_of(avatar_pb2.SourceType, kind) for kind in request.source_types)
                ),
                gender=mapping.word_of(Gender, request.gender),
                age_range=mapping.word_of(AgeRange, request.age_range),
                ethnicity=request.ethnicity,
                style=mapping.word_of(Style, request.style),
                query=request.query,
                last_used_first=request.order == pb.AVATAR_ORDER_LAST_USED_FIRST,
            ),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        avatars, page = await encode_avatars(
            self._avatars,
            page,
            with_thumbnails=request.include_thumbnails,
            links=self._links if request.include_links else None,
        )
        return pb.ListAvatarsResponse(avatars=avatars, next_page_token=page.next_page_token)

    async def UpdateAvatar(
        self, request: pb.UpdateAvatarRequest, context: Context
    ) -> pb.UpdateAvatarResponse:
        written = written_paths(request, "avatar", writable=_WRITABLE)
        # Only the written fields: the others are not validated, so they may not be decodable.
        new_values = avatar_pb2.Avatar()
        FieldMask(paths=written).MergeMessage(request.avatar, new_values)
        persona = asdict(mapping.persona_from_proto(new_values.persona))
        attributes = asdict(mapping.attributes_from_proto(new_values.attributes))
        changes = AvatarChanges(
            name=new_values.name if "name" in written else None,
            persona={name: value for name, value in persona.items() if f"persona.{name}" in written},
            attributes={name: value for name, value in attributes.items() if f"attributes.{name}" in written},
        )
        avatar = await self._avatars.update(
            current_caller(),
            request_key("UpdateAvatar", request.request_id, request),
            request.avatar.id,
            changes,
            expected_revision=request.expected_revision,
        )
        return pb.UpdateAvatarResponse(avatar=mapping.avatar_to_proto(avatar))

    async def DeleteAvatar(
        self, request: pb.DeleteAvatarRequest, context: Context
    ) -> pb.DeleteAvatarResponse:
        validate(request)
        await self._avatars.delete(current_caller(), request.avatar_id)
        return pb.DeleteAvatarResponse()

    async def DownloadImage(  # type: ignore[override]  # see `send`
        self, request: pb.DownloadImageRequest, context: Context
    ) -> None:
        validate(request)
        async with self._transfers.download(current_caller().user_id) as pace:
            file, chunks = await self._avatars.open_image(
                privileged_caller(request),
                request.avatar_id,
                thumbnail=request.variant == pb.IMAGE_VARIANT_THUMBNAIL,
            )
            async with aclosing(chunks):
                await pace.send(context, pb.DownloadImageResponse(metadata=mapping.image_to_proto(file)))
                async for chunk in chunks:
                    await pace.send(context, pb.DownloadImageResponse(chunk=chunk))
                    pace.count(len(chunk))


def avatar_encoder(links: PictureLinks | None) -> Callable[[Avatar], avatar_pb2.Avatar]:
    """Return the function that encodes an avatar, with the addresses of its pictures if there are `links`."""
    return mapping.avatar_to_proto if links is None else partial(mapping.avatar_to_proto, links=links)


async def encode_avatars(
    avatars: Avatars, page: Page[Avatar], *, with_thumbnails: bool, links: PictureLinks | None
) -> tuple[list[avatar_pb2.Avatar], Page[Avatar]]:
    """Encode the avatars of a page, as many as fit into one answer; see `fit`."""
    encode = avatar_encoder(links)
    if not with_thumbnails:
        return fit(page, encode)
    # Chosen by their recorded sizes, so that the server reads only thumbnails that it sends.
    messages, page = fit(page, encode, _thumbnail_bytes)
    await _add_thumbnails(avatars, page.items, messages)
    return messages, page


async def _add_thumbnails(
    avatars: Avatars, records: Sequence[Avatar], messages: Iterable[avatar_pb2.Avatar]
) -> None:
    by_id = {message.id: message for message in messages}
    for avatar, data in zip(records, await avatars.thumbnails(records), strict=True):
        by_id[avatar.id].thumbnail_data = data


def _thumbnail_bytes(avatar: Avatar) -> int:
    return avatar.thumbnail.size_bytes if avatar.thumbnail else 0


async def _receive_metadata(
    requests: AsyncIterator[pb.UploadAvatarRequest], pace: Pace
) -> pb.UploadAvatarMetadata:
    first = await pace.receive(requests)
    if first is None or not first.HasField("metadata"):
        raise _out_of_order("metadata", "must come in the first message")
    validate(first)
    return first.metadata


async def _receive_picture(
    requests: AsyncIterator[pb.UploadAvatarRequest], pace: Pace, file: SpooledFile
) -> None:
    chunks = 0
    while (request := await pace.receive(requests)) is not None:
        if not request.HasField("chunk"):
            raise _out_of_order("chunk", "must come in every message after the first")
        if not request.chunk:
            raise _out_of_order("chunk", "must not be empty")
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise InvalidArgumentError.of_field(
                "chunk", f"an upload must have at most {MAX_CHUNKS:,} chunks; send larger ones"
            )
        if len(request.chunk) > _MAX_CHUNK_BYTES:
            raise InvalidArgumentError.of_field(
                "chunk",
                f"must have at most {_MAX_CHUNK_BYTES:,} bytes (got {len(request.chunk):,}); "
                "send the file in several messages",
            )
        if file.size_bytes + len(request.chunk) > MAX_IMAGE_BYTES:
            raise InvalidArgumentError.of_field(
                "chunk",
                f"the picture must have at most {MAX_IMAGE_BYTES:,} bytes",
                reason="IMAGE_TOO_LARGE",
                limit_bytes=str(MAX_IMAGE_BYTES),
            )
        await file.append(request.chunk)
        pace.count(len(request.chunk))
    if not file.size_bytes:
        raise _out_of_order("chunk", "must follow the metadata and must not be empty")


def _out_of_order(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of_field(field, description, reason="UPLOAD_OUT_OF_ORDER")
