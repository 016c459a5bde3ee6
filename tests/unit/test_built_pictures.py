"""Thumbnails and reference pictures have the colors that the uploaded file describes.

Hypothesis builds PNG, JPEG and WebP files from choices of their parts. Two judges that share no code with
the service say what must come out: `tests/expected_colors.py` for colors and for the samples of a
PNG, and libvips for the pixels of a JPEG or WebP.

Tolerances, in levels of 255:

- A reference picture is within 1 of the exact value, because the service rounds once more: to float32, or to
  8 bits before a white background. Behind an ICC profile, a picture of up to 8 bits is within 2, because
  LittleCMS also rounds its matrix and curves.
- A thumbnail is a lossy WebP. So the expected thumbnail is coded the same way, and compared by its mean and
  by 99 % of its pixels. The coder may place a difference of 1 elsewhere, and one level of 8 bits in the dark
  of a linear profile is 13 levels of sRGB.
- A turned JPEG or lossy WebP is coded again, so the mean of its pixels may move by 2. Its thumbnail and its
  reference picture must be those of the stored file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from avatar_creator_server.images.processing import THUMBNAIL_SIZE, accept_upload, decode, make_thumbnail
from tests import expected_colors as colors
from tests import pictures, png_reference
from tests.built_pictures import (
    PROFILES,
    UploadedPhoto,
    UploadedPng,
    code_points_chunk,
    content,
    gamma_chunk,
    jpeg_files,
    png_files,
    profile_chunk,
    webp_files,
)
from tests.expected_colors import GRAY, RGB, Conversion, Floats
from tests.png_reference import CHANNELS, Array, Decoded

ANY_PICTURE = settings(max_examples=120, deadline=None, derandomize=True, print_blob=True)
"""Hypothesis settings of these tests: the same examples in every run."""

EXACT, THROUGH_PROFILE, CODED_AGAIN = 1.01, 2.01, 2.0
MEAN_OF_THUMBNAIL, MOST_OF_THUMBNAIL = 1.5, 13.0
"""Maximum of the mean, and of 99 % of the differences of a thumbnail."""


def turned(values: Array, orientation: int) -> Array:
    """Return pixels turned upright: the first row is the top, the first column the left (CIPA DC-008)."""
    if orientation >= 5:
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


# Comparisons


def reference(data: bytes) -> Floats:
    """Return the reference picture that the service makes."""
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image, np.float64)


def rgba(data: bytes) -> Floats:
    """Return the pixels of a WebP."""
    return np.asarray(Image.open(BytesIO(data)).convert("RGBA"), np.float64)


def coded_as_thumbnail(expected: Floats) -> Floats:
    """Return a square after the coding that thumbnails have."""
    pixels = np.rint(expected).astype(np.uint8)
    image = Image.fromarray(
        pixels if (expected[..., 3] < 255).any() else np.ascontiguousarray(pixels[..., :3])
    )
    buffer = BytesIO()
    image.save(buffer, "WEBP", quality=85, method=4)
    return rgba(buffer.getvalue())


def on_white(pixels: Floats) -> Floats:
    """Return RGBA on white."""
    shown = pixels[..., 3:] / 255
    return pixels[..., :3] * shown + 255 * (1 - shown)


def require_thumbnail(data: bytes, signals: Floats, opacity: Floats, convert: Conversion) -> None:
    """Check the colors and the transparency of the thumbnail of a stored picture."""
    thumbnail = make_thumbnail(data)
    assert (thumbnail.content_type, thumbnail.width, thumbnail.height) == ("image/webp", 300, 300)
    shown = rgba(thumbnail.data)
    expected = coded_as_thumbnail(colors.square(signals, opacity, convert, THUMBNAIL_SIZE))
    for one, other in ((on_white(shown), on_white(expected)), (shown[..., 3], expected[..., 3])):
        difference = np.abs(one - other)
        assert difference.mean() <= MEAN_OF_THUMBNAIL, difference.mean()
        assert np.quantile(difference, 0.99) <= MOST_OF_THUMBNAIL, np.quantile(difference, 0.99)


# PNG


@ANY_PICTURE
@given(png_files())
def test_a_png_of_any_parts_has_its_colors_and_keeps_its_depth(uploaded: UploadedPng) -> None:
    picture = accept_upload(uploaded.data)
    samples = turned(uploaded.raw.samples, uploaded.orientation)
    stored = png_reference.decode(picture.data)
    assert (picture.height, picture.width) == samples.shape[:2]
    assert (stored.depth, stored.color_type) == (uploaded.raw.depth, uploaded.raw.color_type)
    assert np.array_equal(stored.samples, samples)
    assert pictures.SECRET not in picture.data
    facts = dict(uploaded.raw.chunks)
    if b"pHYs" in facts and uploaded.orientation >= 5:
        facts[b"pHYs"] = facts[b"pHYs"][4:8] + facts[b"pHYs"][:4] + facts[b"pHYs"][8:]
    assert list(stored.chunks.items())[1:-1] == list(facts.items())

    raw = Decoded(stored.depth, stored.color_type, 0, samples, facts)
    convert = colors.png_conversion(raw)
    signals, opacity = colors.png_signals(raw)
    expected = colors.on_white(signals, opacity, convert)
    tolerance = THROUGH_PROFILE if b"iCCP" in raw.chunks and raw.depth < 16 else EXACT
    assert np.abs(reference(picture.data) - expected).max() <= tolerance
    require_thumbnail(picture.data, signals, opacity, convert)


# JPEG and WebP


def pixels_by_vips(data: bytes) -> tuple[Floats, Floats, bool]:
    """Return the signals and the opacity of a file as libvips decodes it, and whether the file is gray."""
    image = pyvips.Image.new_from_buffer(data, "")
    values = np.asarray(image.numpy(), np.float64).reshape(image.height, image.width, -1) / 255
    opacity = values[..., -1] if image.hasalpha() else np.ones(values.shape[:2])
    signals = np.broadcast_to(values[..., : 1 if image.bands < 3 else 3], (*values.shape[:2], 3))
    return signals, opacity, image.bands < 3


@settings(ANY_PICTURE, max_examples=60)
@given(st.one_of(jpeg_files(), webp_files()))
def test_a_jpeg_or_webp_of_any_parts_has_the_colors_of_its_profile(uploaded: UploadedPhoto) -> None:
    picture = accept_upload(uploaded.data)
    assert pictures.SECRET not in picture.data
    signals, opacity, is_gray = pixels_by_vips(uploaded.data)
    signals, opacity = turned(signals, uploaded.orientation), turned(opacity, uploaded.orientation)
    assert (picture.height, picture.width) == opacity.shape
    convert = uploaded.profile and colors.profile_conversion(uploaded.profile, is_gray=is_gray)
    convert = convert or colors.unchanged
    if uploaded.orientation != 1 and not uploaded.exact:
        stored_signals, opacity, _ = pixels_by_vips(picture.data)
        assert 255 * np.abs(stored_signals - signals).mean() <= CODED_AGAIN
        signals = stored_signals
    difference = np.abs(reference(picture.data) - colors.on_white(signals, opacity, convert))
    assert difference.max() <= THROUGH_PROFILE
    require_thumbnail(picture.data, signals, opacity, convert)


@pytest.mark.parametrize("encode", [pictures.png, pictures.jpeg, pictures.webp])
@pytest.mark.parametrize("profile", ["p3", "adobe", "linear"])
def test_a_profile_gives_the_colors_that_libvips_computes(encode: Callable[..., bytes], profile: str) -> None:
    picture = accept_upload(encode(icc_profile=PROFILES[profile]))
    image = pyvips.Image.new_from_buffer(picture.data, "").icc_transform("srgb", embedded=True)
    expected = np.asarray(image.numpy(), np.float64)
    assert np.abs(reference(picture.data) - expected).max() <= THROUGH_PROFILE


# Examples

SIZE = 64


def stored(samples: Array, depth: int, color_type: int, *chunks: bytes) -> bytes:
    """Return the stored file of a PNG with these chunks."""
    data = png_reference.build(samples, depth, color_type, before=b"".join(chunks))
    return accept_upload(data).data


def flat(*values: int) -> Array:
    """Return samples of one color."""
    return np.broadcast_to(np.array(values), (SIZE, SIZE, len(values)))


def ramp(most: int, channels: int = 1) -> Array:
    """Return samples that grow from 0 on the left to the largest value on the right."""
    row = np.rint(np.linspace(0, most, SIZE)).astype(np.int64)
    return np.broadcast_to(row[:, np.newaxis], (SIZE, SIZE, channels))


def middle(data: bytes) -> tuple[int, ...]:
    """Return the pixel in the middle of a stored picture's reference picture."""
    pixel = decode(data).getpixel((SIZE // 2, SIZE // 2))
    assert isinstance(pixel, tuple)
    return pixel


def middle_of_thumbnail(data: bytes) -> tuple[int, ...]:
    """Return the pixel, with its opacity, in the middle of a thumbnail."""
    red, green, blue, alpha = rgba(make_thumbnail(data).data)[THUMBNAIL_SIZE // 2, THUMBNAIL_SIZE // 2]
    return int(red), int(green), int(blue), int(alpha)


@pytest.mark.parametrize(
    ("color_type", "chunk"),
    [
        (GRAY, gamma_chunk(1.0)),
        (GRAY, code_points_chunk(1, 8)),
        (GRAY, profile_chunk(colors.gray_icc_profile(1.0))),
        (RGB, profile_chunk(PROFILES["linear"])),
    ],
    ids=["gamma", "code points", "gray profile", "profile"],
)
def test_a_dark_linear_picture_of_16_bits_has_no_bands(color_type: int, chunk: bytes) -> None:
    samples = ramp(1024, CHANNELS[color_type])
    shown = np.asarray(decode(stored(samples, 16, color_type, chunk)))[0, :, 0]
    expected = 255 * colors.encoded_srgb(samples[0, :, 0] / 65_535)
    assert np.abs(shown - expected).max() <= EXACT
    assert len(np.unique(shown)) > 30, "8 bits would leave 5 levels"


def parametric_curve(function: int, *parameters: float) -> bytes:
    """Return the tag of a curve by one of ICC's functions."""
    numbers = (round(value * 65_536) for value in parameters)
    return b"para" + struct.pack(f">IHH{len(parameters)}i", 0, function, 0, *numbers)


def sampled_curve(values: Array) -> bytes:
    """Return the tag of a curve by its values from 0 to 1."""
    return b"curv" + struct.pack(
        f">II{len(values)}H", 0, len(values), *(np.rint(values * 65_535).astype(int))
    )


CURVES = {
    "no values": sampled_curve(np.zeros(0)),
    "gamma": colors.gamma_curve(1.8),
    "two values": sampled_curve(np.array([0.0, 1.0])),
    "values": sampled_curve(np.linspace(0, 1, 65) ** 2.4),
    "function 0": parametric_curve(0, 2.4),
    "function 1": parametric_curve(1, 2.0, 1.1, -0.1),
    "function 2": parametric_curve(2, 2.0, 0.95, -0.1, 0.05),
    "function 3": parametric_curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "function 4": parametric_curve(4, 2.4, 1 / 1.055, 0.055 / 1.055, 0.08, 0.04045, 0.0, 0.0),
}


@pytest.mark.parametrize("curve", CURVES)
def test_a_profile_gives_8_and_16_bits_the_same_colors(curve: str) -> None:
    """LittleCMS converts 8 bits, and the service itself 16."""
    samples = content(8, 40, 40, 3, 255, smooth=True)
    profile = colors.icc_profile(colors.DISPLAY_P3, curve=CURVES[curve])
    eight, sixteen = (
        reference(stored(samples * scale, depth, RGB, profile_chunk(profile)))
        for depth, scale in ((8, 1), (16, 257))
    )
    assert np.abs(eight - sixteen).max() <= THROUGH_PROFILE


@pytest.mark.parametrize("damage", [b"rXYZ", b"rTRC", b"XYZ ", b"curv"])
def test_a_profile_of_16_bits_without_one_of_its_parts_is_ignored(damage: bytes) -> None:
    samples = content(9, 12, 12, 3, 65_535, smooth=True)
    profile = PROFILES["p3"].replace(damage, b"gone")
    plain = reference(stored(samples, 16, RGB))
    assert np.abs(reference(stored(samples, 16, RGB, profile_chunk(profile))) - plain).max() <= EXACT


@pytest.mark.parametrize("transfer", colors.LIGHT)
@pytest.mark.parametrize("primaries", colors.PRIMARIES)
@pytest.mark.parametrize("full_range", [0, 1])
def test_every_number_of_a_color_space_counts(primaries: int, transfer: int, full_range: int) -> None:
    samples = content(10, 16, 16, 3, 65_535, smooth=True)
    data = stored(samples, 16, RGB, code_points_chunk(primaries, transfer, full_range=full_range))
    raw = png_reference.decode(data)
    expected = colors.on_white(*colors.png_signals(raw), colors.png_conversion(raw))
    assert np.abs(reference(data) - expected).max() <= EXACT


def test_white_of_high_range_is_white_and_dark_colors_stay() -> None:
    """PQ's 58 % and HLG's 75 % are SDR white (BT.2408); a highlight is compressed into the space above."""
    for transfer, white in ((colors.PQ, 0.5807), (colors.HLG, 0.75)):
        shown = middle(stored(flat(*[round(white * 65_535)] * 3), 16, RGB, code_points_chunk(9, transfer)))
        assert 240 <= min(shown) <= max(shown) <= 250
        shown = middle(stored(flat(65_535, 65_535, 65_535), 16, RGB, code_points_chunk(9, transfer)))
        assert shown == (255, 255, 255)
    quarter = round(0.4403 * 65_535)  # 50 cd/m2 in PQ, a quarter of SDR white.
    shown = middle(stored(flat(quarter, quarter, quarter), 16, RGB, code_points_chunk(9, colors.PQ)))
    assert all(abs(value - 136) <= 1 for value in shown)


@pytest.mark.parametrize("depth", [8, 16])
def test_video_levels_become_black_and_white(depth: int) -> None:
    samples = np.hstack([flat(16 << depth - 8)[:, :32], flat(235 << depth - 8)[:, :32]])
    shown = np.asarray(decode(stored(samples, depth, GRAY, code_points_chunk(1, 13, full_range=0))))
    assert (shown[0, 0].tolist(), shown[0, -1].tolist()) == ([0] * 3, [255] * 3)


@pytest.mark.parametrize("size", [1024 * 1024 - 1, 1024 * 1024 + 1, 3 * 1024 * 1024])
def test_a_large_profile_is_applied(size: int) -> None:
    """Use the profile of sRGB with red and green swapped, and much private data."""
    renamed = pictures.large_profile(size).replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ")
    data = stored(flat(255, 0, 0), 8, RGB, profile_chunk(renamed.replace(b"????", b"gXYZ")))
    assert middle(data)[1] > 250 > 5 > middle(data)[0]
    assert middle_of_thumbnail(data)[1] > 240 > 20 > middle_of_thumbnail(data)[0]
