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
from structlog.testing import capture_logs

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.picture import MAX_IMAGE_BYTES, Picture
from avatar_creator_server.images.processing import (
    MAX_IMAGE_PIXELS,
    THUMBNAIL_SIZE,
    accept_upload,
    encode_png,
    make_thumbnail,
    thumbnail_of,
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


INTEGER_TYPES = {
    "BYTE": (1, "B"),
    "SHORT": (3, "H"),
    "LONG": (4, "I"),
    "SBYTE": (6, "b"),
    "SSHORT": (8, "h"),
    "SLONG": (9, "i"),
    "IFD": (13, "I"),
    "LONG8": (16, "Q"),
    "SLONG8": (17, "q"),
    "IFD8": (18, "Q"),
}


def turned(block: bytes, kind: str) -> bytes:
    """Return a picture of `scene()` with this EXIF block in the place of its format."""
    if kind == "webp":
        return pictures.webp_of(
            pictures.webp_header(48, 32, 0x08), pictures.webp()[12:], pictures.webp_chunk(b"EXIF", block)
        )
    if kind == "jpeg":
        segment = pictures.jpeg_segment(0xE1, b"Exif\0\0" + block)
        return pictures.with_jpeg_segments(pictures.jpeg(), segment)
    chunk = pictures.png_chunk(b"eXIf", block)
    if kind == "png":
        return pictures.with_png_chunks(pictures.png(), chunk)
    return pictures.png()[:-12] + chunk + pictures.png()[-12:]


@pytest.mark.parametrize("kind", ["jpeg", "png", "png after its pixels", "webp"])
@pytest.mark.parametrize("byte_order", [">", "<"])
@pytest.mark.parametrize("type_name", INTEGER_TYPES)
def test_an_orientation_of_every_integer_type_is_read(type_name: str, byte_order: str, kind: str) -> None:
    number, integer = INTEGER_TYPES[type_name]
    block = pictures.tiff(number, struct.pack(byte_order + integer, 6), byte_order=byte_order)
    upright = accept_upload(turned(block, kind))
    assert (upright.width, upright.height) == (32, 48)
    expected = pictures.scene().transpose(Image.Transpose.ROTATE_270)
    assert furthest_channel(opened(upright), expected) < 6


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize(
    ("block", "width"),
    [
        (pictures.tiff(5, struct.pack(">II", 12, 2)), 32),
        (pictures.tiff(10, struct.pack(">ii", 6, 1)), 32),
        (pictures.tiff(3, struct.pack(">HH", 6, 1), count=2), 32),
        (pictures.tiff(3, struct.pack(">HHH", 6, 1, 1), count=3), 32),
        (pictures.tiff(4, struct.pack(">II", 6, 1), count=2), 32),
        (b"Exif\0\0" + pictures.tiff(3, b"\0\6"), 32),
        (b"Exif\0\0Exif\0\0" + pictures.tiff(3, b"\0\6"), 32),
        (pictures.tiff(5, struct.pack(">II", 6, 0)), 48),
        (pictures.tiff(3, b"\0\6", count=0), 48),
        (pictures.tiff(2, b"6\0"), 48),
        (pictures.tiff(7, b"\6"), 48),
        (pictures.tiff(3, b"\0\6", directory=1), 48),
        (pictures.tiff(4, struct.pack(">I", 0x60000)), 48),
        (pictures.tiff(6, b"\xfa"), 48),
        (pictures.tiff(3, b"\0\6")[:-7], 48),
        (pictures.tiff(16, struct.pack(">Q", 6))[:-1], 48),
    ],
    ids=[
        "RATIONAL",
        "SRATIONAL",
        "two SHORTs",
        "three SHORTs",
        "two LONGs",
        "prefix",
        "two prefixes",
        "RATIONAL by zero",
        "no value",
        "text",
        "UNDEFINED",
        "only in the directory of the thumbnail",
        "large",
        "negative",
        "entry cut short",
        "value cut short",
    ],
)
def test_odd_orientations_are_read_as_other_decoders_read_them(block: bytes, width: int, kind: str) -> None:
    assert accept_upload(turned(block, kind)).width == width


def test_only_exif_turns_a_picture() -> None:
    """Pillow reads an orientation in XMP and in texts of ImageMagick too. Browsers do not."""
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    profile = b"\nexif\n 32\n" + (b"Exif\0\0" + pictures.tiff(3, b"\0\6")).hex().encode()
    uploads = [
        pictures.with_jpeg_segments(
            pictures.jpeg(), pictures.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
        ),
        pictures.with_png_chunks(
            pictures.png(), pictures.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        ),
        pictures.with_png_chunks(
            pictures.png(), pictures.png_chunk(b"tEXt", b"Raw profile type exif\0" + profile)
        ),
    ]
    assert [accept_upload(data).width for data in uploads] == [48, 48, 48]


def test_the_first_exif_of_a_png_or_webp_counts() -> None:
    six, three = pictures.tiff(3, b"\0\6"), pictures.tiff(3, b"\0\3")
    png = pictures.with_png_chunks(
        pictures.png(), pictures.png_chunk(b"eXIf", six), pictures.png_chunk(b"eXIf", three)
    )
    webp = pictures.with_webp_chunk(turned(six, "webp"), b"EXIF", three)
    assert accept_upload(png).width == accept_upload(webp).width == 32


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


@pytest.mark.parametrize("parameters", ["", ";charset=binary", ' ; name="a;b.png"', ";"])
@pytest.mark.parametrize(
    ("declared_type", "data"),
    [
        ("image/jpeg", pictures.jpeg()),
        ("image/jpg", pictures.jpeg()),
        ("image/pjpeg", pictures.jpeg()),
        ("IMAGE/JPG", pictures.jpeg()),
        ("image/png", pictures.png()),
        ("image/x-png", pictures.png()),
        ("image/apng", pictures.png()),
        ("Image/PNG", pictures.png()),
        ("image/webp", pictures.webp()),
        ("image/WebP", pictures.webp()),
        (" image/webp\t", pictures.webp()),
    ],
)
def test_every_name_of_a_type_means_that_type(declared_type: str, parameters: str, data: bytes) -> None:
    picture = accept_upload(data, declared_type + parameters)
    assert picture.content_type == accept_upload(data).content_type
    other = pictures.png() if data != pictures.png() else pictures.jpeg()
    assert refusal(other, declared_type + parameters) == (
        "IMAGE_TYPE_MISMATCH",
        "metadata.content_type",
        {"declared": picture.content_type, "actual": accept_upload(other).content_type},
    )


def test_a_blank_declared_type_declares_nothing() -> None:
    assert accept_upload(pictures.png(), "  ").content_type == "image/png"


@pytest.mark.parametrize(
    "declared_type", ["image/gif", "image/jpegx", "png", "image", "text/html; image/png", ";", "image/*"]
)
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


def apng_of(frames: int, *chunks: bytes) -> bytes:
    """Return `scene()` as an APNG that announces this many frames and has these chunks before its pixels."""
    announcement = pictures.png_chunk(b"acTL", struct.pack(">II", frames, 0))
    return pictures.with_png_chunks(pictures.png(), announcement, *chunks)


FRAME = pictures.png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 48, 32, 0, 0, 1, 10, 0, 0))


