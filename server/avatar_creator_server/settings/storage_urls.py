"""The URL of the storage. The errors complete a sentence that begins with the setting's name."""

from __future__ import annotations

import re

_SCHEME = "s3://"
_URL = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](/[^?#]*)?", re.IGNORECASE)


def parse_storage_url(text: str) -> str:
    """Check the URL of a bucket, and return it with the usual scheme.

    Raises:
        ValueError: The text is not such a URL; the message does not contain it.
    """
    if text[: len(_SCHEME)].lower() != _SCHEME:
        raise ValueError("must begin with s3://; to store pictures in a folder, set UPLOAD_PATH instead")
    if "@" in text:
        raise ValueError(
            "must be s3://bucket/prefix without keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _URL.fullmatch(text):
        raise ValueError("must be s3://bucket/prefix, without ? and #")
    return _SCHEME + text[len(_SCHEME) :]
