"""Acceptance of uploaded pictures, thumbnails, and encoding of generated pictures."""

from __future__ import annotations

import hashlib
import random
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageFile, ImageStat

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.processing import (
    MAX_IMAGE_BYTES,
    MAX_IMAGE_PIXELS,
    THUMBNAIL_SIZE,
    Picture,
    accept_upload,
    encode_png,
    make_thumbnail,
)
from tests import pictures
from tests.support.threads import Threads

WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg": pictures.jpeg,
    "progressive jpeg": lambda: pictures.jpeg(progressive=True),
    "png": pictures.png,
    "webp": pictures.webp,
    "lossless webp": lambda: pictures.webp(lossless=True),
}
WITH_METADATA: dict[str, Callable[[], bytes]] = {
    "jpeg": pictures.jpeg_with_metadata,
    "png": pictures.png_with_metadata,
    "webp": pictures.webp_with_metadata,
    "lossless webp": lambda: pictures.webp_with_metadata(lossless=True),
    "mpo": pictures.mpo,
    "motion photo": pictures.motion_photo,
    "png trailer": lambda: pictures.png() + pictures.SECRET,
    "webp trailer": lambda: pictures.webp() + pictures.SECRET,
    "broken exif": pictures.jpeg_with_broken_exif,
}


def opened(picture: Picture | bytes) -> ImageFile.ImageFile:
    image = Image.open(BytesIO(picture.data if isinstance(picture, Picture) else picture))
    image.load()
    return image


def refusal(data: bytes, declared_type: str = "") -> tuple[str, str, dict[str, str]]:
    """Return reason, field and metadata of the refusal of an upload."""
    with pytest.raises(InvalidArgumentError) as caught:
        accept_upload(data, declared_type)
    (violation,) = caught.value.violations
    return caught.value.reason, violation.field, caught.value.metadata


