"""JPEG files without an end-of-image marker: whole pixels are accepted, and no trailer is stored."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images import jpeg_scans
from avatar_creator_server.images.processing import accept_upload
from tests import pictures

END = b"\xff\xd9"


JPEGS: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: pictures.jpeg(pictures.photograph()),
    "baseline 4:4:4": lambda: pictures.jpeg(pictures.photograph(), subsampling="4:4:4"),
    "optimized": lambda: pictures.jpeg(pictures.photograph(), optimize=True, quality=40),
    "restart markers": lambda: pictures.jpeg(pictures.photograph(), restart_marker_rows=1),
    "progressive": lambda: pictures.jpeg(pictures.photograph(), progressive=True),
    "progressive with restart markers": lambda: pictures.jpeg(
        pictures.photograph(), progressive=True, restart_marker_rows=1
    ),
    "three scans": lambda: pictures.baseline_of_three_scans(pictures.photograph()),
    "gray": lambda: pictures.jpeg(pictures.photograph(mode="L")),
    "progressive gray": lambda: pictures.jpeg(pictures.photograph(mode="L"), progressive=True),
    "cmyk": lambda: pictures.jpeg(pictures.photograph(mode="CMYK")),
    "one pixel": lambda: pictures.jpeg(pictures.photograph(1, 1)),
    "a row": lambda: pictures.jpeg(pictures.photograph(301, 1)),
    "finest quality": lambda: pictures.jpeg(pictures.photograph(33, 17), quality=100),
}


def is_refused(data: bytes) -> bool:
    """Return whether the service refuses an upload as truncated or damaged."""
    try:
        accept_upload(data)
    except InvalidArgumentError as error:
        return error.reason == "IMAGE_CORRUPT"
    return False


def pixels(data: bytes) -> bytes:
    return Image.open(BytesIO(data)).tobytes()


@pytest.mark.parametrize("trailer", pictures.trailers())
@pytest.mark.parametrize("kind", JPEGS)
def test_a_whole_jpeg_gets_its_end_and_loses_what_follows_its_pixels(kind: str, trailer: str) -> None:
    whole = JPEGS[kind]()
    assert accept_upload(whole).data == whole
    assert accept_upload(whole[:-2] + pictures.trailers()[trailer]).data == whole


@pytest.mark.parametrize("trailer", ["text", "zeros", "samsung"])
@pytest.mark.parametrize("kind", JPEGS)
def test_bytes_between_the_pixels_and_the_end_are_not_stored(kind: str, trailer: str) -> None:
    whole = JPEGS[kind]()
    assert accept_upload(whole[:-2] + pictures.trailers()[trailer] + END).data == whole


@pytest.mark.parametrize("kind", ["progressive", "progressive with restart markers", "three scans"])
def test_bytes_between_two_scans_are_not_stored(kind: str) -> None:
    whole = JPEGS[kind]()
    last_scan = whole.rindex(b"\xff\xda")
    for at in (last_scan, whole.rindex(b"\xff\xc4") if kind == "progressive" else last_scan):
        picture = accept_upload(whole[:at] + pictures.SECRET + whole[at:])
        assert pictures.SECRET not in picture.data
        difference = max(abs(a - b) for a, b in zip(pixels(picture.data), pixels(whole), strict=True))
        assert difference < 40


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_whose_last_scan_is_short_by_a_byte_is_refused(kind: str) -> None:
    whole = JPEGS[kind]()
    for missing in range(1, 40):
        assert is_refused(whole[: -2 - missing]), missing


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_cut_between_its_scans_is_refused(kind: str) -> None:
    whole = JPEGS[kind]()
    first_pixels = whole.index(b"\xff\xda") + 14
    for end in range(first_pixels, len(whole) - 2, 101):
        assert is_refused(whole[:end]), end
        assert is_refused(whole[:end] + b"\xff\xff"), end


def test_a_progressive_jpeg_without_its_last_scan_is_refused() -> None:
    whole = JPEGS["progressive"]()
    scans = whole.count(b"\xff\xda")
    assert scans > 5
    without_last = whole[: whole.rindex(b"\xff\xc4")]
    assert without_last.count(b"\xff\xda") == scans - 1
    assert is_refused(without_last)
    assert not is_refused(without_last + END), "an encoder may leave out the last bits, and say so"


def test_the_last_mcu_is_the_line() -> None:
    # The last of six blocks of 16x16 pixels needs exactly the bytes by which the two files differ.
    image = pictures.photograph(96, 16)
    five, six = (pictures.jpeg(image.crop((0, 0, width, 16))) for width in (80, 96))
    size = six.index(b"\xff\xc0") + 7
    start = six.index(b"\xff\xda") + 14
    assert five[start:-4] == six[start : len(five) - 4], "both begin with the same five blocks"
    wider = five[:size] + six[size : size + 2] + five[size + 2 : -2]
    assert is_refused(wider)
    assert is_refused(wider + END)
    assert not is_refused(six[:-2])


def test_a_turned_jpeg_without_an_end_becomes_upright() -> None:
    turned = pictures.jpeg_with_metadata(pictures.jpeg(pictures.stored_as(6, pictures.photograph())), 6)
    for trailer in pictures.trailers().values():
        picture = accept_upload(turned[:-2] + trailer)
        assert (picture.width, picture.height) == (90, 70)
        assert pictures.SECRET not in picture.data


@pytest.mark.parametrize("kind", ["baseline", "progressive", "cmyk"])
def test_a_picture_too_large_for_a_search_is_encoded_without_its_trailer(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg_scans, "_MAX_SEARCHED_PIXELS", 1000)
    profile = pictures.srgb_profile()
    plain = JPEGS[kind]()
    whole = plain[:2] + pictures.jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + profile) + plain[2:]
    assert accept_upload(whole).data == whole
    picture = accept_upload(whole[:-2] + pictures.SECRET * 99)
    assert pictures.SECRET[:20] not in picture.data
    image = Image.open(BytesIO(picture.data))
    assert (image.size, image.mode) == ((90, 70), Image.open(BytesIO(whole)).mode)
    assert image.info["icc_profile"] == profile
    difference = max(abs(a - b) for a, b in zip(image.tobytes(), pixels(whole), strict=True))
    assert difference < 40
    assert is_refused(whole[:-40])
