"""Samples of stored PNG pictures at their own depth, and PNG files made of them.

Pillow scales samples of fewer than 8 bits and drops the low bytes of 16. So this module gives its decoder a
file in which the same bytes have another meaning. Samples come in strips of rows, because those of a whole
picture would need 400 MB. Source: W3C PNG third edition.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from avatar_creator_server.images.metadata.exif import UPRIGHT
from avatar_creator_server.images.metadata.png import (
    GRAY_ALPHA,
    MAX_COLORS,
    PALETTE,
    PNG_SIGNATURE,
    RGB_ALPHA,
    PngHeader,
    encode_chunk,
    read_chunks,
)

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
"""Samples of shape (height, width, channels)."""

_ROWS_AT_ONCE_BYTES = 4 * 1024 * 1024
_NO_FILTER, _SUB, _UP = 0, 1, 2
"""Filter types of rows."""


@dataclass(frozen=True, slots=True)
class PngSamples:
    """The samples of a PNG as they are coded: not scaled, and palette indices for a palette."""

    header: PngHeader
    _images: tuple[Image.Image, ...]
    """The bytes of all samples, or the high bytes and the low bytes."""

    def strips(self, orientation: int = UPRIGHT) -> Iterator[Samples]:
        """Yield whole rows, a few MiB at once, from the top.

        Samples of up to 8 bits have the type uint8, and others uint16.

        Args:
            orientation: EXIF orientation of the stored rows. The yielded rows are upright.
        """
        header = self.header
        width, height = header.width, header.height
        if swaps_axes(orientation):
            width, height = height, width
        rows = max(1, _ROWS_AT_ONCE_BYTES // (width * header.channels * (2 if header.depth == 16 else 1)))
        for top in range(0, height, rows):
            start, end = top, min(top + rows, height)
            if orientation in (3, 4, 7, 8):
                start, end = height - end, height - start
            if swaps_axes(orientation):
                stored = self._crop((start, 0, end, header.height))
            else:
                stored = self._crop((0, start, header.width, end))
            yield _upright(stored, orientation)

    def _crop(self, box: tuple[int, int, int, int]) -> Samples:
        left, top, right, bottom = box
        parts = [
            np.asarray(image.crop(box)).reshape(bottom - top, right - left, -1) for image in self._images
        ]
        if self.header.depth < 16:
            return parts[0]
        if len(parts) == 1:  # High and low bytes take turns.
            return parts[0].view(">u2").astype(np.uint16)
        high, low = parts
        combined: Samples = high.astype(np.uint16) << 8 | low
        return combined


def read_samples(data: bytes) -> PngSamples:
    """Read the samples of a stored PNG.

    Raises an exception of any type if the pixels are damaged.
    """
    chunks = [(kind, body) for kind, body in read_chunks(data) if kind in (b"IHDR", b"IDAT")]
    header = PngHeader.parse(chunks[0][1])
    match header.depth, header.color_type:
        case 16, 0:  # Gray and alpha of 8 bits have the same bytes.
            images = [_decoded(chunks, 8, GRAY_ALPHA)]
        case 16, 4:  # RGB and alpha of 8 bits have the same bytes.
            images = [_decoded(chunks, 8, RGB_ALPHA)]
        case 16, color_type:
            mode = "RGBA" if color_type == RGB_ALPHA else "RGB"
            # As little-endian samples, the low bytes are the high ones.
            images = [_decoded(chunks, 16, color_type, f"{mode};16{order}") for order in "BL"]
        case depth, 0 if depth < 8:  # Pillow scales gray, but not palette indices.
            images = [_decoded(chunks, depth, PALETTE)]
        case depth, color_type:
            images = [_decoded(chunks, depth, color_type)]
    return PngSamples(header, tuple(images))


def _decoded(
    chunks: list[tuple[bytes, bytes]], depth: int, color_type: int, raw_mode: str | None = None
) -> Image.Image:
    """Decode the chunks as if the header had this depth and color type, and Pillow's raw mode."""
    (_, header), *pixels = chunks
    patched = [(b"IHDR", header[:8] + bytes((depth, color_type)) + header[10:])]
    if color_type == PALETTE:
        patched.append((b"PLTE", bytes(3 * MAX_COLORS)))
    file = PNG_SIGNATURE + b"".join(
        encode_chunk(kind, body) for kind, body in (*patched, *pixels, (b"IEND", b""))
    )
    with Image.open(BytesIO(file), formats=("PNG",)) as image:
        if raw_mode is not None:
            image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        image.load()
    return image