def webp_pixels(data: bytes) -> bytes:
    """Return the coded pixels of a still WebP."""
    position = 12
    while data[position : position + 4] not in (b"VP8 ", b"VP8L"):
        position += 8 + -(-int.from_bytes(data[position + 4 : position + 8], "little") // 2) * 2
    length = int.from_bytes(data[position + 4 : position + 8], "little")
    return data[position : position + 8 + length]


def furthest_channel(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of the channel that differs most, 0 to 255."""
    assert one.size == other.size
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


# Kept bytes


@pytest.mark.parametrize("kind", WHOLE)
def test_a_picture_without_metadata_is_kept_byte_for_byte(kind: str) -> None:
    data = WHOLE[kind]()
    picture = accept_upload(data)
    assert picture.data == data
    assert (picture.width, picture.height) == (48, 32)
    assert picture.content_type == f"image/{kind.split()[-1]}"
    assert picture.sha256 == hashlib.sha256(data).hexdigest()


def test_jpeg_metadata_is_removed_and_every_other_byte_is_kept() -> None:
    assert accept_upload(pictures.jpeg_with_metadata()).data == pictures.jpeg()
    assert accept_upload(pictures.motion_photo()).data == pictures.jpeg()
    assert accept_upload(pictures.jpeg_with_broken_exif()).data == pictures.jpeg()


def test_png_metadata_is_removed_and_every_other_byte_is_kept() -> None:
    assert accept_upload(pictures.png_with_metadata()).data == pictures.png()
    assert accept_upload(pictures.png() + pictures.SECRET).data == pictures.png()


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_metadata_is_removed_and_the_coded_pixels_are_kept(lossless: bool) -> None:
    plain, uploaded = pictures.webp(lossless=lossless), pictures.webp_with_metadata(lossless=lossless)
    kept = accept_upload(uploaded).data
    assert webp_pixels(kept) == webp_pixels(uploaded) == webp_pixels(plain)
    assert opened(kept).tobytes() == opened(plain).tobytes()
    assert int.from_bytes(kept[4:8], "little") == len(kept) - 8
    assert (kept[12:16], kept[20]) == (b"VP8X", 0), "its header still announces metadata"


@pytest.mark.parametrize("kind", WITH_METADATA)
def test_only_the_picture_of_a_file_is_kept(kind: str) -> None:
    uploaded = WITH_METADATA[kind]()
    picture = accept_upload(uploaded)
    image = opened(picture)
    assert not image.getexif()
    assert not {"exif", "xmp", "photoshop", "comment", "mp", "Comment", "XML:com.adobe.xmp"} & set(image.info)
    assert pictures.SECRET in uploaded or kind == "mpo"
    for trace in (pictures.SECRET, b"Exif", b"GPS", b"ns.adobe.com", b"MPF"):
        assert trace not in picture.data


def test_only_the_first_picture_of_an_mpo_is_kept() -> None:
    assert opened(pictures.mpo()).format == "MPO"
    picture = accept_upload(pictures.mpo())
    image = opened(picture)
    assert (image.format, getattr(image, "n_frames", 1), picture.content_type) == ("JPEG", 1, "image/jpeg")
    assert furthest_channel(image, pictures.scene()) < 6


def test_the_jfif_thumbnail_is_removed_and_the_density_is_kept() -> None:
    plain = pictures.jpeg(dpi=(72, 72))
    thumbnail = pictures.jpeg_segment(0xE0, plain[6:18] + b"\x02\x02" + pictures.SECRET[:12])
    assert accept_upload(b"\xff\xd8" + thumbnail + plain[20:]).data == plain


def test_junk_between_jpeg_segments_is_not_kept() -> None:
    assert (
        accept_upload(pictures.with_jpeg_segments(pictures.jpeg(), pictures.SECRET)).data == pictures.jpeg()
    )


@pytest.mark.parametrize("encode", [pictures.jpeg, pictures.png, pictures.webp])
def test_the_color_profile_is_kept(encode: Callable[..., bytes]) -> None:
    profile = pictures.srgb_profile()
    picture = accept_upload(encode(icc_profile=profile))
    assert opened(picture).info["icc_profile"] == profile


def test_png_colors_and_transparency_are_kept() -> None:
    data = pictures.with_png_chunks(
        pictures.png(pictures.scene().quantize(16), transparency=3, dpi=(72, 72)),
        pictures.png_chunk(b"gAMA", struct.pack(">I", 45455)),
        pictures.png_chunk(b"cICP", bytes((12, 13, 0, 1))),
    )
    assert accept_upload(data).data == data


@pytest.mark.parametrize(
    "data",
    [
        pictures.jpeg(pictures.scene().convert("CMYK")),
        pictures.jpeg(pictures.scene().convert("L")),
        pictures.jpeg(subsampling="4:4:4", restart_marker_rows=1),
        pictures.jpeg(subsampling="4:2:0", optimize=True),
        pictures.jpeg(pictures.scene(1, 1)),
        pictures.jpeg(pictures.scene(17, 3), progressive=True),
        pictures.png(Image.new("I;16", (8, 8), 40_000)),
        pictures.png(pictures.scene().convert("L")),
        pictures.png(pictures.scene().convert("LA")),
        pictures.png(pictures.scene().convert("1")),
        pictures.png(pictures.scene().quantize(7)),
        pictures.png(pictures.scene().convert("RGBA")),
        pictures.png(pictures.scene(1, 1)),
        pictures.webp(pictures.scene(1, 1)),
        pictures.webp(Image.new("RGBA", (9, 9), (200, 0, 0, 90))),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_unusual_pictures_are_kept_and_have_a_thumbnail(data: bytes) -> None:
    picture = accept_upload(data)
    assert picture.data == data
    assert opened(make_thumbnail(picture.data)).size == (THUMBNAIL_SIZE, THUMBNAIL_SIZE)


# Orientation


ENCODE_TURNED: dict[str, Callable[[int], bytes]] = {
    "jpeg": lambda turn: pictures.jpeg_with_metadata(
        pictures.jpeg(pictures.stored_as(turn, pictures.scene())), turn
    ),
    "png": lambda turn: pictures.png_with_metadata(pictures.stored_as(turn, pictures.scene()), turn),
    "webp": lambda turn: pictures.webp_with_metadata(pictures.stored_as(turn, pictures.scene()), turn),
    "lossless webp": lambda turn: pictures.webp_with_metadata(
        pictures.stored_as(turn, pictures.scene()), turn, lossless=True
    ),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ENCODE_TURNED)
def test_a_picture_of_every_exif_orientation_becomes_upright(kind: str, orientation: int) -> None:
    picture = accept_upload(ENCODE_TURNED[kind](orientation))
    image = opened(picture)
    difference = furthest_channel(image, pictures.scene())
    assert difference == 0 if kind in ("png", "lossless webp") else difference < 6
    assert (picture.width, picture.height) == image.size == (48, 32)
    assert picture.content_type == f"image/{kind.split()[-1]}"
    assert not image.getexif()
    assert pictures.SECRET not in picture.data


@pytest.mark.parametrize("encode", [pictures.jpeg, pictures.png, pictures.webp])
def test_a_turned_picture_keeps_its_color_profile(encode: Callable[..., bytes]) -> None:
    profile = pictures.srgb_profile()
    picture = accept_upload(encode(icc_profile=profile, exif=pictures.exif(6)))
    assert opened(picture).info["icc_profile"] == profile
    assert (picture.width, picture.height) == (32, 48)


def test_a_turned_picture_keeps_its_color_model() -> None:
    turned = pictures.exif(3)
    for image, mode in (
        (pictures.scene().convert("CMYK"), "CMYK"),
        (pictures.scene().convert("L"), "L"),
    ):
        kept = opened(accept_upload(pictures.jpeg(image, exif=turned)))
        assert kept.mode == mode
        assert (
            furthest_channel(kept, pictures.scene().convert(mode).transpose(Image.Transpose.ROTATE_180)) < 6
        )
    for image in (
        Image.new("I;16", (8, 8), 40_000),
        pictures.scene().quantize(7),
        pictures.scene().convert("LA"),
    ):
        kept = opened(accept_upload(pictures.png(image, exif=turned)))
        assert kept.mode == image.mode
        assert (
            kept.convert("RGBA").tobytes()
            == image.transpose(Image.Transpose.ROTATE_180).convert("RGBA").tobytes()
        )


def test_a_big_endian_exif_orientation_is_read() -> None:
    entry = struct.pack(">4sIHHHIHH", b"MM\0*", 8, 1, 0x0112, 3, 1, 6, 0)
    data = pictures.with_jpeg_segments(pictures.jpeg(), pictures.jpeg_segment(0xE1, b"Exif\0\0" + entry))
    assert accept_upload(data).width == 32


def test_the_first_of_two_exif_segments_counts() -> None:
    data = pictures.jpeg_with_metadata(pictures.jpeg_with_metadata(orientation=1), orientation=6)
    assert accept_upload(data).width == 32


def test_the_exif_of_a_webp_may_have_the_prefix_of_a_jpeg() -> None:
    data = pictures.with_webp_chunk(
        pictures.webp(icc_profile=pictures.srgb_profile()), b"EXIF", pictures.exif(6)
    )
    assert accept_upload(data).width == 32


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_invalid_orientation_means_upright(orientation: int) -> None:
    assert accept_upload(pictures.jpeg_with_metadata(orientation=orientation)).data == pictures.jpeg()


def test_a_picture_with_truncated_exif_is_accepted() -> None:
    block = pictures.exif(6)
    for end in range(len(block)):
        data = pictures.with_jpeg_segments(pictures.jpeg(), pictures.jpeg_segment(0xE1, block[:end]))
        assert isinstance(accept_upload(data), Picture)


# Refusals


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        pictures.encoded("GIF"),
        pictures.encoded("BMP"),
        pictures.encoded("TIFF"),
        pictures.SVG,
        pictures.HTML,
        b"RIFF\x24\0\0\0WAVEfmt ",
        bytes(1000),
    ],
    ids=lambda data: repr(data[:8]),
)
def test_a_file_of_another_format_is_unsupported(data: bytes) -> None:
    assert refusal(data) == ("IMAGE_UNSUPPORTED", "chunk", {})


def test_the_declared_type_must_be_the_type_of_the_bytes() -> None:
    assert refusal(pictures.png(), "image/jpeg") == (
        "IMAGE_TYPE_MISMATCH",
        "metadata.content_type",
        {"declared": "image/jpeg", "actual": "image/png"},
    )
    assert accept_upload(pictures.png(), "image/png").content_type == "image/png"


@pytest.mark.parametrize("declared_type", ["image/jpg", "image/gif", "IMAGE/PNG", "image/png; q=1", " "])
def test_an_unknown_declared_type_is_an_invalid_field(declared_type: str) -> None:
    assert refusal(pictures.png(), declared_type) == ("INVALID_FIELD", "metadata.content_type", {})


def test_ten_mebibytes_are_accepted_and_one_byte_more_is_not() -> None:
    largest = pictures.padded_jpeg(MAX_IMAGE_BYTES)
    assert len(largest) == MAX_IMAGE_BYTES
    assert accept_upload(largest).data == pictures.jpeg()
    larger = pictures.padded_jpeg(MAX_IMAGE_BYTES + 1)
    assert refusal(larger) == ("IMAGE_TOO_LARGE", "chunk", {"limit_bytes": "10485760"})


@pytest.mark.parametrize("data", [pictures.animated_webp(), pictures.apng()], ids=["webp", "png"])
def test_an_animation_is_refused(data: bytes) -> None:
    assert refusal(data) == ("IMAGE_ANIMATED", "chunk", {})


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = pictures.bomb_png()
    assert len(bomb) < 100_000
    without_pixels = [
        pictures.jpeg_with_header_size(60_000, 60_000),
        pictures.webp_with_header_size(16_000, 16_000),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in [bomb, *without_pixels]:
            assert refusal(data) == ("IMAGE_TOO_MANY_PIXELS", "chunk", {"limit_pixels": "50000000"})


def test_a_jpeg_with_a_hundred_scans_is_accepted() -> None:
    data = pictures.many_scans_jpeg(100)
    assert accept_upload(data).data == data


def test_fifty_million_pixels_are_accepted() -> None:
    data = pictures.bomb_png(10_000, MAX_IMAGE_PIXELS // 10_000)
    assert accept_upload(data).data == data
    assert refusal(pictures.bomb_png(10_000, MAX_IMAGE_PIXELS // 10_000 + 100))[0] == "IMAGE_TOO_MANY_PIXELS"


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_at_any_byte_is_refused(kind: str) -> None:
    data = WHOLE[kind]()
    for end in range(len(data)):
        reason, field, _ = refusal(data[:end])
        assert field == "chunk"
        assert reason == "IMAGE_CORRUPT" or (reason == "IMAGE_UNSUPPORTED" and end < 12), end


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}], ids=str)
def test_a_jpeg_with_truncated_pixels_and_an_end_marker_is_refused(options: dict[str, object]) -> None:
    data = pictures.jpeg(pictures.scene(400, 300), **options)
    first_pixels = data.index(b"\xff\xda") + 20
    for hundredth in range(1, 100):
        end = first_pixels + (len(data) - first_pixels) * hundredth // 100
        assert refusal(data[:end] + b"\xff\xd9")[0] == "IMAGE_CORRUPT", hundredth


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_with_truncated_pixels_and_correct_sizes_is_refused(lossless: bool) -> None:
    data = pictures.webp(pictures.scene(400, 300), lossless=lossless)
    for hundredth in range(1, 99):
        end = 20 + (len(data) - 20) * hundredth // 100
        assert refusal(pictures.webp_cut_inside(data, end))[0] == "IMAGE_CORRUPT", hundredth


@pytest.mark.parametrize(
    ("interlaced", "whole"),
    [(False, 64 * 65), (True, 8 * 9 + 8 * 9 + 8 * 17 + 16 * 17 + 16 * 33 + 32 * 33 + 32 * 65)],
)
def test_a_png_needs_every_row(interlaced: bool, whole: int) -> None:
    assert accept_upload(pictures.png_of_rows(bytes(whole), interlaced)).width == 64
    assert refusal(pictures.png_of_rows(bytes(whole - 1), interlaced))[0] == "IMAGE_CORRUPT"


@pytest.mark.parametrize(
    "data",
    [
        pictures.png_of_rows(bytes(65 * 63)),
        pictures.many_scans_jpeg(101),
        pictures.jpeg()[:-2] + b"\xff\x05" + pictures.jpeg()[-2:],
        pictures.jpeg().replace(b"\xff\xdb", b"\xff\xfe"),
        pictures.with_jpeg_segments(pictures.jpeg(), pictures.jpeg_segment(0xC0, bytes((8, 0, 1, 0, 1, 0)))),
        pictures.jpeg_with_header_size(0, 32),
        pictures.jpeg_with_header_size(96, 32),
        pictures.webp_with_header_size(96, 32),
        pictures.with_png_chunks(pictures.png(), pictures.png_chunk(b"CgBI", b"\0\0\0\0")),
        pictures.with_png_chunks(pictures.png(), pictures.png()[8:33]),
        pictures.with_png_chunks(
            pictures.png(), pictures.png_chunk(b"iCCP", b"huge\0\0" + zlib.compress(bytes(2**21)))
        ),
        pictures.png()[:8] + pictures.png()[33:],
        pictures.png()[:33] + pictures.png_chunk(b"IEND"),
        pictures.webp()[:12] + pictures.webp()[12:] * 2,
    ],
    ids=[
        "rows missing",
        "endless scans",
        "unknown jpeg marker",
        "no quantization tables",
        "two frames",
        "no width",
        "jpeg wider than its pixels",
        "webp wider than its pixels",
        "unknown critical chunk",
        "two headers",
        "huge color profile",
        "no header",
        "no pixels",
        "two webp pictures",
    ],
)
def test_a_broken_picture_is_refused(data: bytes) -> None:
    if data.startswith(b"RIFF"):
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert refusal(data) == ("IMAGE_CORRUPT", "chunk", {})


def test_a_png_with_a_flipped_bit_anywhere_is_refused() -> None:
    data = bytearray(pictures.png_with_metadata(pictures.scene(8, 8)))
    for position in range(8, len(data)):
        data[position] ^= 0x10
        assert refusal(bytes(data))[0] in ("IMAGE_CORRUPT", "IMAGE_TOO_MANY_PIXELS"), position
        data[position] ^= 0x10


def corruptions(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield the file with a few bytes changed, removed, doubled or random, and with correct PNG checksums."""
    draw = random.Random(seed)
    for _ in range(count):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(2, len(broken))
            match draw.randrange(4):
                case 0:
                    broken[at] = draw.randrange(256)
                case 1:
                    del broken[at : at + draw.randint(1, 30)]
                case 2:
                    broken[at:at] = broken[at : at + draw.randint(1, 30)]
                case 3:
                    broken[at : at + 20] = draw.randbytes(20)
        yield with_correct_checksums(bytes(broken))


def with_correct_checksums(data: bytes) -> bytes:
    """Return the file with correct PNG checksums, so that the damage reaches the decoder."""
    if not data.startswith(b"\x89PNG"):
        return data
    fixed, position = bytearray(data), 8
    while position + 12 <= len(fixed):
        end = position + 8 + int.from_bytes(fixed[position : position + 4], "big")
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[position + 4 : end]))
        position = end + 4
    return bytes(fixed[: len(data)])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "kind", [*WITH_METADATA, "turned jpeg", "turned png", "turned webp", "progressive jpeg"]
)
def test_a_damaged_file_gives_a_whole_picture_or_a_refusal(kind: str) -> None:
    turned = kind.removeprefix("turned ")
    data = ENCODE_TURNED[turned](6) if turned != kind else {**WITH_METADATA, **WHOLE}[kind]()
    for broken in corruptions(data, seed=7, count=150):
        try:
            picture = accept_upload(broken)
        except InvalidArgumentError:
            continue
        assert opened(picture).size == (picture.width, picture.height)
        assert make_thumbnail(picture.data).width == THUMBNAIL_SIZE


