"""Mutated files: only a documented refusal, or a whole picture without private bytes, comes out."""

from __future__ import annotations

import re
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.images.processing import accept_upload, make_thumbnail
from tests import pictures

MUTATED = settings(max_examples=150, deadline=None, derandomize=True, print_blob=True)
"""Hypothesis settings of these tests: the same examples in every run."""

_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


PHOTOGRAPH = pictures.photograph(64, 48)
JPEGS = [
    pictures.jpeg_with_metadata(pictures.jpeg(PHOTOGRAPH), 6),
    pictures.jpeg_with_metadata(pictures.jpeg(PHOTOGRAPH, progressive=True)),
    pictures.jpeg_with_metadata(pictures.jpeg(PHOTOGRAPH, restart_marker_rows=1))[:-2],
    pictures.jpeg_with_metadata(pictures.baseline_of_three_scans(PHOTOGRAPH)),
]
PNGS = [
    pictures.png_with_metadata(PHOTOGRAPH, 6),
    pictures.png_with_metadata(PHOTOGRAPH.quantize(32)),
    pictures.png_with_metadata(PHOTOGRAPH.convert("LA")),
]
WEBPS = [
    pictures.webp_with_metadata(PHOTOGRAPH, 6),
    pictures.webp_with_metadata(PHOTOGRAPH, icc_profile=pictures.srgb_profile(), lossless=True),
]


def parts(data: bytes) -> list[bytes]:
    """Return the segments or chunks of a whole file, with its signature first and its end last."""
    if data.startswith(b"\xff\xd8"):
        found, start = [data[:2]], 2
        while data[start : start + 1] == b"\xff" and data[start + 1 : start + 2] != b"\xd9":
            end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
            if data[start + 1] == 0xDA:
                marker = _AFTER_SCAN.search(data, end)
                end = marker.start() if marker else len(data)
            found.append(data[start:end])
            start = end
        return [*found, data[start:]]
    is_png = data.startswith(b"\x89PNG")
    start = 8 if is_png else 12
    found = [data[:start]]
    while start < len(data):
        if is_png:
            end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        else:
            length = int.from_bytes(data[start + 4 : start + 8], "little")
            end = start + 8 + length + length % 2
        found.append(data[start:end])
        start = end
    return found


def joined(pieces: list[bytes]) -> bytes:
    """Return the file of these parts, with the right length of a WebP."""
    data = b"".join(pieces)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:] if data.startswith(b"RIFF") else data


def accepted(data: bytes) -> Picture | None:
    """Return the stored picture of an upload, or None for a documented refusal."""
    try:
        return accept_upload(data)
    except InvalidArgumentError as error:
        if error.reason.startswith("IMAGE_"):
            return None
        raise


def require_whole_and_clean(picture: Picture | None) -> None:
    if picture is not None:
        assert make_thumbnail(picture.data).width == 300
        for trace in (pictures.SECRET[:16], b"Exif", b"ns.adobe.com"):
            assert trace not in picture.data


@MUTATED
@given(st.sampled_from([*JPEGS, *PNGS, *WEBPS]), st.data())
def test_a_file_with_its_parts_in_another_order_gives_a_clean_picture_or_a_refusal(
    data: bytes, draw: st.DataObject
) -> None:
    signature, *rest = parts(data)
    chosen = draw.draw(st.lists(st.integers(0, len(rest) - 1), min_size=1, max_size=2 * len(rest)))
    require_whole_and_clean(accepted(joined([signature, *(rest[number] for number in chosen)])))


@MUTATED
@given(st.sampled_from([*JPEGS, *PNGS, *WEBPS]), st.data())
def test_a_file_without_some_parts_or_with_two_exchanged_gives_a_clean_picture_or_a_refusal(
    data: bytes, draw: st.DataObject
) -> None:
    signature, *rest = parts(data)
    numbers = st.integers(0, len(rest) - 1)
    one, other, removed = draw.draw(numbers), draw.draw(numbers), draw.draw(numbers)
    rest[one], rest[other] = rest[other], rest[one]
    if draw.draw(st.booleans()):
        del rest[removed]
    require_whole_and_clean(accepted(joined([signature, *rest])))


@MUTATED
@given(st.sampled_from([*JPEGS, *PNGS, *WEBPS]), st.data())
def test_a_file_with_changed_bytes_or_an_early_end_gives_a_picture_or_a_refusal(
    data: bytes, draw: st.DataObject
) -> None:
    broken = bytearray(data)
    for _ in range(draw.draw(st.integers(0, 4))):
        broken[draw.draw(st.integers(2, len(broken) - 1))] = draw.draw(st.integers(0, 255))
    picture = accepted(bytes(broken[: draw.draw(st.integers(2, len(broken)))]))
    if picture is not None:
        assert make_thumbnail(picture.data).width == 300
