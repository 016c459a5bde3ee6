"""One cheap decoding that shows that a JPEG of the common kind has all its pixels, and no trailer."""

from __future__ import annotations

from PIL import Image

from avatar_creator_server.images.jpeg_decoder import UNWRITTEN, JpegDecoder
from avatar_creator_server.images.metadata.jpeg import (
    END_OF_IMAGE,
    SEQUENTIAL_FRAMES,
    SOS,
    START_OF_IMAGE,
    encode_segment,
    jpeg_segments,
)
from avatar_creator_server.images.metadata.stripped import JpegScans, StrippedPicture

_BLOCK = 8
"""Width and height of a block of coefficients. At an eighth of the size, each block is one sample."""
_MAX_HEIGHT = 65_500
"""Maximum height that libjpeg decodes (JPEG_MAX_DIMENSION)."""
_SMALLEST = 1, 1


def is_plainly_whole(picture: StrippedPicture, scans: JpegScans) -> bool:
    """Return whether one decoding, at an eighth of the size, shows that the only scan is whole.

    Then it has every pixel, and only a few bytes follow the last one: at most those that libjpeg reads ahead.
    The slower search in `jpeg_scans.py` may remove some of these. False says nothing about the picture.

    The picture is decoded as if it had one more row of blocks. libjpeg leaves all blocks at zero after the
    first one that lacks a bit (`insufficient_data` in its jdhuff.c), and zeros are one flat color. So if the
    additional row has two colors, no block before it lacks a bit. libjpeg writes a row of blocks as soon as
    it has them, but may have read up to 18 bytes beyond the last bit (`_READ_AHEAD` in `jpeg_scans.py`). So
    if the last row is not there without the last byte, at most those bytes follow it.

    Raises:
        OSError: The picture cannot be decoded.
    """
    if len(scans.ends) != 1 or picture.width < _BLOCK:
        return False
    coded, last_byte = scans.starts[0], scans.ends[0] - 1
    taller = _with_one_more_row(picture.data[:coded])
    if taller is None:
        return False
    head, blocks = taller
    decoder = JpegDecoder(head, _SMALLEST)
    width, height = decoder.pixels.size
    last_row = (0, height - 2 * blocks, width, height - blocks)
    additional_row = (0, height - blocks, width, height)
    decoder.feed(head)
    decoder.feed(memoryview(picture.data)[coded:last_byte])
    if not _is_unwritten(decoder.pixels.crop(last_row)):
        return False
    decoder.feed(picture.data[last_byte:])
    return (
        decoder.has_finished
        and not _is_unwritten(decoder.pixels.crop(last_row))
        and decoder.pixels.crop(additional_row).getcolors(1) is None
    )


def _with_one_more_row(head: bytes) -> tuple[bytes, int] | None:
    """Return the segments before the scan with a greater height, and the height of a row in blocks.

    None if the scan does not have all components, or its rows of blocks are not the rows that libjpeg writes.
    """
    parts, components, blocks = [START_OF_IMAGE], 0, 0
    for segment in jpeg_segments(head + END_OF_IMAGE):
        payload = segment.payload
        if segment.marker in SEQUENTIAL_FRAMES:
            components = payload[5]
            blocks = max((sampling & 15 for sampling in payload[7::3]), default=0)
            # A scan of one component has rows of one block, and libjpeg writes rows of the frame.
            if blocks == 0 or (components == 1 and blocks > 1):
                return None
            row = blocks * _BLOCK
            height = (-(-int.from_bytes(payload[1:3], "big") // row) + 1) * row
            if height > _MAX_HEIGHT:
                return None
            payload = payload[:1] + height.to_bytes(2, "big") + payload[3:]
        elif segment.marker == SOS and (not components or payload[:1] != bytes((components,))):
            return None
        parts.append(encode_segment(segment.marker, payload))
    return b"".join(parts), blocks


def _is_unwritten(rows: Image.Image) -> bool:
    return rows.tobytes() == Image.new(rows.mode, rows.size, UNWRITTEN).tobytes()