def test_an_apng_of_one_frame_is_a_still_picture() -> None:
    end = pictures.png()[-12:]
    other_frame = pictures.png_chunk(b"fdAT", b"\0\0\0\1" + pictures.SECRET)
    for data in (
        apng_of(1, FRAME),
        apng_of(1),
        apng_of(0, FRAME),
        pictures.with_png_chunks(pictures.png(), FRAME, FRAME),
        # Its only frame is not the default image: the picture is what decoders of still pictures show.
        apng_of(1)[:-12] + FRAME + other_frame + end,
    ):
        assert accept_upload(data, "image/apng").data == pictures.png()


def test_an_apng_with_more_frames_than_it_announces_is_an_animation() -> None:
    broken = pictures.png_chunk_with_wrong_checksum(b"acTL", struct.pack(">II", 1, 0))
    for data in (
        apng_of(2, FRAME),
        apng_of(1, FRAME, FRAME),
        apng_of(0, FRAME, FRAME),
        apng_of(1, FRAME)[:-12] + FRAME + pictures.png()[-12:],
        pictures.with_png_chunks(pictures.png(), broken, FRAME, FRAME),
    ):
        assert refusal(data) == ("IMAGE_ANIMATED", "chunk", {})


def webp_animation(*frames: bytes, size: tuple[int, int] = (48, 32), others: bytes = b"") -> bytes:
    """Return a WebP animation."""
    return pictures.webp_of(
        pictures.webp_header(*size, 0x12),
        pictures.webp_chunk(b"ANIM", bytes(6)),
        *(pictures.webp_chunk(b"ANMF", frame) for frame in frames),
        others,
    )


