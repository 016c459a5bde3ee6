"""Bad uploads are refused with a reason and leave nothing. Accepted pictures lose their metadata."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import grpc
import pytest
from PIL import Image, ImageChops, ImageStat

from avatar_creator.v1.avatar_service_pb2 import (
    IMAGE_VARIANT_THUMBNAIL,
    DownloadImageRequest,
    GetAvatarRequest,
    UploadAvatarMetadata,
    UploadAvatarRequest,
)
from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.processing import accept_upload
from tests import pictures
from tests.contract.calls import CHUNK_BYTES, Calls, refusal, rows_of, upload_messages
from tests.support.service import Deployment
from tests.support.waiting import wait_until

MIB = 1024 * 1024
MAX_BYTES = 10 * MIB


@dataclass(frozen=True)
class Uploader:
    """A user with a project and one avatar, to which no refused upload may add anything."""

    deployment: Deployment
    user: str
    calls: Calls
    project_id: str
    rows: dict[str, list[Any]]
    files: dict[str, bytes]

    def require_nothing_changed(self) -> None:
        """Wait until all rows and files are as before. The removal of staged files may take a moment."""
        wait_until(
            lambda: rows_of(self.deployment, self.user) == self.rows,
            message=lambda: f"rows were left: {rows_of(self.deployment, self.user)}",
        )
        wait_until(
            lambda: stored(self.deployment, self.user) == self.files,
            message=lambda: f"files were left: {sorted(stored(self.deployment, self.user))}",
        )


@pytest.fixture(scope="module")
def uploader(shared_deployment: Deployment) -> Iterator[Uploader]:
    """An uploader whose resources no test may change."""
    user = f"uploader-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        project = calls.create_project()
        assert not calls.upload(project.id, pictures.png()).thumbnail_pending
        yield Uploader(
            shared_deployment,
            user,
            calls,
            project.id,
            rows_of(shared_deployment, user),
            stored(shared_deployment, user),
        )


def stored(deployment: Deployment, user: str) -> dict[str, bytes]:
    """Return the files of a user by name."""
    folder = deployment.upload_path / "avatar-creator" / user
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Refused uploads


def first_half(data: bytes) -> bytes:
    """Return the first half of the file."""
    return data[: len(data) // 2]


BAD_PICTURES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "text": ("IMAGE_UNSUPPORTED", lambda: b"just words"),
    "a single byte": ("IMAGE_UNSUPPORTED", lambda: b"\xff"),
    "zeros": ("IMAGE_UNSUPPORTED", lambda: bytes(1000)),
    "an SVG": ("IMAGE_UNSUPPORTED", lambda: pictures.SVG),
    "HTML": ("IMAGE_UNSUPPORTED", lambda: pictures.HTML),
    "a GIF": ("IMAGE_UNSUPPORTED", lambda: pictures.encoded("GIF")),
    "a BMP": ("IMAGE_UNSUPPORTED", lambda: pictures.encoded("BMP")),
    "a TIFF": ("IMAGE_UNSUPPORTED", lambda: pictures.encoded("TIFF")),
    "half a JPEG": ("IMAGE_CORRUPT", lambda: first_half(pictures.jpeg())),
    "half a PNG": ("IMAGE_CORRUPT", lambda: first_half(pictures.png())),
    "half a WebP": ("IMAGE_CORRUPT", lambda: first_half(pictures.webp())),
    "a JPEG with truncated pixels and an end marker": (
        "IMAGE_CORRUPT",
        lambda: first_half(pictures.jpeg(pictures.scene(200, 200))) + b"\xff\xd9",
    ),
    "a JPEG's first bytes": ("IMAGE_CORRUPT", lambda: b"\xff\xd8\xff\xe0"),
    "a PNG's signature": ("IMAGE_CORRUPT", lambda: b"\x89PNG\r\n\x1a\n"),
    "a PNG with missing rows": ("IMAGE_CORRUPT", lambda: pictures.png_of_rows(bytes(65 * 40))),
    "a PNG with a wrong checksum": (
        "IMAGE_CORRUPT",
        lambda: pictures.png()[:29] + b"\0\0\0\0" + pictures.png()[33:],
    ),
    "a WebP whose pixels end early": ("IMAGE_CORRUPT", lambda: pictures.webp_cut_inside(pictures.webp(), 80)),
    "a JPEG of a thousand scans": ("IMAGE_CORRUPT", lambda: pictures.many_scans_jpeg(1000)),
    "an animated WebP": ("IMAGE_ANIMATED", pictures.animated_webp),
    "an APNG": ("IMAGE_ANIMATED", pictures.apng),
    "a PNG with 400 million pixels": ("IMAGE_TOO_MANY_PIXELS", pictures.bomb_png),
    "a JPEG with 4 billion pixels in its header": (
        "IMAGE_TOO_MANY_PIXELS",
        lambda: pictures.jpeg_with_header_size(65_500, 65_500),
    ),
    "a WebP with 268 million pixels in its header": (
        "IMAGE_TOO_MANY_PIXELS",
        lambda: pictures.webp_with_header_size(16_383, 16_383),
    ),
    "a picture of 10 MiB and a byte": ("IMAGE_TOO_LARGE", lambda: pictures.padded_jpeg(MAX_BYTES + 1)),
}


@pytest.mark.parametrize(("reason", "make"), BAD_PICTURES.values(), ids=list(BAD_PICTURES))
def test_a_bad_picture_is_refused(uploader: Uploader, reason: str, make: Callable[[], bytes]) -> None:
    answer = refusal(lambda: uploader.calls.upload(uploader.project_id, make()))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert (answer.domain, answer.fields) == ("avatar-creator", ["chunk"])
    assert answer.metadata == {
        "IMAGE_TOO_LARGE": {"limit_bytes": str(MAX_BYTES)},
        "IMAGE_TOO_MANY_PIXELS": {"limit_pixels": "50000000"},
    }.get(reason, {})
    uploader.require_nothing_changed()


@pytest.mark.parametrize("make", [make for _, make in BAD_PICTURES.values()], ids=list(BAD_PICTURES))
def test_the_refusal_of_a_picture_has_no_text_of_a_library(make: Callable[[], bytes]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        accept_upload(make())

    assert caught.value.message in REFUSALS


REFUSALS = {
    "chunk: the file is not a JPEG, PNG or WebP picture; send one of these formats",
    "chunk: the picture is an animation; send a still picture",
    "chunk: the picture is larger than 10,485,760 bytes; send a smaller file",
    *(
        f"chunk: the picture has {size} pixels, and the maximum is 50,000,000 pixels; send a smaller picture"
        for size in ("20000x20000", "65500x65500", "16383x16383")
    ),
    *(
        f"chunk: the picture is truncated or damaged ({detail}); send the complete file"
        for detail in (
            "a JPEG scan ends early",
            "it cannot be decoded",
            "the checksum of a PNG chunk is wrong",
            "the file ends early",
            "the JPEG has no end-of-image marker",
            "the JPEG has too many scans",
            "the PNG has too few rows",
        )
    ),
}
"""Every message that refuses one of these pictures."""


@pytest.mark.parametrize("declared", ["image/jpeg", "image/webp"])
def test_a_picture_of_another_type_than_declared_is_refused(uploader: Uploader, declared: str) -> None:
    answer = refusal(
        lambda: uploader.calls.upload(uploader.project_id, pictures.png(), content_type=declared)
    )

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TYPE_MISMATCH")
    assert answer.fields == ["metadata.content_type"]
    assert answer.metadata == {"declared": declared, "actual": "image/png"}
    uploader.require_nothing_changed()


@pytest.mark.parametrize(
    ("order", "path"),
    [
        ("", "metadata"),
        ("c", "metadata"),
        ("e", "metadata"),
        ("cm", "metadata"),
        ("m", "chunk"),
        ("mm", "chunk"),
        ("mcm", "chunk"),
        ("me", "chunk"),
        ("m0", "chunk"),
        ("mce", "chunk"),
    ],
)
def test_messages_out_of_order_are_refused(uploader: Uploader, order: str, path: str) -> None:
    """Messages: m is metadata, c a chunk with the picture, 0 an empty chunk, e an empty message."""
    kinds = {
        "m": UploadAvatarRequest(metadata=UploadAvatarMetadata(project_id=uploader.project_id, name="Sarah")),
        "c": UploadAvatarRequest(chunk=pictures.png()),
        "0": UploadAvatarRequest(chunk=b""),
        "e": UploadAvatarRequest(),
    }

    answer = refusal(lambda: uploader.calls.avatars.UploadAvatar(iter([kinds[kind] for kind in order])))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_OUT_OF_ORDER")
    assert answer.fields == [path]
    uploader.require_nothing_changed()


IN_FLIGHT_BYTES = 12 * MIB
"""More bytes than the window of 1 MiB and the buffers of both sides hold. A measurement found 2 MiB."""


class Endless:
    """The messages of an upload of 200 MiB, which counts the bytes that are taken."""

    def __init__(self, metadata: UploadAvatarMetadata) -> None:
        self._metadata = metadata
        self.taken_bytes = 0

    def __iter__(self) -> Iterator[UploadAvatarRequest]:
        yield UploadAvatarRequest(metadata=self._metadata)
        chunk = pictures.jpeg().ljust(CHUNK_BYTES, b"\0")
        while self.taken_bytes < 200 * MIB:
            self.taken_bytes += len(chunk)
            yield UploadAvatarRequest(chunk=chunk)


def test_an_endless_upload_is_refused_at_the_limit(uploader: Uploader) -> None:
    endless = Endless(UploadAvatarMetadata(project_id=uploader.project_id, name="Sarah"))

    answer = refusal(lambda: uploader.calls.avatars.UploadAvatar(iter(endless)))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_LARGE")
    assert MAX_BYTES < endless.taken_bytes <= MAX_BYTES + IN_FLIGHT_BYTES
    uploader.require_nothing_changed()


def test_an_upload_with_bad_metadata_is_refused_before_its_bytes(uploader: Uploader) -> None:
    endless = Endless(UploadAvatarMetadata(project_id=uploader.project_id, name=""))

    answer = refusal(lambda: uploader.calls.avatars.UploadAvatar(iter(endless)))

    assert (answer.reason, answer.fields) == ("INVALID_FIELD", ["metadata.name"])
    assert endless.taken_bytes <= IN_FLIGHT_BYTES
    uploader.require_nothing_changed()


def test_a_cancelled_upload_leaves_nothing(uploader: Uploader) -> None:
    def messages() -> Iterator[UploadAvatarRequest]:
        yield from upload_messages({"project_id": uploader.project_id, "name": "Sarah"}, pictures.png())
        call.cancel()

    call: Any = uploader.calls.channel.stream_unary(
        "/avatar_creator.v1.AvatarService/UploadAvatar",
        request_serializer=UploadAvatarRequest.SerializeToString,
    ).future(messages(), metadata=uploader.calls.metadata)

    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    uploader.require_nothing_changed()


# Accepted uploads


def test_a_picture_of_exactly_10_mib_is_accepted(calls: Calls) -> None:
    data = pictures.padded_jpeg(MAX_BYTES)

    avatar = calls.upload(calls.create_project().id, data)

    assert (avatar.image.width, avatar.image.height) == (48, 32)


AS_CAMERAS_WRITE_THEM: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a JPEG without an end": ("image/jpg", lambda: pictures.jpeg()[:-2]),
    "a JPEG with a trailer": ("IMAGE/PJPEG", lambda: pictures.jpeg()[:-2] + pictures.trailers()["samsung"]),
    "a PNG with a broken text": (
        "image/x-png",
        lambda: pictures.with_png_chunks(
            pictures.png(), pictures.png_chunk_with_wrong_checksum(b"tEXt", b"Comment\0" + pictures.SECRET)
        ),
    ),
    "a PNG with a large profile": (
        "image/png; charset=binary",
        lambda: pictures.png(icc_profile=pictures.large_profile(2 * MIB)),
    ),
    "an APNG of one frame": (
        "image/apng",
        lambda: pictures.with_png_chunks(pictures.png(), pictures.png_chunk(b"acTL", b"\0\0\0\1\0\0\0\0")),
    ),
}


@pytest.mark.parametrize(
    ("declared", "make"), AS_CAMERAS_WRITE_THEM.values(), ids=list(AS_CAMERAS_WRITE_THEM)
)
def test_a_file_with_all_its_pixels_becomes_an_avatar(
    shared_deployment: Deployment, calls: Calls, user: str, declared: str, make: Callable[[], bytes]
) -> None:
    sent = make()
    is_jpeg = sent.startswith(b"\xff\xd8")

    avatar = calls.upload(calls.create_project().id, sent, content_type=declared)

    facts, data = calls.download(avatar.id)
    assert facts.content_type == ("image/jpeg" if is_jpeg else "image/png")
    pixels = Image.open(BytesIO(pictures.jpeg() if is_jpeg else pictures.png())).tobytes()
    assert Image.open(BytesIO(data)).tobytes() == pixels
    assert not avatar.thumbnail_pending
    assert all(pictures.SECRET not in file for file in stored(shared_deployment, user).values())


WITH_METADATA: dict[str, Callable[[], bytes]] = {
    "image/jpeg": pictures.jpeg_with_metadata,
    "image/png": pictures.png_with_metadata,
    "image/webp": pictures.webp_with_metadata,
}


@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO")
@pytest.mark.parametrize(("content_type", "make"), WITH_METADATA.items(), ids=list(WITH_METADATA))
def test_metadata_is_removed_and_pixels_are_kept(
    shared_deployment: Deployment, calls: Calls, user: str, content_type: str, make: Callable[[], bytes]
) -> None:
    sent = make()
    assert pictures.SECRET in sent

    avatar = calls.upload(calls.create_project().id, sent, content_type=content_type)

    facts, data = calls.download(avatar.id)
    assert pictures.SECRET not in data
    assert all(pictures.SECRET not in file for file in stored(shared_deployment, user).values())
    before, after = Image.open(BytesIO(sent)), Image.open(BytesIO(data))
    assert before.getexif()
    assert not after.getexif()
    assert ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox() is None
    assert facts == avatar.image
    assert facts.content_type == content_type


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_rotated_photograph_comes_back_upright(calls: Calls, orientation: int) -> None:
    scene = pictures.scene(96, 64)
    sent = pictures.jpeg_with_metadata(pictures.jpeg(pictures.stored_as(orientation, scene)), orientation)

    avatar = calls.upload(calls.create_project().id, sent)

    _, data = calls.download(avatar.id)
    upright = Image.open(BytesIO(data))
    assert upright.size == scene.size == (avatar.image.width, avatar.image.height)
    assert not upright.getexif()
    # Compare the mean, because lossy coding makes artifacts at the sharp edge.
    assert mean_difference(upright, scene) < 5 < 30 < mean_difference(upright.rotate(180), scene)


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other)).mean)


def test_the_first_message_of_a_download_describes_the_file(calls: Calls) -> None:
    data = pictures.png(pictures.scene(900, 700).effect_spread(200), compress_level=0)
    assert len(data) > 4 * CHUNK_BYTES
    avatar = calls.upload(calls.create_project().id, data)

    first, *others = calls.avatars.DownloadImage(DownloadImageRequest(avatar_id=avatar.id))

    received = b"".join(message.chunk for message in others)
    assert received == data
    assert first.metadata.content_type == "image/png"
    assert first.metadata.size_bytes == len(received)
    assert first.metadata.sha256 == hashlib.sha256(received).hexdigest()
    assert (first.metadata.width, first.metadata.height) == (900, 700)
    assert len(others) >= 4
    assert all(0 < len(message.chunk) <= CHUNK_BYTES for message in others)


def test_a_thumbnail_is_a_webp_of_300_pixels_whose_facts_match(calls: Calls) -> None:
    avatar = calls.upload(calls.create_project().id, pictures.jpeg(pictures.scene(640, 480)))

    facts, data = calls.download(avatar.id, IMAGE_VARIANT_THUMBNAIL)

    picture = Image.open(BytesIO(data))
    picture.load()
    assert (picture.format, picture.size) == ("WEBP", (300, 300))
    assert (facts.content_type, facts.size_bytes) == ("image/webp", len(data))
    assert facts.sha256 == hashlib.sha256(data).hexdigest()
    assert (facts.width, facts.height) == (300, 300)
    assert calls.avatars.GetAvatar(GetAvatarRequest(avatar_id=avatar.id)).avatar.thumbnail == facts


def test_a_missing_thumbnail_is_refused_with_a_retry_delay(
    shared_deployment: Deployment, calls: Calls
) -> None:
    avatar = calls.upload(calls.create_project().id, pictures.png())
    # The state between an upload and its thumbnail.
    shared_deployment.execute("UPDATE avatars SET thumbnail_file_id = NULL WHERE id = %s", avatar.id)

    answer = refusal(lambda: calls.download(avatar.id, IMAGE_VARIANT_THUMBNAIL))

    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "THUMBNAIL_PENDING")
    assert answer.retry_after is not None
    assert answer.retry_after > 0
    assert calls.download(avatar.id)[1]
