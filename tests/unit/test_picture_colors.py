"""Depth, transparency and color space of thumbnails and reference pictures, against a slow decoder."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avatar_creator_server.images.png_samples import read_samples
from avatar_creator_server.images.processing import accept_upload, decode, make_thumbnail
from tests import pictures, png_reference
from tests.pictures import png_chunk, png_chunk_with_wrong_checksum
from tests.png_reference import CHANNELS, KINDS, PRIMARIES, TRANSFERS, Array

DECODED_TOLERANCE = 1.01
"""Largest difference of a channel: both values are rounded, and 32 bits of floating point move a few."""
PROFILE_TOLERANCE = 3.0
"""Largest difference with a profile: little CMS calculates with 16 bits, and its primaries are rounded."""
THUMBNAIL_TOLERANCE = 5.0
"""Largest mean difference of a channel: WebP of quality 85 halves the resolution of colors."""
OPACITY_TOLERANCE = 0.01
"""Largest mean difference of opacity: Pillow rounds to 8 bits between the columns and the rows."""
STEP = 6
"""Distance of the compared pixels of a thumbnail; the slow decoder takes long for each."""

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
    read = read_samples(data)
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


# Any file


@st.composite
def png_files(draw: st.DrawFn) -> bytes:
    """Draw a PNG from choices for each of its chunks."""
    depth, color_type = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    values = np.random.default_rng(draw(st.integers(0, 99)))
    colors = values.integers(1, 2 ** min(depth, 8) + 1) if color_type == 3 else 2**depth
    samples = values.integers(0, colors, (height, width, CHANNELS[color_type]))
    if depth >= 8 and draw(st.booleans()):  # Two colors, so that a key hits many pixels.
        samples = samples[:1, :1] + values.integers(0, 2, (height, width, 1)) * (
            samples[-1:, -1:] - samples[:1, :1]
        )
    facts = [
        draw(st.sampled_from([None, *options]))
        for options in (
            [
                png_chunk(
                    b"cICP",
                    bytes(
                        (
                            draw(st.sampled_from([*PRIMARIES, 2])),
                            draw(st.sampled_from([*TRANSFERS, 2])),
                            draw(st.sampled_from([0, 0, 0, 1])),
                            draw(st.integers(0, 1)),
                        )
                    ),
                ),
                png_chunk_with_wrong_checksum(b"cICP", bytes((9, 16, 0, 1))),
            ],
            [png_chunk(b"iCCP", SWAPPED), png_chunk(b"iCCP", b"icc\0\0broken")],
            [png_chunk(b"sRGB", b"\0"), png_chunk(b"sRGB", b"\x07")],
            [
                gama(45_455),
                gama(100_000),
                gama(30_000),
                gama(0),
                png_chunk_with_wrong_checksum(b"gAMA", bytes(4)),
            ],
            [png_chunk(b"cHRM", P3_CHRM), png_chunk(b"cHRM", SRGB_CHRM), png_chunk(b"cHRM", bytes(32))],
            [
                png_chunk(b"pHYs", struct.pack(">IIB", 1, 2, 0)),
                png_chunk(b"teXt", b"broken"),
                png_chunk(b"tEXt"),
            ],
        )
    ]
    transparency = b""
    if color_type in (0, 2) and draw(st.booleans()):
        transparency = png_chunk(b"tRNS", samples[-1, -1].astype(">u2").tobytes())
    elif color_type == 3 and draw(st.booleans()):
        transparency = png_chunk(b"tRNS", values.bytes(int(values.integers(1, colors + 1))))
    turn = draw(st.sampled_from([None, *range(1, 9)]))
    exif = b"" if turn is None else png_chunk(b"eXIf", pictures.tiff(3, struct.pack(">H", turn)))
    is_first = draw(st.booleans())
    return png_reference.build(
        samples,
        depth,
        color_type,
        interlaced=draw(st.booleans()),
        before=b"".join(fact for fact in draw(st.permutations(facts)) if fact) + (exif if is_first else b""),
        palette=values.bytes(3 * int(colors)) if color_type == 3 else b"",
        after_palette=transparency,
        after=b"" if is_first else exif,
    )


@settings(max_examples=80, deadline=None)
@given(png_files())
def test_any_png_has_the_colors_of_an_independent_decoder(data: bytes) -> None:
    stored = accept_upload(data).data
    reference = png_reference.decode(stored)
    expected = png_reference.on_white(png_reference.colors(reference), png_reference.opacity(reference))
    has_profile = b"iCCP" in reference.chunks
    tolerance = PROFILE_TOLERANCE if has_profile else DECODED_TOLERANCE
    assert np.abs(np.array(decode(stored)) - expected).max() <= tolerance
    thumbnail = (
        np.array(Image.open(BytesIO(make_thumbnail(stored).data)).convert("RGBA"))[::STEP, ::STEP] / 1.0
    )
    rgb, alpha = png_reference.square(reference, 300, STEP)
    assert np.abs(thumbnail[..., 3] / 255 - alpha).mean() <= OPACITY_TOLERANCE
    shown_colors = png_reference.on_white(thumbnail[..., :3], thumbnail[..., 3] / 255)
    difference = np.abs(shown_colors - png_reference.on_white(rgb, alpha))
    assert difference.mean() <= THUMBNAIL_TOLERANCE


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["JPEG", "WEBP", "lossless WebP"]),
    st.sampled_from([None, *range(1, 9)]),
    st.booleans(),
    st.sampled_from(["RGB", "L", "RGBA"]),
    st.sampled_from([(48, 32), (32, 48), (90, 70)]),
)
def test_a_jpeg_or_webp_has_the_colors_of_its_profile(
    kind: str, orientation: int | None, has_profile: bool, mode: str, size: tuple[int, int]
) -> None:
    upright = pictures.scene(*size)
    if mode == "RGBA" and kind != "JPEG":
        upright.putalpha(100)
    elif mode == "L":
        upright = upright.convert("L")
    options: dict[str, Any] = {"icc_profile": pictures.swapped_profile()} if has_profile else {}
    if kind == "lossless WebP":
        options |= {"lossless": True, "exact": True}
    if kind == "JPEG":
        options |= {"subsampling": 0} if mode != "L" else {}
    format = kind.removeprefix("lossless ").upper()
    image = pictures.stored_as(orientation or 1, upright)
    data = pictures.encoded(format, image, quality=95, exif=pictures.exif(orientation), **options)
    stored = accept_upload(data).data
    rgba = np.array(upright.convert("RGBA")).astype(float)
    is_gray_jpeg = kind == "JPEG" and mode == "L"
    # A gray JPEG cannot have a profile of RGB. WebP stores gray as RGB.
    colors: Array = rgba[..., [1, 0, 2]] if has_profile and not is_gray_jpeg else rgba[..., :3]
    expected = png_reference.on_white(colors, rgba[..., 3] / 255)
    # Lossy coding moves the edges of the scene; its mean error here is below 2.
    limit = 1.5 if kind == "lossless WebP" else 4.0
    assert np.abs(np.array(decode(stored)) - expected).mean() <= limit
    thumbnail = Image.open(BytesIO(make_thumbnail(stored).data)).convert("RGBA")
    whole = Image.new("RGB", thumbnail.size, "white")
    whole.paste(thumbnail, mask=thumbnail.getchannel("A"))
    fitted = Image.fromarray(expected.round().astype(np.uint8))
    left, top = (size[0] - min(size)) / 2, (size[1] - min(size)) / 2
    fitted = fitted.resize((300, 300), box=(left, top, left + min(size), top + min(size)))
    assert np.abs(np.array(whole).astype(float) - np.array(fitted)).mean() <= THUMBNAIL_TOLERANCE
