"""Pictures on their way: read in chunks for an upload, checked after a download, put on disk whole."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

from avatar_creator.errors import DataLossError
from avatar_creator.v1.avatar_pb2 import Image
from avatar_creator.v1.avatar_service_pb2 import (
    DownloadImageResponse,
    UploadAvatarMetadata,
    UploadAvatarRequest,
)

CHUNK_BYTES = 128 * 1024
"""Size of all upload chunks but the last; the contract asks for 64 to 256 KiB."""

Picture: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A picture to upload: the path of a file, its bytes, or a file open for reading in binary mode."""

UploadProgress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes sent and the bytes in all; None where a file object does not tell its size."""


class PictureSource:
    """A picture to upload, wherever its bytes are."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self.repeatable = isinstance(picture, str | os.PathLike | bytes)
        """Whether it can be read a second time: a file object may be a pipe, and belongs to the caller."""

    def open(self) -> AbstractContextManager[BinaryIO]:
        """The bytes, from the first one; closed after use only if opened here."""
        if isinstance(self._picture, bytes):
            return BytesIO(self._picture)
        if isinstance(self._picture, str | os.PathLike):
            return Path(self._picture).open("rb")
        return nullcontext(self._picture)


def total_bytes(file: BinaryIO) -> int | None:
    """How many bytes are left to read; None if the file cannot tell."""
    if not file.seekable():
        return None
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """What is left of the file, in chunks of `CHUNK_BYTES`."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def upload_messages(
    metadata: UploadAvatarMetadata, source: PictureSource, on_progress: UploadProgress | None
) -> Iterator[UploadAvatarRequest]:
    """All messages of an upload. Asking for the next one means that the one before is sent."""
    yield UploadAvatarRequest(metadata=metadata)
    with source.open() as file:
        total = total_bytes(file)
        sent = 0
        for chunk in chunks(file):
            yield UploadAvatarRequest(chunk=chunk)
            sent += len(chunk)
            if on_progress is not None:
                on_progress(sent, total)


class ReceivedPicture:
    """A picture as it arrives, message by message."""

    def __init__(self) -> None:
        self._facts: Image | None = None
        self._data = bytearray()

    def take(self, message: DownloadImageResponse) -> None:
        """Adds one message.

        Raises:
            DataLossError: it is out of order, or there are more bytes than were announced.
        """
        if self._facts is None:
            if not message.HasField("metadata"):
                raise DataLossError("the picture came without its facts")
            self._facts = message.metadata
        elif not message.HasField("chunk"):
            raise DataLossError("the facts of the picture came twice")
        else:
            self._data += message.chunk
            if len(self._data) > self._facts.size_bytes:
                raise DataLossError(f"more than the {self._facts.size_bytes} bytes that were announced")

    def checked(self) -> bytes:
        """The whole picture.

        Raises:
            DataLossError: its size or SHA-256 is not the announced one.
        """
        if self._facts is None:
            raise DataLossError("no picture came")
        if len(self._data) != self._facts.size_bytes:
            raise DataLossError(f"{len(self._data)} of {self._facts.size_bytes} bytes came")
        if hashlib.sha256(self._data).hexdigest() != self._facts.sha256:
            raise DataLossError("the picture's SHA-256 is not the one that was announced")
        return bytes(self._data)


def save(data: bytes, path: Path) -> None:
    """Writes the file at `path`, replacing what is there only once all bytes are written."""
    # Made by open() and not by tempfile, whose files are private to the user whatever the umask says.
    # Without the file's own name, which may be as long as names can be.
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