def test_many_threads_accept_pictures_concurrently() -> None:
    uploads = [make() for make in (*WHOLE.values(), *WITH_METADATA.values())] * 5
    alone = [accept_upload(data).sha256 for data in uploads]
    limit = Image.MAX_IMAGE_PIXELS
    with Threads(8) as threads:
        together = threads.map(lambda data: accept_upload(data).sha256, uploads)
    assert together == alone
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# Thumbnails


def center(image: Image.Image) -> tuple[int, ...]:
    pixel = image.getpixel((THUMBNAIL_SIZE // 2, THUMBNAIL_SIZE // 2))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize("size", [(1200, 400), (400, 1200), (30, 10), (3000, 1000)])
def test_a_thumbnail_shows_the_middle_of_the_picture(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "blue")
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    image.paste("red", (left, top, left + side, top + side))
    picture = make_thumbnail(pictures.jpeg(image, subsampling="4:4:4"))
    assert (picture.content_type, picture.width, picture.height) == ("image/webp", 300, 300)
    thumbnail = opened(picture)
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (300, 300))
    inner = thumbnail.crop((15, 15, 285, 285)).convert("RGB")
    assert furthest_channel(inner, Image.new("RGB", inner.size, "red")) < 6


def test_a_thumbnail_keeps_transparency() -> None:
    for image, options in (
        (Image.new("RGBA", (50, 50), (255, 0, 0, 100)), {}),
        (Image.new("LA", (50, 50), (255, 100)), {}),
        (Image.new("P", (50, 50), 0), {"transparency": bytes((100,))}),
    ):
        assert (
            abs(center(opened(make_thumbnail(pictures.png(image, **options))).convert("RGBA"))[3] - 100) <= 2
        )


@pytest.mark.parametrize(
    "data",
    [
        pictures.jpeg(Image.new("CMYK", (40, 40), (0, 127, 127, 0))),
        pictures.png(Image.new("RGB", (40, 40), (255, 128, 128)).quantize(2)),
        pictures.webp(Image.new("RGB", (40, 40), (255, 128, 128))),
    ],
    ids=["cmyk", "palette", "webp"],
)
def test_a_thumbnail_has_the_colors_of_the_picture(data: bytes) -> None:
    assert all(
        abs(a - b) < 8 for a, b in zip(center(opened(make_thumbnail(data))), (255, 128, 128), strict=True)
    )


def test_a_thumbnail_of_a_16_bit_picture_is_not_clipped() -> None:
    thumbnail = opened(make_thumbnail(pictures.png(Image.new("I;16", (40, 40), 0x8000))))
    assert all(abs(value - 128) < 4 for value in center(thumbnail))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_thumbnail_is_converted_to_srgb(mode: str) -> None:
    red = Image.new("RGB", (40, 40), "red").convert(mode)
    thumbnail = opened(make_thumbnail(pictures.png(red, icc_profile=pictures.swapped_profile())))
    assert center(thumbnail)[1] > 240 > 20 > center(thumbnail)[0]
    assert "icc_profile" not in thumbnail.info


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_color_profile_that_does_not_fit_is_ignored(mode: str) -> None:
    image = Image.new("RGB", (40, 40), "white").convert(mode)
    for profile in (b"not a profile", pictures.srgb_profile()):
        assert min(center(opened(make_thumbnail(pictures.jpeg(image, icc_profile=profile))))) > 245


# Generated pictures


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
def test_a_generated_picture_becomes_a_png_of_the_same_pixels(mode: str) -> None:
    image = Image.new("I;16", (8, 8), 777) if mode == "I;16" else pictures.scene().convert(mode)
    picture = encode_png(image)
    assert opened(picture).tobytes() == image.tobytes()
    assert (picture.content_type, picture.width, picture.height) == ("image/png", *image.size)
    assert accept_upload(picture.data) == picture


def test_a_generated_picture_loses_its_metadata_and_keeps_its_profile() -> None:
    profile = pictures.srgb_profile()
    picture = encode_png(opened(pictures.webp_with_metadata(icc_profile=profile)))
    assert pictures.SECRET not in picture.data
    assert opened(picture).info == {"icc_profile": profile}


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGBX", "F"])
def test_a_generated_picture_of_another_color_model_becomes_rgb(mode: str) -> None:
    image = pictures.scene().convert("L").convert("F") if mode == "F" else pictures.scene().convert(mode)
    assert opened(encode_png(image)).mode == "RGB"
