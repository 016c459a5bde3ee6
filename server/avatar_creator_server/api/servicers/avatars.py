"""Servicer of `AvatarService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

from google.protobuf.field_mask_pb2 import FieldMask

from avatar_creator.v1 import avatar_pb2
from avatar_creator.v1 import avatar_service_pb2 as pb
from avatar_creator.v1 import avatar_service_pb2_grpc as pb_grpc
from avatar_creator.v1.attributes_pb2 import AgeRange, Attributes, Gender, Style
from avatar_creator.v1.persona_pb2 import Persona
from avatar_creator_server.api.access import current_caller, privileged_caller, resolve_list_owner
from avatar_creator_server.api.field_masks import written_paths
from avatar_creator_server.api.interceptors.context import Context
from avatar_creator_server.api.request_keys import request_key
from avatar_creator_server.api.validation import validate
from avatar_creator_server.avatars.records import Avatar
from avatar_creator_server.avatars.service import AvatarChanges, AvatarFilter, Avatars, Upload
from avatar_creator_server.contract import mapping
from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.processing import MAX_IMAGE_BYTES

_MAX_CHUNK_BYTES = 1024 * 1024 - 1

_WRITABLE = (
    "name",
    *(f"persona.{field.name}" for field in Persona.DESCRIPTOR.fields),
    *(f"attributes.{field.name}" for field in Attributes.DESCRIPTOR.fields),
)


class AvatarService(pb_grpc.AvatarServiceServicer):
    """Avatars of the calling user."""

    def __init__(self, avatars: Avatars) -> None:
        self._avatars = avatars

    async def UploadAvatar(
        self, request_iterator: AsyncIterator[pb.UploadAvatarRequest], context: Context
    ) -> pb.UploadAvatarResponse:
        metadata = await _read_metadata(request_iterator)
        data = await _read_picture(request_iterator)
        upload = Upload(
            project_id=metadata.project_id,
            name=metadata.name,
            persona=mapping.persona_from_proto(metadata.persona),
            attributes=mapping.attributes_from_proto(metadata.attributes),
            content_type=metadata.content_type,
        )
        # In a thread, because hashing 10 MiB would block every other call.
        key = await asyncio.to_thread(request_key, "UploadAvatar", metadata.request_id, metadata, data)
        avatar = await self._avatars.upload(current_caller(), key, upload, data)
        return pb.UploadAvatarResponse(avatar=mapping.avatar_to_proto(avatar))

    async def GetAvatar(self, request: pb.GetAvatarRequest, context: Context) -> pb.GetAvatarResponse:
        validate(request)
        avatar = await self._avatars.get(privileged_caller(request), request.avatar_id)
        return pb.GetAvatarResponse(avatar=mapping.avatar_to_proto(avatar))

    async def BatchGetAvatars(
        self, request: pb.BatchGetAvatarsRequest, context: Context
    ) -> pb.BatchGetAvatarsResponse:
        validate(request)
        found = await self._avatars.batch_get(privileged_caller(request), list(request.avatar_ids))
        found_ids = {avatar.id for avatar in found}
        return pb.BatchGetAvatarsResponse(
            avatars=await self._encode(found, request.include_thumbnails),
            missing_avatar_ids=[
                avatar_id for avatar_id in dict.fromkeys(request.avatar_ids) if avatar_id not in found_ids
            ],
        )

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
        return pb.ListAvatarsResponse(
            avatars=await self._encode(page.items, request.include_thumbnails),
            next_page_token=page.next_page_token,
        )

    async def UpdateAvatar(
        self, request: pb.UpdateAvatarRequest, context: Context
    ) -> pb.UpdateAvatarResponse:
        written = written_paths(request.avatar, request.update_mask, place="avatar", writable=_WRITABLE)
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
        avatar = await self._avatars.update(current_caller(), request.avatar.id, changes)
        return pb.UpdateAvatarResponse(avatar=mapping.avatar_to_proto(avatar))

    async def DeleteAvatar(
        self, request: pb.DeleteAvatarRequest, context: Context
    ) -> pb.DeleteAvatarResponse:
        validate(request)
        await self._avatars.delete(current_caller(), request.avatar_id)
        return pb.DeleteAvatarResponse()

    async def DownloadImage(
        self, request: pb.DownloadImageRequest, context: Context
    ) -> AsyncIterator[pb.DownloadImageResponse]:
        validate(request)
        file, chunks = await self._avatars.open_image(
            privileged_caller(request),
            request.avatar_id,
            thumbnail=request.variant == pb.IMAGE_VARIANT_THUMBNAIL,
        )
        yield pb.DownloadImageResponse(metadata=mapping.image_to_proto(file))
        async for chunk in chunks:
            yield pb.DownloadImageResponse(chunk=chunk)

    async def _encode(self, avatars: Sequence[Avatar], include: bool) -> list[avatar_pb2.Avatar]:
        """Encode avatars, each with the bytes of its thumbnail if `include` is true."""
        thumbnails = await self._avatars.thumbnails(avatars) if include else [b""] * len(avatars)
        return list(map(mapping.avatar_to_proto, avatars, thumbnails))


async def _read_metadata(requests: AsyncIterator[pb.UploadAvatarRequest]) -> pb.UploadAvatarMetadata:
    first = await anext(requests, None)
    if first is None or not first.HasField("metadata"):
        raise _out_of_order("metadata", "must come in the first message")
    validate(first)
    return first.metadata


async def _read_picture(requests: AsyncIterator[pb.UploadAvatarRequest]) -> bytes:
    data = bytearray()
    async for request in requests:
        if not request.HasField("chunk"):
            raise _out_of_order("chunk", "must come in every message after the first")
        if len(request.chunk) > _MAX_CHUNK_BYTES:
            raise InvalidArgumentError.of_field(
                "chunk",
                f"must have at most {_MAX_CHUNK_BYTES:,} bytes (got {len(request.chunk):,}); "
                "send the file in several messages",
            )
        data += request.chunk
        if len(data) > MAX_IMAGE_BYTES:
            raise InvalidArgumentError.of_field(
                "chunk",
                f"the picture must have at most {MAX_IMAGE_BYTES:,} bytes",
                reason="IMAGE_TOO_LARGE",
                limit_bytes=str(MAX_IMAGE_BYTES),
            )
    if not data:
        raise _out_of_order("chunk", "must follow the metadata and must not be empty")
    return bytes(data)


def _out_of_order(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of_field(field, description, reason="UPLOAD_OUT_OF_ORDER")
