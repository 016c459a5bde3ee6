"""Profiles of matrix and curves: the file chooses the number of tags and curve values."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from avatar_creator_server.images.matrix_profile import read_matrix_profile

HEADER = bytes(16) + b"GRAYXYZ " + bytes(104)
PROFILE_BYTES = 4 * 1024 * 1024


def gray_profile(tags: list[tuple[bytes, int, int]], curve: bytes) -> bytes:
    """Return a profile with these tags: name, place after the table, and size."""
    start = len(HEADER) + 4 + 12 * len(tags)
    table = b"".join(struct.pack(">4sII", name, start + place, size) for name, place, size in tags)
    return HEADER + struct.pack(">I", len(tags)) + table + curve


def curve_of(values: int) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">I", values) + b"\x00\x00" + b"\x80\x00" * (values - 1)


def test_a_profile_with_a_curve_is_read() -> None:
    curve = curve_of(3)
    profile = read_matrix_profile(gray_profile([(b"kTRC", 0, len(curve))], curve), is_gray=True)
    assert profile is not None
    assert len(profile.curves) == 1


@pytest.mark.parametrize(
    ("tags", "values"),
    [
        pytest.param([(b"kTRC", 0, PROFILE_BYTES)] * 200, 3, id="more tags than LittleCMS reads"),
        pytest.param(
            [(struct.pack(">I", each), 0, PROFILE_BYTES) for each in range(99)] + [(b"kTRC", 0, 18)],
            3,
            id="many large tags",
        ),
        pytest.param([(b"kTRC", 0, PROFILE_BYTES)], 0x8000, id="a long curve"),
    ],
)
def test_tags_cost_no_memory_of_their_size(tags: list[tuple[bytes, int, int]], values: int) -> None:
    curve = curve_of(values)
    profile = gray_profile(tags, curve + bytes(PROFILE_BYTES - len(curve)))
    tracemalloc.start()
    read_matrix_profile(profile, is_gray=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < PROFILE_BYTES / 4
