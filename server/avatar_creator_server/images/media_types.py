"""The media types that callers declare for their pictures."""

from __future__ import annotations

from avatar_creator_server.images.metadata import ContentType

_CANONICAL: dict[str, ContentType] = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/jpe": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-jpeg": "image/jpeg",
    "image/x-jpg": "image/jpeg",
    "image/png": "image/png",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/vnd.mozilla.apng": "image/png",
    "image/webp": "image/webp",
    "image/x-webp": "image/webp",
}
"""Registered type by each name that is in use for it. Names from old browsers and common mistakes are among
them."""


ACCEPTED_TYPES = tuple(dict.fromkeys(_CANONICAL.values()))
"""The registered types of the pictures that the service accepts."""


def canonical_type(declared: str) -> ContentType | None:
    """Return the registered type that a declared one means, or None if it is none that this service accepts.

    Upper case, parameters and spaces do not matter, as RFC 9110 (section 8.3.1) says.
    """
    name, _, _parameters = declared.partition(";")
    return _CANONICAL.get(name.strip().lower())
