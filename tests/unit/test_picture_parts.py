"""Parts of PNG, WebP and JPEG files that decoders ignore when they are broken, and color profiles."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.metadata.profile import MAX_PROFILE_BYTES
from avatar_creator_server.images.processing import THUMBNAIL_SIZE, accept_upload, make_thumbnail
from tests import pictures
from tests.pictures import png_chunk, png_chunk_with_wrong_checksum, webp_chunk

GAMMA = struct.pack(">I", 45455)
PALETTE_PNG = pictures.png(pictures.scene().quantize(16))


def refusal(data: bytes) -> tuple[str, str]:
    """Return the reason and the message of the refusal of an upload."""
    with pytest.raises(InvalidArgumentError) as caught:
        accept_upload(data)
    return caught.value.reason, caught.value.message


def iccp(profile: bytes, name: bytes = b"icc") -> bytes:
    """Return the body of a PNG chunk with a color profile."""
    return name + b"\0\0" + zlib.compress(profile)


def after_palette(*chunks: bytes) -> bytes:
    """Return a PNG of 16 colors with these chunks before its pixels."""
    at = PALETTE_PNG.index(b"IDAT") - 4
    return PALETTE_PNG[:at] + b"".join(chunks) + PALETTE_PNG[at:]


def before_end(*chunks: bytes) -> bytes:
    """Return a PNG with these chunks after its pixels."""
    return pictures.png()[:-12] + b"".join(chunks) + pictures.png()[-12:]


# PNG: chunks with a wrong checksum

ANCILLARY: dict[bytes, bytes] = {
    b"tEXt": b"Comment\0" + pictures.SECRET,
    b"zTXt": b"Comment\0\0" + zlib.compress(pictures.SECRET),
    b"iTXt": b"Comment\0\0\0\0\0" + pictures.SECRET,
    b"eXIf": pictures.tiff(3, b"\0\6"),
    b"tIME": b"\x07\xea\1\1\1\1\1",
    b"prVt": pictures.SECRET,
    b"iCCP": iccp(pictures.srgb_profile()),
    b"gAMA": GAMMA,
    b"cHRM": bytes(32),
    b"sRGB": b"\0",
    b"cICP": bytes((12, 13, 0, 1)),
    b"sBIT": b"\x08\x08\x08",
    b"bKGD": bytes(6),
    b"pHYs": bytes(9),
    b"tRNS": bytes(6),
    b"hIST": bytes(32),
    b"fcTL": bytes(26),
}


@pytest.mark.parametrize("kind", ANCILLARY)
def test_an_ancillary_chunk_with_a_wrong_checksum_is_dropped(kind: bytes) -> None:
    broken = png_chunk_with_wrong_checksum(kind, ANCILLARY[kind])
    assert accept_upload(pictures.with_png_chunks(pictures.png(), broken)).data == pictures.png()
    assert accept_upload(before_end(broken)).data == pictures.png()


def test_a_whole_chunk_counts_after_a_broken_one_of_its_kind() -> None:
    whole = png_chunk(b"gAMA", GAMMA)
    both = pictures.with_png_chunks(pictures.png(), png_chunk_with_wrong_checksum(b"gAMA", GAMMA), whole)
    assert accept_upload(both).data == pictures.with_png_chunks(pictures.png(), whole)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND"])
def test_a_critical_chunk_with_a_wrong_checksum_is_refused(kind: bytes) -> None:
    at = PALETTE_PNG.index(kind)
    checksum_ends = at + 8 + int.from_bytes(PALETTE_PNG[at - 4 : at], "big")
    broken = bytearray(PALETTE_PNG)
    broken[checksum_ends - 1] ^= 1
    assert refusal(bytes(broken)) == (
        "IMAGE_CORRUPT",
        "chunk: the picture is truncated or damaged (the checksum of a PNG chunk is wrong); send the "
        "complete file",
    )


# PNG: chunks of a wrong length, value or place

MALFORMED: dict[str, tuple[bytes, bytes]] = {
    "short gamma": (b"gAMA", GAMMA[:3]),
    "gamma of zero": (b"gAMA", bytes(4)),
    "long gamma": (b"gAMA", GAMMA + b"\0"),
    "short chromaticities": (b"cHRM", bytes(31)),
    "unknown rendering intent": (b"sRGB", b"\4"),
    "empty sRGB": (b"sRGB", b""),
    "short cICP": (b"cICP", b"\x0c\x0d\0"),
    "short density": (b"pHYs", bytes(8)),
    "long density": (b"pHYs", bytes(10)),
    "background of a gray picture": (b"bKGD", bytes(2)),
    "background of a palette": (b"bKGD", bytes(1)),
    "bits of a gray picture": (b"sBIT", b"\x08"),
    "more bits than there are": (b"sBIT", b"\x09\x09\x09"),
    "no bits": (b"sBIT", bytes(3)),
    "transparency of a gray picture": (b"tRNS", bytes(2)),
    "transparency of a palette": (b"tRNS", bytes(16)),
    "empty transparency": (b"tRNS", b""),
    "empty profile chunk": (b"iCCP", b""),
    "profile without a name": (b"iCCP", iccp(pictures.srgb_profile(), b"")),
    "profile with a long name": (b"iCCP", iccp(pictures.srgb_profile(), b"n" * 80)),
    "profile of another compression": (b"iCCP", b"icc\0\1" + zlib.compress(pictures.srgb_profile())),
    "profile that is not compressed": (b"iCCP", b"icc\0\0" + pictures.srgb_profile()),
    "half of a profile": (b"iCCP", iccp(pictures.srgb_profile())[:200]),
    "profile with a wrong checksum": (b"iCCP", iccp(pictures.srgb_profile())[:-1] + b"\0"),
    "a profile that is none": (b"iCCP", iccp(b"not a profile")),
    "zeros instead of a profile": (b"iCCP", iccp(bytes(2**21))),
    "a profile cut short": (b"iCCP", iccp(pictures.srgb_profile()[:-1])),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_ancillary_chunk_is_dropped(name: str) -> None:
    kind, body = MALFORMED[name]
    picture = accept_upload(pictures.with_png_chunks(pictures.png(), png_chunk(kind, body)))
    assert picture.data == pictures.png()


@pytest.mark.parametrize("kind", [b"gAMA", b"iCCP", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"pHYs", b"tRNS"])
def test_only_the_first_chunk_of_a_kind_is_kept(kind: bytes) -> None:
    chunk = png_chunk(kind, ANCILLARY[kind])
    once = pictures.with_png_chunks(pictures.png(), chunk)
    assert accept_upload(pictures.with_png_chunks(pictures.png(), chunk, chunk)).data == once


@pytest.mark.parametrize("kind", [b"gAMA", b"iCCP", b"cHRM", b"sRGB", b"cICP", b"sBIT"])
def test_a_color_chunk_after_the_palette_or_the_pixels_is_dropped(kind: bytes) -> None:
    body = bytes((8, 8, 8)) if kind == b"sBIT" else ANCILLARY[kind]
    assert accept_upload(after_palette(png_chunk(kind, body))).data == PALETTE_PNG
    assert accept_upload(before_end(png_chunk(kind, ANCILLARY[kind]))).data == pictures.png()


def test_the_transparency_of_a_palette_must_fit_and_follow_it() -> None:
    fits = after_palette(png_chunk(b"tRNS", bytes(16)), png_chunk(b"bKGD", b"\x0f"))
    assert accept_upload(fits).data == fits
    assert accept_upload(after_palette(png_chunk(b"tRNS", bytes(17)))).data == PALETTE_PNG
    assert accept_upload(after_palette(png_chunk(b"bKGD", b"\x10"))).data == PALETTE_PNG
    early = pictures.with_png_chunks(PALETTE_PNG, png_chunk(b"tRNS", bytes(16)))
    assert accept_upload(early).data == PALETTE_PNG


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "I;16"])
def test_chunks_that_fit_the_color_type_are_kept(mode: str) -> None:
    image = Image.new("I;16", (8, 8), 777) if mode == "I;16" else pictures.scene().convert(mode)
    colors, channels = len(mode.rstrip("A")) if "RGB" in mode else 1, len(mode) if "RGB" in mode else 1
    channels = 2 if mode == "LA" else channels
    chunks = [png_chunk(b"sBIT", b"\1" * channels), png_chunk(b"bKGD", bytes(2 * colors))]
    if "A" not in mode:
        chunks.append(png_chunk(b"tRNS", bytes(2 * colors)))
    data = pictures.with_png_chunks(pictures.png(image), *chunks)
    assert accept_upload(data).data == data


def test_bytes_after_the_compressed_profile_are_not_kept() -> None:
    body = iccp(pictures.srgb_profile())
    data = pictures.with_png_chunks(pictures.png(), png_chunk(b"iCCP", body + pictures.SECRET))
    assert accept_upload(data).data == pictures.with_png_chunks(pictures.png(), png_chunk(b"iCCP", body))


# PNG: the end, and pixels in parts


def test_a_png_without_its_end_chunk_gets_one() -> None:
    whole = pictures.png()
    for end in range(len(whole) - 12, len(whole)):
        assert accept_upload(whole[:end]).data == whole, end
    for junk in (bytes(40), pictures.SECRET * 3, b"\xff\xff\xff\xffIDaT", png_chunk(b"tEXt", b"a\0b")[:-1]):
        assert accept_upload(whole[:-12] + junk).data == whole
    for end in range(8, len(whole) - 12):
        assert refusal(whole[:end])[0] == "IMAGE_CORRUPT", end


def test_a_png_without_its_last_row_and_its_end_chunk_is_refused() -> None:
    whole, short = bytes(65 * 64), bytes(65 * 64 - 1)
    assert accept_upload(pictures.png_of_rows(whole)[:-12]).data == pictures.png_of_rows(whole)
    assert refusal(pictures.png_of_rows(short)[:-12])[0] == "IMAGE_CORRUPT"


def test_junk_between_png_chunks_before_the_pixels_is_refused() -> None:
    assert refusal(pictures.with_png_chunks(pictures.png(), pictures.SECRET))[0] == "IMAGE_CORRUPT"


def test_pixels_in_several_chunks_are_joined() -> None:
    whole = pictures.png()
    at = whole.index(b"IDAT")
    body = whole[at + 4 : -16]
    empty, text = png_chunk(b"IDAT"), png_chunk(b"tEXt", b"Comment\0" + pictures.SECRET)
    parts = [png_chunk(b"IDAT", body[start : start + 100]) for start in range(0, len(body), 100)]
    split = whole[: at - 4] + empty + text.join((*parts, empty)) + png_chunk(b"pHYs", bytes(9)) + whole[-12:]
    picture = accept_upload(split)
    assert pictures.SECRET not in picture.data
    assert Image.open(BytesIO(picture.data)).tobytes() == Image.open(BytesIO(whole)).tobytes()
    assert make_thumbnail(picture.data).width == THUMBNAIL_SIZE


# Color profiles


SIZES = [1024 * 1024 - 1, 1024 * 1024 + 1, 4 * 1024 * 1024, MAX_PROFILE_BYTES]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", SIZES)
def test_a_large_profile_of_a_png_is_kept(size: int, orientation: int) -> None:
    profile = pictures.large_profile(size)
    data = pictures.with_png_chunks(
        pictures.png(),
        png_chunk(b"iCCP", iccp(profile)),
        png_chunk(b"eXIf", pictures.tiff(3, bytes((0, orientation)))),
    )
    picture = accept_upload(data)
    assert Image.open(BytesIO(picture.data)).info["icc_profile"] == profile
    assert make_thumbnail(picture.data).width == THUMBNAIL_SIZE


def test_a_profile_over_the_limit_is_dropped_without_inflating_it() -> None:
    for profile in (pictures.large_profile(MAX_PROFILE_BYTES + 1), bytes(300 * 1024 * 1024)):
        data = pictures.with_png_chunks(pictures.png(), png_chunk(b"iCCP", iccp(profile)))
        assert accept_upload(data).data == pictures.png()


@pytest.mark.parametrize("encode", [pictures.jpeg, pictures.webp])
def test_a_large_profile_of_a_jpeg_or_webp_is_kept(encode: Callable[..., bytes]) -> None:
    profile = pictures.large_profile(3 * 1024 * 1024, compressible=False)
    data = encode(icc_profile=profile)
    picture = accept_upload(data)
    assert picture.data == data
    assert Image.open(BytesIO(picture.data)).info["icc_profile"] == profile
    assert make_thumbnail(picture.data).width == THUMBNAIL_SIZE


def profile_parts(*numbers: tuple[int, int]) -> bytes:
    """Return a JPEG whose parts of a profile have these numbers and counts."""
    profile = pictures.srgb_profile()
    pieces = [profile[start : start + 200] for start in range(0, len(profile), 200)]
    assert len(pieces) == 3
    return pictures.with_jpeg_segments(
        pictures.jpeg(),
        *(
            pictures.jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes((number, count)) + pieces[number - 1])
            for number, count in numbers
        ),
    )


def test_a_jpeg_profile_in_parts_is_kept_if_every_part_is_there() -> None:
    for whole in (profile_parts((1, 3), (2, 3), (3, 3)), profile_parts((3, 3), (1, 3), (2, 3))):
        assert accept_upload(whole).data == whole
    without_numbers = pictures.jpeg_segment(0xE2, b"ICC_PROFILE\0")
    whole = profile_parts((1, 3), (2, 3), (3, 3))
    assert accept_upload(pictures.with_jpeg_segments(whole, without_numbers)).data == whole
    for broken in (
        profile_parts((1, 3), (3, 3)),
        profile_parts((1, 3), (2, 3)),
        profile_parts((2, 3)),
        profile_parts((1, 2), (2, 3), (3, 3)),
        profile_parts((1, 3), (2, 3), (2, 3), (3, 3)),
        pictures.with_jpeg_segments(pictures.jpeg(), without_numbers),
        pictures.with_jpeg_segments(
            pictures.jpeg(), *[pictures.jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1abc")] * 300
        ),
    ):
        assert accept_upload(broken).data == pictures.jpeg()


# WebP


def webp_pixels() -> bytes:
    """Return the chunk with the pixels of a simple WebP."""
    return pictures.webp()[12:]


def test_broken_parts_of_a_webp_are_dropped() -> None:
    header, pixels = pictures.webp_header(48, 32, 0x2C), webp_pixels()
    profile = webp_chunk(b"ICCP", pictures.srgb_profile())
    plain = pictures.webp_of(pictures.webp_header(48, 32), pixels)
    exif, xmp = webp_chunk(b"EXIF", pictures.SECRET), webp_chunk(b"XMP ", pictures.SECRET)
    for data in (
        pictures.webp_of(header, webp_chunk(b"ICCP", b"not a profile"), pixels),
        pictures.webp_of(header, pixels, exif, exif, xmp, xmp),
        pictures.webp_of(header, pixels, webp_chunk(b"sECR", pictures.SECRET)),
        pictures.webp_of(header, webp_chunk(b"sECR", b""), pixels, exif[:-9]),
        pictures.webp_of(header, pixels, b"EXIF"),
        pictures.webp_of(header, pixels, b"X"),
        pictures.webp_of(header, pixels, b"\0\0\0"),
        pictures.webp_of(header, pixels, bytes(99)),
        pictures.webp_of(header, pixels, exif)[:-20],
        pictures.webp_of(header, pixels, xmp) + pictures.SECRET,
    ):
        assert accept_upload(data).data == plain
    twice = pictures.webp_of(header, profile, profile, pixels)
    once = pictures.webp_of(pictures.webp_header(48, 32, 0x20), profile, pixels)
    assert accept_upload(twice).data == once


def test_a_webp_whose_pixels_have_a_wrong_length_is_refused() -> None:
    """Otherwise, what counts as pixels could have the beginning of the metadata."""
    pixels, exif = webp_pixels(), webp_chunk(b"EXIF", pictures.SECRET * 4)
    for removed in (1, 2, 9):
        data = pictures.webp_of(pictures.webp_header(48, 32), pixels[: 100 - removed] + pixels[100:], exif)
        assert refusal(data)[0] == "IMAGE_CORRUPT"


@pytest.mark.parametrize(
    "data",
    [
        PALETTE_PNG[:33] + PALETTE_PNG[PALETTE_PNG.index(b"IDAT") - 4 :],
        pictures.with_png_chunks(PALETTE_PNG, png_chunk(b"PLTE", bytes(3))),
        pictures.with_png_chunks(PALETTE_PNG, png_chunk(b"PLTE", bytes(4))),
        pictures.with_png_chunks(PALETTE_PNG, png_chunk(b"PLTE")),
        PALETTE_PNG[:-12] + png_chunk(b"PLTE", bytes(3)) + PALETTE_PNG[-12:],
    ],
    ids=["none", "two", "half a color", "empty", "after the pixels"],
)
def test_a_png_whose_palette_is_broken_is_refused(data: bytes) -> None:
    assert refusal(data)[0] == "IMAGE_CORRUPT"


def test_a_palette_that_decoders_do_not_need_is_kept_only_if_it_is_whole() -> None:
    suggested = pictures.with_png_chunks(pictures.png(), png_chunk(b"PLTE", bytes(6)))
    assert accept_upload(suggested).data == suggested
    for broken in (bytes(7), b"", bytes(3 * 257)):
        data = pictures.with_png_chunks(pictures.png(), png_chunk(b"PLTE", broken))
        assert accept_upload(data).data == pictures.png()
    gray = pictures.png(pictures.scene().convert("L"))
    assert accept_upload(pictures.with_png_chunks(gray, png_chunk(b"PLTE", bytes(6)))).data == gray


def test_a_webp_needs_its_pixels_to_the_last_byte() -> None:
    whole = pictures.webp_of(pictures.webp_header(48, 32), webp_pixels(), webp_chunk(b"EXIF", bytes(9)))
    pixels_end = whole.index(b"EXIF")
    for end in range(12, pixels_end - 1):
        assert refusal(whole[:end])[0] == "IMAGE_CORRUPT", end
    for end in range(pixels_end, len(whole)):
        assert accept_upload(whole[:end]).data == accept_upload(whole).data
