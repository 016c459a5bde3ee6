"""Picture files built from choices of their parts, as Hypothesis strategies.

A file has any color type and depth, color facts, transparency, orientation and broken parts. Each strategy
also returns the facts that the service must keep.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from tests import expected_colors as colors
from tests import pictures, png_reference
from tests.expected_colors import GRAY, PALETTE, RGB, Primaries
from tests.pictures import png_chunk, png_chunk_with_wrong_checksum
from tests.png_reference import CHANNELS, KINDS, Array, Decoded

INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}
"""Struct format of each TIFF type of whole numbers: BYTE, SHORT, LONG, their signed forms, IFD and LONG8."""


def gamma_chunk(gamma: float) -> bytes:
    """Return the chunk of a gamma, for example 0.45455."""
    return png_chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def primaries_chunk(primaries: Primaries) -> bytes:
    """Return the chunk of the primaries and white."""
    points = (primaries.white, primaries.red, primaries.green, primaries.blue)
    return png_chunk(
        b"cHRM", struct.pack(">8I", *(round(value * 100_000) for point in points for value in point))
    )


def code_points_chunk(primaries: int, transfer: int, matrix: int = 0, full_range: int = 1) -> bytes:
    """Return the chunk of numbers from H.273."""
    return png_chunk(b"cICP", bytes((primaries, transfer, matrix, full_range)))


def profile_chunk(profile: bytes) -> bytes:
    """Return the chunk of an ICC profile."""
    return png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))


POINT = Primaries((0.3, 0.3), (0.3, 0.3), (0.3, 0.3))
"""Primaries that no display can have."""


PROFILES = {
    "p3": colors.icc_profile(colors.DISPLAY_P3, 2.2),
    "adobe": colors.icc_profile(colors.ADOBE_RGB, 2.19921875),
    "linear": colors.icc_profile(colors.SRGB, 1.0),
    "gray": colors.gray_icc_profile(1.8),
}


COLOR_CHUNKS: dict[str, bytes] = {
    "linear": gamma_chunk(1.0),
    "mac": gamma_chunk(1 / 1.8),
    "srgb gamma": gamma_chunk(0.45455),
    "p3 primaries": primaries_chunk(colors.DISPLAY_P3),
    "pal primaries": primaries_chunk(Primaries((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), (0.3457, 0.3585))),
    "srgb": png_chunk(b"sRGB", b"\0"),
    **{f"profile {name}": profile_chunk(profile) for name, profile in PROFILES.items()},
}


WITHOUT_MEANING: dict[str, bytes] = {
    "text": png_chunk(b"tEXt", b"Comment\0" + pictures.SECRET),
    "broken text": png_chunk_with_wrong_checksum(b"tEXt", b"Comment\0" + pictures.SECRET),
    "broken gamma": png_chunk_with_wrong_checksum(b"gAMA", struct.pack(">I", 300_000)),
    "short gamma": png_chunk(b"gAMA", b"\1"),
    "no gamma": gamma_chunk(0),
    "broken profile": png_chunk(b"iCCP", b"icc\0\0" + bytes(9)),
    "short cicp": png_chunk(b"cICP", b"\x0c"),
    "private": png_chunk(b"prVt", pictures.SECRET),
}
"""Chunks that change no color: they say nothing about colors, or are broken."""


@st.composite
def code_points(draw: st.DrawFn) -> bytes:
    """Return numbers from H.273; some are reserved, or not allowed in a PNG."""
    primaries = draw(st.sampled_from([*colors.PRIMARIES, 2, 200]))
    transfer = draw(st.sampled_from([*colors.LIGHT, 2]))
    matrix = draw(st.sampled_from([0, 0, 0, 0, 1]))
    return code_points_chunk(primaries, transfer, matrix, draw(st.sampled_from([1, 1, 0])))


@st.composite
def color_chunks(draw: st.DrawFn) -> list[bytes]:
    """Return up to four chunks that describe colors or are broken, at most one of a kind, in any order."""
    return draw(
        st.lists(
            st.one_of(code_points(), st.sampled_from([*COLOR_CHUNKS.values(), primaries_chunk(POINT)])),
            max_size=4,
            unique_by=lambda chunk: chunk[4:8],
        )
    )


def content(seed: int, width: int, height: int, channels: int, most: int, *, smooth: bool) -> Array:
    """Return samples from 0 to `most`: a gradient between random corners, or blocks of random values."""
    random = np.random.default_rng(seed)
    if not smooth:
        blocks = random.integers(0, most + 1, (2, 2, channels))
        return np.asarray(blocks[np.arange(height)[:, None] * 2 // height, np.arange(width) * 2 // width])
    down, right = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[:, None]
    one, two, three, four = random.integers(0, most + 1, (4, channels))
    values = (one * (1 - right) + two * right) * (1 - down) + (three * (1 - right) + four * right) * down
    return np.asarray(np.rint(values), np.int64)


@dataclass(frozen=True)
class UploadedPng:
    """A PNG of chosen parts, with the facts that the service must keep."""

    data: bytes
    raw: Decoded
    """Its samples as they are coded, and the chunks besides its header that decoders use."""
    orientation: int


@st.composite
def png_files(draw: st.DrawFn) -> UploadedPng:
    """Return a PNG of any color type and depth, with any color facts, orientation and broken parts."""
    depth, color_type = draw(st.sampled_from(KINDS))
    width, height = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    most = 2**depth - 1
    seed = draw(st.integers(0, 10_000))
    smooth = color_type != PALETTE and draw(st.booleans())
    samples = content(seed, width, height, CHANNELS[color_type], most, smooth=smooth)

    meaningful = draw(color_chunks())
    noise = draw(st.lists(st.sampled_from(list(WITHOUT_MEANING.values())), max_size=3))
    before_palette = draw(st.permutations([*meaningful, *noise]))

    palette, after_palette = b"", []
    if color_type == PALETTE:
        random = np.random.default_rng(seed + 1)
        count = int(samples.max()) + 1
        palette = random.bytes(3 * count)
        if draw(st.booleans()):
            after_palette.append(png_chunk(b"tRNS", random.bytes(draw(st.integers(1, count)))))
    elif color_type in (GRAY, RGB) and draw(st.booleans()):
        key = samples[height // 2, width // 2].astype(np.uint16)
        if depth < 16 and draw(st.booleans()):
            key = key | 0xA500  # Decoders must mask the bits that a sample does not have.
        after_palette.append(png_chunk(b"tRNS", key.astype(">u2").tobytes()))
    if draw(st.booleans()):
        after_palette.append(png_chunk(b"pHYs", struct.pack(">IIB", 2000, 1000, 1)))

    orientation, exif = draw(orientations())
    place = draw(st.sampled_from(["first", "last", "after pixels"]))
    exif_chunks = [png_chunk(b"eXIf", exif)] if exif else []
    before = [*exif_chunks, *before_palette] if place == "first" else before_palette
    data = png_reference.build(
        samples,
        depth,
        color_type,
        interlaced=draw(st.booleans()),
        before=b"".join(before),
        palette=palette,
        after_palette=b"".join([*after_palette, *exif_chunks] if place == "last" else after_palette),
        after=b"".join(exif_chunks) if place == "after pixels" else b"",
    )
    facts = [chunk for chunk in before_palette if chunk not in WITHOUT_MEANING.values()]
    facts += [*([png_chunk(b"PLTE", palette)] if palette else []), *after_palette]
    kept = {chunk[4:8]: chunk[8:-4] for chunk in facts}
    return UploadedPng(data, Decoded(depth, color_type, 0, samples, kept), orientation)


@st.composite
def orientations(draw: st.DrawFn) -> tuple[int, bytes]:
    """Return an orientation, and an EXIF block that has it as some type of whole number; maybe none."""
    orientation = draw(st.integers(1, 8))
    kind = draw(st.sampled_from([None, *INTEGER_TYPES]))
    if kind is None:
        return 1, b""
    order = draw(st.sampled_from("<>"))
    value = struct.pack(order + INTEGER_TYPES[kind], orientation)
    return orientation, pictures.tiff(kind, value, byte_order=order)


@dataclass(frozen=True)
class UploadedPhoto:
    """A JPEG or WebP of chosen parts."""

    data: bytes
    profile: bytes
    """Its ICC profile, or nothing."""
    orientation: int
    exact: bool
    """True if its pixels are coded without loss."""


def photo_content(draw: st.DrawFn, mode: str) -> Image.Image:
    """Return a gradient, because lossy coding changes it least."""
    size = draw(st.integers(16, 60)), draw(st.integers(16, 60))
    samples = content(
        draw(st.integers(0, 10_000)), *size, len(Image.new(mode, (1, 1)).getbands()), 255, smooth=True
    )
    return Image.fromarray(
        samples.astype(np.uint8).squeeze(axis=-1) if mode == "L" else samples.astype(np.uint8)
    )


@st.composite
def jpeg_files(draw: st.DrawFn) -> UploadedPhoto:
    """Return a gray or colored JPEG with its segments in any order."""
    profile = draw(st.sampled_from([b"", *PROFILES.values()]))
    image = photo_content(draw, draw(st.sampled_from(["L", "RGB"])))
    options = {
        "progressive": draw(st.booleans()),
        "subsampling": draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0"])),
    }
    orientation, exif = draw(orientations())
    segments = draw(
        st.lists(
            st.sampled_from(
                [
                    pictures.jpeg_segment(0xFE, pictures.SECRET),
                    pictures.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + pictures.SECRET),
                    pictures.jpeg_segment(0xED, b"Photoshop 3.0\0" + pictures.SECRET),
                    pictures.jpeg_segment(0xE2, b"MPF\0" + pictures.SECRET),
                    pictures.jpeg_segment(0xE2, b"ICC_PROFILE\0"),  # Without the number of its part.
                    b"" if exif else pictures.jpeg_segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
                ]
            ),
            max_size=3,
        )
    )
    if exif:
        segments.append(pictures.jpeg_segment(0xE1, b"Exif\0\0" + exif))
    if profile:
        segments.append(pictures.jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + profile))
    data = pictures.with_jpeg_segments(pictures.jpeg(image, **options), *draw(st.permutations(segments)))
    return UploadedPhoto(data, profile, orientation, exact=False)


@st.composite
def webp_files(draw: st.DrawFn) -> UploadedPhoto:
    """Return a WebP, opaque or not, whose metadata stand in any order after the pixels."""
    profile = draw(st.sampled_from([b"", *PROFILES.values()]))
    lossless = draw(st.booleans())
    image = photo_content(draw, draw(st.sampled_from(["RGB", "RGBA"])))
    simple = pictures.webp(image, lossless=lossless, exact=True, icc_profile=profile or None)
    orientation, exif = draw(orientations())
    extra = [(b"XMP ", pictures.SECRET), (b"junk", pictures.SECRET)][: draw(st.integers(0, 2))]
    if exif:
        extra.append((b"EXIF", draw(st.sampled_from([b"", b"Exif\0\0"])) + exif))
    data = simple
    if extra and data[12:16] != b"VP8X":
        alpha = 0x10 if image.mode == "RGBA" else 0
        data = pictures.webp_of(pictures.webp_header(*image.size, flags=alpha), data[12:])
    for kind, body in draw(st.permutations(extra)):
        data = pictures.with_webp_chunk(data, kind, body)
    return UploadedPhoto(data, profile, orientation, exact=lossless)
