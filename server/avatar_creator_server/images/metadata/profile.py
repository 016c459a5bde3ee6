"""Color profiles inside picture files. Source: ICC.1:2022, section 7.2 (profile header)."""

from __future__ import annotations

MAX_PROFILE_BYTES = 16 * 1024 * 1024
"""Maximum size of a profile. A JPEG file has room for as much, and the largest profiles in use have a few
MiB."""

_HEADER_BYTES = 128
_SIGNATURE = slice(36, 40)


def is_profile(profile: bytes) -> bool:
    """Return whether the bytes have the header of a whole color profile, and are not too many.

    Decoders ignore any other profile, so it is dropped.
    """
    return (
        _HEADER_BYTES <= int.from_bytes(profile[:4], "big") <= len(profile) <= MAX_PROFILE_BYTES
        and profile[_SIGNATURE] == b"acsp"
    )
