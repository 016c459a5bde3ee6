"""Serves `AvatarService`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from avatar_creator.v1 import avatar_pb2
from avatar_creator.v1 import avatar_service_pb2 as pb
from avatar_creator.v1 import avatar_service_pb2_grpc as pb_grpc
from avatar_creator.v1.attributes_pb2 import AgeRange, Gender, Style
from server import wire
from server.domain.avatars import AvatarFilter, Avatars, Upload
from server.domain.errors import InvalidArgumentError
from server.domain.images import MAX_IMAGE_BYTES
from server.interceptors.around import Context
from server.interceptors.auth import current_caller
from server.services.request_keys import request_key
from server.validation import validate


class AvatarService(pb_grpc.AvatarServiceServicer):
    """Avatars of the calling user."""

    def __init__(self, avatars: Avatars) -> None:
        self._avatars = avatars

    async def UploadAvatar(
        self, request_iterator: AsyncIterator[pb.UploadAvatarRequest], context: Context
    ) -> pb.UploadAvatarResponse:
        metadata = await _metadata(request_iterator)
        data = await _picture_bytes(request_iterator)
        upload = Upload(
            project_id=metadata.project_id,
            name=metadata.name,
            persona=wire.persona_from_proto(metadata.persona),
            attributes=wire.attributes_from_proto(metadata.attributes),
            content_type=metadata.content_type,
        )
        # In a thread: hashing 10 MiB would hold up every other call.
        key = await asyncio.to_thread(request_key, "UploadAvatar", metadata.request_id, metadata, data)
        avatar = await self._avatars.upload(current_caller(), key, upload, data)
        return pb.UploadAvatarResponse(avatar=wire.avatar_to_proto(avatar))

    async def GetAvatar(self, request: pb.GetAvatarRequest, context: Context) -> pb.GetAvatarResponse:
        validate(request)
        avatar = await self._avatars.get(current_caller(), request.avatar_id)
        return pb.GetAvatarResponse(avatar=wire.avatar_to_proto(avatar))

    async def BatchGetAvatars(
        self, request: pb.BatchGetAvatarsRequest, context: Context
    ) -> pb.BatchGetAvatarsResponse:
        raise NotImplementedError

    async def ListAvatars(self, request: pb.ListAvatarsRequest, context: Context) -> pb.ListAvatarsResponse:
        validate(request)
        page = await self._avatars.page(
            current_caller(),
            AvatarFilter(
                project_id=request.project_id,
                source_types=tuple(
                    sorted(wire.word_of(avatar_pb2.SourceType, kind) for kind in request.source_types)
                ),
                gender=wire.word_of(Gender, request.gender),
                age_range=wire.word_of(AgeRange, request.age_range),
                ethnicity=request.ethnicity,
                style=wire.word_of(Style, request.style),
                query=request.query,
                last_used_first=request.order == pb.AVATAR_ORDER_LAST_USED_FIRST,
            ),
            size=request.page_size,
            page_token=request.page_token,
        )
        if request.include_thumbnails:
            thumbnails = await self._avatars.thumbnails(page.items)
        else:
            thumbnails = [b""] * len(page.items)
        return pb.ListAvatarsResponse(
            avatars=map(wire.avatar_to_proto, page.items, thumbnails),
            next_page_token=page.next_page_token,
        )

    async def UpdateAvatar(
        self, request: pb.UpdateAvatarRequest, context: Context
    ) -> pb.UpdateAvatarResponse:
        raise NotImplementedError

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
            current_caller(),
            request.avatar_id,
            thumbnail=request.variant == pb.IMAGE_VARIANT_THUMBNAIL,
        )
        yield pb.DownloadImageResponse(metadata=wire.image_to_proto(file))
        async for chunk in chunks:
            yield pb.DownloadImageResponse(chunk=chunk)


async def _metadata(requests: AsyncIterator[pb.UploadAvatarRequest]) -> pb.UploadAvatarMetadata:
    first = await anext(requests, None)
    if first is None or not first.HasField("metadata"):
        raise _out_of_order("metadata", "must come in the first message")
    validate(first)
    return first.metadata


async def _picture_bytes(requests: AsyncIterator[pb.UploadAvatarRequest]) -> bytes:
    data = bytearray()
    async for request in requests:
        if not request.HasField("chunk"):
            raise _out_of_order("chunk", "must come in every message after the first")
        data += request.chunk
        if len(data) > MAX_IMAGE_BYTES:
            raise InvalidArgumentError.of_field(
                "chunk",
                f"the picture is larger than {MAX_IMAGE_BYTES:,} bytes",
                reason="IMAGE_TOO_LARGE",
                limit_bytes=str(MAX_IMAGE_BYTES),
            )
    if not data:
        raise _out_of_order("chunk", "must follow the metadata, and the picture must not be empty")
    return bytes(data)


def _out_of_order(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of_field(field, description, reason="UPLOAD_OUT_OF_ORDER")
