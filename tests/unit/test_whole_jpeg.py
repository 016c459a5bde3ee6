"""The check of a JPEG with one decoding: it accepts only what the comparison of two decodings accepts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images import jpeg_scans
from avatar_creator_server.images.metadata import strip_metadata
from avatar_creator_server.images.processing import accept_upload
from avatar_creator_server.images.whole_jpeg import is_plainly_whole
from tests import pictures

END = b"\xff\xd9"

COMMON: dict[str, Callable[[], bytes]] = {
    "4:2:0": lambda: pictures.jpeg(pictures.photograph()),
    "4:2:2": lambda: pictures.jpeg(pictures.photograph(), subsampling="4:2:2"),
    "4:4:4": lambda: pictures.jpeg(pictures.photograph(), subsampling="4:4:4"),
    "whole blocks": lambda: pictures.jpeg(pictures.photograph(96, 64)),
    "optimized": lambda: pictures.jpeg(pictures.photograph(), optimize=True, quality=40),
    "restart markers": lambda: pictures.jpeg(pictures.photograph(), restart_marker_rows=2),
    "gray": lambda: pictures.jpeg(pictures.photograph(mode="L")),
    "cmyk": lambda: pictures.jpeg(pictures.photograph(mode="CMYK")),
}


def shows_whole(data: bytes) -> bool:
    stripped = strip_metadata(data, "image/jpeg")
    assert stripped.scans is not None
    return is_plainly_whole(stripped, stripped.scans)


@pytest.mark.parametrize("kind", COMMON)
def test_one_decoding_shows_that_a_common_jpeg_is_whole(kind: str) -> None:
    assert shows_whole(COMMON[kind]())


@pytest.mark.parametrize("kind", COMMON)
def test_one_decoding_never_shows_that_a_short_jpeg_is_whole(kind: str) -> None:
    whole = COMMON[kind]()
    for missing in range(1, 60):
        assert not shows_whole(whole[: -2 - missing] + END), missing


@pytest.mark.parametrize("junk", [b"\0" * 9, b"\x55" * 12, b"\xff\x00" * 18, pictures.SECRET])
@pytest.mark.parametrize("kind", COMMON)
def test_one_decoding_never_shows_that_a_jpeg_with_a_trailer_is_whole(kind: str, junk: bytes) -> None:
    assert not shows_whole(COMMON[kind]()[:-2] + junk + END)


def test_a_jpeg_of_several_scans_is_left_to_the_comparison() -> None:
    assert not shows_whole(pictures.jpeg(pictures.photograph(), progressive=True))
    assert not shows_whole(pictures.baseline_of_three_scans(pictures.photograph()))


JPEGS = [make() for make in COMMON.values()]


@settings(max_examples=300, deadline=None, derandomize=True, print_blob=True)
@given(st.sampled_from(JPEGS), st.data())
def test_a_damaged_jpeg_is_judged_as_by_the_comparison_alone(data: bytes, draw: st.DataObject) -> None:
    damaged = bytearray(data[:-2])
    for _ in range(draw.draw(st.integers(0, 3))):
        at = draw.draw(
            st.one_of(st.integers(2, len(damaged) - 1), st.integers(len(damaged) - 20, len(damaged) - 1))
        )
        damaged[at] = draw.draw(st.integers(0, 255))
    missing = draw.draw(st.one_of(st.integers(0, 12), st.integers(0, len(damaged) - 2)))
    junk = draw.draw(st.binary(max_size=20))
    file = bytes(damaged[: len(damaged) - missing]) + junk + END
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg_scans, "is_plainly_whole", lambda *_: False)
        compared = judged(file)
    assert judged(file) == compared


def judged(data: bytes) -> tuple[str, bytes | str]:
    """Return the stored file, or the reason and text of the refusal."""
    try:
        return "stored", accept_upload(data).data
    except InvalidArgumentError as error:
        return error.reason, error.message
