"""Depth, transparency and color space of thumbnails and reference pictures, by example."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avatar_creator_server.images.png_samples import read_samples
from avatar_creator_server.images.processing import accept_upload, decode, make_thumbnail
from tests import pictures, png_reference
from tests.pictures import png_chunk, png_chunk_with_wrong_checksum
from tests.png_reference import CHANNELS, KINDS

P3_CHRM = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB_CHRM = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
SWAPPED = b"icc\0\0" + zlib.compress(pictures.swapped_profile())


def gama(value: int) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", value))


def flat(depth: int, color_type: int, pixel: tuple[int, ...], *chunks: bytes, **options: Any) -> bytes:
    """Return a PNG of one color with these chunks before its palette."""
    samples = np.broadcast_to(np.array(pixel), (6, 6, len(pixel)))
    return png_reference.build(samples, depth, color_type, before=b"".join(chunks), **options)


def shown(data: bytes) -> tuple[int, ...]:
    """Return the color of the reference picture, after checking that the thumbnail has the same."""
    stored = accept_upload(data).data
    pixel = decode(stored).getpixel((3, 3))
    assert isinstance(pixel, tuple)
    thumbnail = Image.open(BytesIO(make_thumbnail(stored).data)).convert("RGB")
    assert np.abs(np.array(thumbnail)[150, 150] - np.array(pixel, float)).max() <= 4  # WebP is lossy
    return pixel


def close(pixel: tuple[int, ...], expected: tuple[int, int, int], tolerance: int = 1) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, expected, strict=True))


# Samples


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("depth", "color_type"), KINDS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (13, 11)])
def test_samples_are_read_at_their_own_depth(
    depth: int, color_type: int, width: int, height: int, interlaced: bool
) -> None:
    draw = np.random.default_rng(width)
    samples = draw.integers(0, 2**depth, (height, width, CHANNELS[color_type]))
    data = png_reference.build(
        samples, depth, color_type, interlaced=interlaced, palette=bytes(768) if color_type == 3 else b""
    )
    read = np.concatenate(list(read_samples(data).strips()))
    assert read.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert (read == samples).all()
    assert (png_reference.decode(data).samples == samples).all()


# Transparency


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("depth", "color_type"), [kind for kind in KINDS if kind[1] in (0, 2)])
def test_pixels_of_the_transparent_color_are_transparent(
    depth: int, color_type: int, interlaced: bool
) -> None:
    highest = 2**depth - 1
    samples = np.zeros((24, 24, CHANNELS[color_type]), np.int64)
    samples[:, 12:] = key = highest // 2 + 1
    # In 16 bits, a neighbor of the key differs in its low byte only. Unused bits of a key count as 0.
    samples[:8, 12:] = key + (1 if highest > key else -1)
    unused = 0xA500 if depth == 8 else 0
    body = struct.pack(">H", key | unused) * CHANNELS[color_type]
    data = png_reference.build(
        samples, depth, color_type, after_palette=png_chunk(b"tRNS", body), interlaced=interlaced
    )
    stored = accept_upload(data).data
    thumbnail = np.array(Image.open(BytesIO(make_thumbnail(stored).data)).convert("RGBA"))
    # Lanczos mixes three pixels on each side of an edge.
    assert (thumbnail[140:, 190:, 3] == 0).all()
    assert (thumbnail[:, :110, 3] == 255).all()
    assert (thumbnail[:60, 190:, 3] == 255).all()
    decoded = np.array(decode(stored))
    assert (decoded[8:, 12:] == 255).all()
    assert (decoded[:, :12] == 0).all()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("color_type", [4, 6])
def test_an_alpha_channel_keeps_its_value(depth: int, color_type: int) -> None:
    highest = 2**depth - 1
    half = highest // 2
    data = flat(depth, color_type, (0,) * (CHANNELS[color_type] - 1) + (half,))
    assert close(decode(accept_upload(data).data).getpixel((3, 3)), (128, 128, 128))  # type: ignore[arg-type]
    thumbnail = Image.open(BytesIO(make_thumbnail(accept_upload(data).data).data))
    assert abs(thumbnail.getpixel((150, 150))[3] - 127.5) <= 1  # type: ignore[index]


@pytest.mark.parametrize("color_type", [0, 4])
def test_a_gray_profile_counts_with_transparency(color_type: int) -> None:
    """Convert 55 of 255, which is 128 in sRGB, with a profile of linear gray."""
    chunks = (png_chunk(b"iCCP", b"gray\0\0" + zlib.compress(linear_gray_profile())),)
    transparency = png_chunk(b"tRNS", b"\0\1") if color_type == 0 else b""
    pixel = (55,) if color_type == 0 else (55, 255)
    assert close(shown(flat(8, color_type, pixel, *chunks, after_palette=transparency)), (128, 128, 128), 2)


def linear_gray_profile() -> bytes:
    """Return an ICC profile of gray with a gamma of 1, white D50."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    table = (
        struct.pack(">I", 2) + struct.pack(">4sII", b"wtpt", 156, 20) + struct.pack(">4sII", b"kTRC", 176, 12)
    )
    header = (
        struct.pack(">I4sI4s4s4s", 188, b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + white + curve


# Color spaces

DISPLAY_P3 = png_chunk(b"cICP", bytes((12, 13, 0, 1)))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("p3", "srgb"),
    [((234, 51, 35), (255, 0, 0)), ((117, 251, 76), (0, 255, 0)), ((128, 128, 128), (128, 128, 128))],
)
@pytest.mark.parametrize("chunks", [DISPLAY_P3, png_chunk(b"cHRM", P3_CHRM)], ids=["cICP", "cHRM"])
def test_display_p3_becomes_srgb(
    p3: tuple[int, ...], srgb: tuple[int, int, int], depth: int, chunks: bytes
) -> None:
    """Use the red and green of sRGB in Display P3 (CSS Color 4): (234, 51, 35) and (117, 251, 76)."""
    pixel = p3 if depth == 8 else tuple(257 * value for value in p3)
    # Near 0, one step of P3 is up to ten steps of sRGB.
    assert close(shown(flat(depth, 2, pixel, chunks)), srgb, 10)


@pytest.mark.parametrize(
    ("chunk", "signal", "expected"),
    [
        (gama(100_000), 0.2159, 128),
        (gama(45_455), 0.2, 51),
        (gama(55_000), 0.5, 145),
        (png_chunk(b"cICP", bytes((1, 8, 0, 1))), 0.2159, 128),
        (png_chunk(b"cICP", bytes((9, 16, 0, 1))), 0.5807, 247),  # 203 cd/m2
        (png_chunk(b"cICP", bytes((9, 16, 0, 1))), 0.5081, 186),  # 100 cd/m2
        (png_chunk(b"cICP", bytes((9, 16, 0, 1))), 0.7518, 255),  # 1,000 cd/m2
        (png_chunk(b"cICP", bytes((9, 18, 0, 1))), 0.75, 247),  # 203 cd/m2
        (png_chunk(b"cICP", bytes((9, 18, 0, 1))), 1.0, 255),
        (png_chunk(b"cICP", bytes((1, 13, 0, 0))), 16 / 255, 0),
        (png_chunk(b"cICP", bytes((1, 13, 0, 0))), 235 / 255, 255),
        (png_chunk(b"cICP", bytes((11, 17, 0, 1))), 1.0, 255),
    ],
)
@pytest.mark.parametrize("color_type", [0, 2, 6])
def test_a_gray_has_the_light_that_its_color_space_says(
    chunk: bytes, signal: float, expected: int, color_type: int
) -> None:
    value = round(signal * 65535)
    pixel = (value,) * min(CHANNELS[color_type], 3) + ((65535,) if color_type == 6 else ())
    assert close(shown(flat(16, color_type, pixel, chunk)), (expected, expected, expected), 2)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((DISPLAY_P3, png_chunk(b"iCCP", SWAPPED), gama(100_000)), (215, 93, 31)),
        ((png_chunk(b"iCCP", SWAPPED), gama(100_000)), (100, 200, 50)),
        ((png_chunk(b"sRGB", b"\0"), gama(100_000), png_chunk(b"cHRM", P3_CHRM)), (200, 100, 50)),
        ((gama(45_455), png_chunk(b"cHRM", SRGB_CHRM)), (200, 100, 50)),
        ((gama(1), png_chunk(b"cHRM", bytes(32))), (200, 100, 50)),
        ((png_chunk(b"cICP", bytes((12, 13, 1, 1))),), (200, 100, 50)),
        ((png_chunk(b"cICP", bytes((2, 13, 0, 1))), png_chunk(b"iCCP", SWAPPED)), (100, 200, 50)),
        ((png_chunk(b"cICP", bytes((12, 2, 0, 1))), gama(100_000)), (228, 168, 122)),
        ((png_chunk(b"cICP", bytes((1, 13, 0, 1))), png_chunk(b"iCCP", SWAPPED)), (200, 100, 50)),
        ((png_chunk_with_wrong_checksum(b"cICP", bytes((12, 13, 0, 1))),), (200, 100, 50)),
        ((png_chunk(b"cHRM", SRGB_CHRM[:8] * 4),), (200, 100, 50)),
    ],
    ids=[
        "cICP before all",
        "iCCP before gAMA",
        "sRGB before gAMA",
        "sRGB as gAMA and cHRM",
        "absurd values",
        "cICP with a matrix",
        "unspecified primaries",
        "unspecified transfer",
        "cICP of sRGB before iCCP",
        "cICP with a wrong checksum",
        "no primaries",
    ],
)
def test_the_first_usable_fact_gives_the_color_space(
    chunks: tuple[bytes, ...], expected: tuple[int, int, int]
) -> None:
    assert close(shown(flat(8, 2, (200, 100, 50), *chunks)), expected, 2)


def test_a_profile_that_does_not_fit_leaves_the_next_fact() -> None:
    chunks = (png_chunk(b"iCCP", SWAPPED), gama(100_000))
    assert close(shown(flat(8, 0, (55,), *chunks)), (128, 128, 128))


def test_a_picture_in_srgb_has_the_same_thumbnail_with_and_without_the_facts() -> None:
    plain = pictures.png()
    facts = gama(45_455) + png_chunk(b"cHRM", SRGB_CHRM) + png_chunk(b"sRGB", b"\0")
    stored = accept_upload(pictures.with_png_chunks(plain, facts)).data
    assert stored != plain
    assert make_thumbnail(stored) == make_thumbnail(plain)


def test_the_facts_about_brightness_are_kept() -> None:
    brightness = png_chunk(b"mDCV", bytes(range(24))) + png_chunk(b"cLLI", bytes(range(8)))
    data = pictures.with_png_chunks(pictures.png(), DISPLAY_P3, brightness)
    assert accept_upload(data).data == data
