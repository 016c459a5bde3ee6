"""Parts of a file that a request asks for."""

from __future__ import annotations

import pytest

from avatar_creator_server.web.byte_ranges import ByteRange, parse_range

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-999", 0, 1000),
        ("bytes=0-1000", 0, 1000),
        ("bytes=0-999999999999999999", 0, 1000),
        ("bytes=999-", 999, 1000),
        ("bytes=0-", 0, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-1000", 0, 1000),
        ("bytes=-5000", 0, 1000),
        ("BYTES= 10-19 ", 10, 20),
    ],
)
def test_one_range_is_a_part(header: str, start: int, end: int) -> None:
    part = parse_range(header, SIZE)

    assert part == ByteRange(start, end)
    assert len(part) == end - start
    assert part.content_range(SIZE) == f"bytes {start}-{end - 1}/1000"


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes=", "bytes=-", "bytes", "items=0-1", "bytes=a-b", "bytes=5-4", "bytes=0x0-0x1"),
        *("bytes=0-1,2-3", "bytes=0-1,", "bytes=" + "0-," * 100_000, "bytes=--1", "bytes=+1-2", "bytes=1-2;"),
        *("bytes=" + "9" * 100_000 + "-", "bytes=٠-٩", "bytes=0 -1"),
    ],
)
def test_a_malformed_header_and_several_ranges_mean_the_whole_file(header: str) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-9999"])
def test_a_part_that_the_file_does_not_have_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="no such part"):
        parse_range(header, SIZE)