def webp_frame(image: Image.Image, left: int = 0, top: int = 0, **options: object) -> bytes:
    """Return an animation frame at these even coordinates."""
    numbers = (left // 2, top // 2, image.width - 1, image.height - 1, 100)
    still = pictures.webp(image, **options)
    pixels = still[30:] if still[12:16] == b"VP8X" else still[12:]
    return b"".join(number.to_bytes(3, "little") for number in numbers) + b"\0" + pixels


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_of_one_frame_is_a_still_picture(mode: str, lossless: bool) -> None:
    image = pictures.scene().convert(mode)
    if mode == "RGBA":
        image.putalpha(pictures.scene().getchannel("R"))
    frame = webp_frame(image, lossless=lossless)
    picture = accept_upload(webp_animation(frame, others=pictures.webp_chunk(b"XMP ", pictures.SECRET)))
    assert opened(picture).tobytes() == opened(pictures.webp(image, lossless=lossless)).tobytes()
    assert getattr(opened(picture), "n_frames", 1) == 1
    assert (b"ANIM" in picture.data, pictures.SECRET in picture.data) == (False, False)
    assert webp_pixels(picture.data) in frame


def test_a_webp_frame_of_a_part_of_the_picture_is_placed_in_it() -> None:
    for orientation, place in ((1, (20, 10)), (6, (64 - 10 - 32, 20))):
        exif = pictures.webp_chunk(b"EXIF", pictures.tiff(3, bytes((0, orientation))))
        data = webp_animation(
            webp_frame(pictures.scene(), 20, 10, lossless=True), size=(100, 64), others=exif
        )
        picture = accept_upload(data)
        image = opened(picture)
        part = (
            pictures.scene() if orientation == 1 else pictures.scene().transpose(Image.Transpose.ROTATE_270)
        )
        assert image.mode == "RGBA"
        assert image.size == (picture.width, picture.height) == ((100, 64) if orientation == 1 else (64, 100))
        assert image.getchannel("A").getbbox() == (*place, place[0] + part.width, place[1] + part.height)
        shown = image.crop(image.getchannel("A").getbbox()).convert("RGB")
        assert shown.tobytes() == part.tobytes()
        assert getattr(image, "n_frames", 1) == 1


def test_a_webp_animation_flag_without_frames_is_dropped() -> None:
    data = pictures.webp_of(pictures.webp_header(48, 32, 0x02), pictures.webp()[12:])
    assert accept_upload(data).data == pictures.webp_of(pictures.webp_header(48, 32), pictures.webp()[12:])


def test_a_webp_with_several_frames_or_a_frame_and_a_picture_is_an_animation() -> None:
    frame = webp_frame(pictures.scene())
    for data in (webp_animation(frame, frame), webp_animation(frame, others=pictures.webp()[12:])):
        assert refusal(data) == ("IMAGE_ANIMATED", "chunk", {})


def test_a_broken_webp_frame_is_refused() -> None:
    frame = webp_frame(pictures.scene())
    without_header = pictures.webp_of(pictures.webp_chunk(b"ANMF", frame))
    for data in (
        webp_animation(frame[:16]),
        webp_animation(frame[:200]),
        without_header,
        webp_animation(b""),
    ):
        assert refusal(data) == ("IMAGE_CORRUPT", "chunk", {})


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
def test_a_file_cut_at_any_byte_of_its_pixels_is_refused(kind: str) -> None:
    data = WHOLE[kind]()
    after_pixels = {"jpeg": 2, "progressive jpeg": 2, "png": 12, "lossless webp": 1}.get(kind, 0)
    for end in range(len(data) - after_pixels):
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
        pictures.with_jpeg_segments(pictures.jpeg(), b"\xff\x05\0\2"),
        pictures.jpeg().replace(b"\xff\xdb", b"\xff\xfe"),
        pictures.with_jpeg_segments(pictures.jpeg(), pictures.jpeg_segment(0xC0, bytes((8, 0, 1, 0, 1, 0)))),
        pictures.jpeg_with_header_size(0, 32),
        pictures.jpeg_with_header_size(96, 32),
        pictures.webp_with_header_size(96, 32),
        pictures.with_png_chunks(pictures.png(), pictures.png_chunk(b"CgBI", b"\0\0\0\0")),
        pictures.with_png_chunks(pictures.png(), pictures.png()[8:33]),
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
        "no header",
        "no pixels",
        "two webp pictures",
    ],
)
def test_a_broken_picture_is_refused(data: bytes) -> None:
    if data.startswith(b"RIFF"):
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert refusal(data) == ("IMAGE_CORRUPT", "chunk", {})