def turned_png(data: bytes, orientation: int) -> bytes:
    """Return a stored PNG with its pixels turned upright, and with all its other chunks.

    Depth, color type, palette and color chunks stay the same. The result is not interlaced.

    Args:
        data: The stored file.
        orientation: EXIF orientation, 1 to 8 (CIPA DC-008, tag 0x0112).
    """
    samples = read_samples(data)
    parts = [PNG_SIGNATURE]
    has_pixels = False
    for kind, body in read_chunks(data):
        if kind == b"IHDR":
            width, height = body[:4], body[4:8]
            # The last byte is the interlace method.
            body = (height + width if swaps_axes(orientation) else body[:8]) + body[8:12] + b"\0"
        elif kind == b"pHYs" and swaps_axes(orientation):
            body = body[4:8] + body[:4] + body[8:]
        elif kind == b"IDAT":
            if has_pixels:
                continue
            has_pixels = True
            body = _coded(samples, orientation)
        parts.append(encode_chunk(kind, body))
    return b"".join(parts)


def swaps_axes(orientation: int) -> bool:
    """Return whether a picture with this EXIF orientation is turned by a quarter."""
    return orientation >= 5


def _upright(samples: Samples, orientation: int) -> Samples:
    """Return a view of the samples in which the first row is the top, for a strip or a whole picture."""
    if swaps_axes(orientation):
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _coded(samples: PngSamples, orientation: int) -> bytes:
    """Return the upright pixels as the body of a chunk: packed, filtered and deflated."""
    header = samples.header
    deflate = zlib.compressobj(6)
    coded = bytearray()
    pixel_bytes = header.channels * header.depth // 8
    is_filtered = header.depth >= 8 and header.color_type != PALETTE
    above = None
    for strip in samples.strips(orientation):
        rows = _packed(strip, header.depth)
        if is_filtered:
            if above is None:
                above = np.zeros_like(rows[0])
            filtered, above = _filtered(rows, above, pixel_bytes), rows[-1].copy()
        else:  # Differences of indices and of packed samples have no meaning.
            filtered = np.pad(rows, ((0, 0), (1, 0)))
        coded += deflate.compress(filtered.tobytes())
    return bytes(coded + deflate.flush())


def _packed(samples: Samples, depth: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of each row."""
    height, width, channels = samples.shape
    rows = samples.reshape(height, width * channels)
    if depth == 16:
        return np.ascontiguousarray(rows, dtype=">u2").view(np.uint8)
    if depth == 8:
        return np.ascontiguousarray(rows, dtype=np.uint8)
    per_byte = 8 // depth
    padded = np.pad(rows, ((0, 0), (0, -width % per_byte))).reshape(height, -1, per_byte)
    packed = np.zeros(padded.shape[:2], np.uint8)
    for place in range(per_byte):
        packed |= padded[:, :, place].astype(np.uint8) << np.uint8(8 - depth * (place + 1))
    return packed


def _filtered(
    rows: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8], pixel_bytes: int
) -> npt.NDArray[np.uint8]:
    """Return each row after its filter type: the one with the smallest sum of absolute differences."""
    left = np.zeros_like(rows)
    left[:, pixel_bytes:] = rows[:, :-pixel_bytes]
    up = np.concatenate((above[np.newaxis], rows[:-1]))
    candidates = {_NO_FILTER: rows, _SUB: rows - left, _UP: rows - up}
    costs = [np.abs(bytes_.view(np.int8).astype(np.int16)).sum(axis=1) for bytes_ in candidates.values()]
    chosen = np.argmin(costs, axis=0)
    filtered = np.empty((rows.shape[0], 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = chosen
    for filter_type, coded in candidates.items():
        filtered[chosen == filter_type, 1:] = coded[chosen == filter_type]
    return filtered
