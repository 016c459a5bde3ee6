"""PNG pictures that are turned upright keep their depth, their color type and their facts."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_creator_server.images.png_samples import read_samples
from avatar_creator_server.images.processing import accept_upload
from tests import pictures, png_reference
from tests.pictures import png_chunk
from tests.png_reference import CHANNELS, KINDS, Array

FACTS = {
    b"cICP": bytes((12, 16, 0, 1)),
    b"mDCV": bytes(range(24)),
    b"cLLI": bytes(range(8)),
    b"gAMA": struct.pack(">I", 100_000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
    b"sRGB": b"\0",
    b"iCCP": b"icc\0\0" + zlib.compress(pictures.swapped_profile()),
}
RESOLUTION = struct.pack(">IIB", 2000, 3000, 1)
TURNED_RESOLUTION = struct.pack(">IIB", 3000, 2000, 1)


def upright(samples: Array, orientation: int) -> Array:
    """Return the samples as EXIF says, pixel by pixel: where the first row and the first column are."""
    height, width, channels = samples.shape
    size = (width, height) if orientation >= 5 else (height, width)
    turned = np.zeros((*size, channels), samples.dtype)
    for row in range(height):
        for column in range(width):
            bottom, right = height - 1 - row, width - 1 - column
            place = {
                1: (row, column),
                2: (row, right),
                3: (bottom, right),
                4: (bottom, column),
                5: (column, row),
                6: (column, bottom),
                7: (right, bottom),
                8: (right, row),
            }[orientation]
            turned[place] = samples[row, column]
    return turned


def turned_file(samples: Array, depth: int, color_type: int, orientation: int, interlaced: bool) -> bytes:
    """Return a PNG with this orientation and with every fact, before its pixels."""
    chunks = [png_chunk(kind, body) for kind, body in (FACTS | {b"pHYs": RESOLUTION}).items()]
    exif = png_chunk(b"eXIf", pictures.tiff(3, struct.pack(">H", orientation)))
    if color_type == 3:
        transparency = bytes(range(2**depth))
    else:
        transparency = bytes(2 * CHANNELS[color_type]) if color_type in (0, 2) else b""
    return png_reference.build(
        samples,
        depth,
        color_type,
        interlaced=interlaced,
        before=b"".join(chunks) + exif,
        palette=bytes(range(256)) * 3
        if color_type == 3 and depth == 8
        else bytes(3 * 2**depth)
        if color_type == 3
        else b"",
        after_palette=png_chunk(b"tRNS", transparency) if transparency else b"",
    )


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(("depth", "color_type"), KINDS)
def test_a_turned_png_is_the_same_but_upright(depth: int, color_type: int, orientation: int) -> None:
    samples = np.random.default_rng(depth).integers(0, 2**depth, (5, 7, CHANNELS[color_type]))
    data = turned_file(samples, depth, color_type, orientation, interlaced=orientation % 2 == 0)
    picture = accept_upload(data)
    before, after = png_reference.decode(data), png_reference.decode(picture.data)
    assert (after.samples == upright(samples, orientation)).all()
    assert (after.depth, after.color_type, after.interlace) == (depth, color_type, 0)
    assert (picture.width, picture.height) == after.samples.shape[1::-1]
    resolution = TURNED_RESOLUTION if orientation >= 5 else RESOLUTION
    kept = {kind: body for kind, body in before.chunks.items() if kind not in (b"eXIf", b"IHDR")}
    assert list((kept | {b"pHYs": resolution}).items()) == [*after.chunks.items()][1:]


def test_a_turned_png_is_accepted_as_it_is() -> None:
    samples = np.arange(5 * 7 * 3).reshape(5, 7, 3) * 600
    picture = accept_upload(turned_file(samples, 16, 2, 6, interlaced=True))
    assert accept_upload(picture.data) == picture


def test_a_turned_photograph_does_not_grow() -> None:
    """Expect that the filters of its rows keep it small."""
    photograph = pictures.photograph().resize((600, 400))
    data = pictures.png(photograph, exif=pictures.exif(6))
    assert len(accept_upload(data).data) < 1.1 * len(data)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(2, 8),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_turned_png_of_any_size_has_the_same_samples(
    kind: tuple[int, int], width: int, height: int, orientation: int, interlaced: bool, seed: int
) -> None:
    depth, color_type = kind
    samples = np.random.default_rng(seed).integers(0, 2**depth, (height, width, CHANNELS[color_type]))
    stored = accept_upload(turned_file(samples, depth, color_type, orientation, interlaced)).data
    assert (png_reference.decode(stored).samples == upright(samples, orientation)).all()


def test_a_large_picture_is_turned_in_strips() -> None:
    """Turn more than one strip of rows: the filter of a row needs the row above."""
    samples = np.random.default_rng(1).integers(0, 65536, (900, 1100, 4)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", 1100, 900, 16, 6, 0, 0, 0)
    exif = png_chunk(b"eXIf", pictures.tiff(3, b"\0\3"))
    pixels = png_chunk(b"IDAT", zlib.compress(rows, 1))
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + exif + pixels + png_chunk(b"IEND")
    turned = accept_upload(data).data
    assert accept_upload(turned).data == turned
    back = accept_upload(pictures.with_png_chunks(turned, exif)).data
    again = accept_upload(pictures.with_png_chunks(back, exif)).data
    assert again == turned
    assert np.array_equal(np.concatenate(list(read_samples(back).strips())), samples)