def test_a_png_with_a_flipped_bit_is_refused_or_has_the_same_pixels() -> None:
    whole = pictures.png(pictures.scene(8, 8))
    data = bytearray(pictures.png_with_metadata(pictures.scene(8, 8)))
    accepted = set()
    for position in range(8, len(data)):
        data[position] ^= 0x10
        try:
            assert accept_upload(bytes(data)).data == whole, position
            accepted.add(position)
        except InvalidArgumentError as error:
            reason = error.reason
        data[position] ^= 0x10
        assert position in accepted or reason in ("IMAGE_CORRUPT", "IMAGE_TOO_MANY_PIXELS"), position
    header, pixels, time = range(8, 33), data.index(b"IDAT"), data.index(b"tIME")
    assert accepted.isdisjoint({*header, *range(pixels - 4, data.index(b"IEND") - 4)})
    assert accepted >= {*range(time + 4, time + 15)}


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


def test_the_words_of_a_decoder_are_only_in_the_log() -> None:
    broken = pictures.webp_cut_inside(pictures.webp(), 80)
    with capture_logs() as logged, pytest.raises(InvalidArgumentError) as caught:
        accept_upload(broken)
    assert caught.value.message == (
        "chunk: the picture is truncated or damaged (it cannot be decoded); send the complete file"
    )
    (entry,) = logged
    assert entry["event"] == "picture_decoding_failed"
    assert entry["content_type"] == "image/webp"
    assert "Error" in entry["error"]


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


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("profile", [b"", pictures.swapped_profile()])
def test_a_thumbnail_of_pixels_is_that_of_their_file(mode: str, profile: bytes) -> None:
    image = Image.effect_mandelbrot((256, 200), (-2, -1.5, 1, 1.5), 40).convert(mode)
    if profile:
        image.info["icc_profile"] = profile
    assert thumbnail_of(image) == make_thumbnail(encode_png(image).data)


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
