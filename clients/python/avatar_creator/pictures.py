"""Uploads in chunks, and downloads that are verified and written to disk as a whole."""

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
"""Size of every upload chunk except the last; the contract recommends 64 to 256 KiB."""

Picture: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A picture to upload: the path of a file, its bytes, or a file open for reading in binary mode."""

UploadProgress: TypeAlias = Callable[[int, int | None], None]
"""Function called with the bytes sent and the total bytes; None if a file object has no known size."""


class PictureSource:
    """A picture to upload, from a path, bytes or a file object."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self.resendable = isinstance(picture, str | os.PathLike | bytes)
        """True if the picture can be read twice. A file object may be a pipe."""

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open the picture at its first byte. Leaving the context closes only a file that was opened here."""
        if isinstance(self._picture, bytes):
            return BytesIO(self._picture)
        if isinstance(self._picture, str | os.PathLike):
            return Path(self._picture).open("rb")
        return nullcontext(self._picture)


def total_bytes(file: BinaryIO) -> int | None:
    """Return the number of bytes left to read; None if the file is not seekable."""
    if not file.seekable():
        return None
    position = file.seek(0, os.SEEK_CUR)
    end = file.seek(0, os.SEEK_END)
    file.seek(position)
    return end - position


def chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of the file in chunks of `CHUNK_BYTES`."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def upload_messages(
    metadata: UploadAvatarMetadata, source: PictureSource, on_progress: UploadProgress | None
) -> Iterator[UploadAvatarRequest]:
    """Yield all messages of an upload. gRPC takes the next message when it has sent the one before."""
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
    """A download in progress, message by message."""

    def __init__(self) -> None:
        self._metadata: Image | None = None
        self._data = bytearray()

    def add(self, message: DownloadImageResponse) -> None:
        """Add one message.

        Raises:
            DataLossError: The message is out of order, or there are more bytes than announced.
        """
        if self._metadata is None:
            if not message.HasField("metadata"):
                raise DataLossError("the picture arrived without its metadata; download it again")
            self._metadata = message.metadata
        elif not message.HasField("chunk"):
            raise DataLossError("the metadata of the picture arrived twice; download it again")
        else:
            self._data += message.chunk
            if len(self._data) > self._metadata.size_bytes:
                raise DataLossError(
                    f"more than the {self._metadata.size_bytes} announced bytes arrived; download it again"
                )

    def verified(self) -> bytes:
        """Return the whole picture after checking its size and SHA-256.

        Raises:
            DataLossError: The size or the SHA-256 is not the announced one, or no message arrived.
        """
        if self._metadata is None:
            raise DataLossError("the service sent no picture; download it again")
        if len(self._data) != self._metadata.size_bytes:
            raise DataLossError(
                f"{len(self._data)} of {self._metadata.size_bytes} bytes arrived; download it again"
            )
        if hashlib.sha256(self._data).hexdigest() != self._metadata.sha256:
            raise DataLossError("the SHA-256 of the picture is not the announced one; download it again")
        return bytes(self._data)


def save(data: bytes, path: Path) -> None:
    """Write the file at `path`. An existing file is replaced only after all bytes are written."""
    # Created by open() and not by tempfile, because tempfile ignores the umask and makes private files.
    # The temporary name leaves out the file's own name, which may already have the maximum length.
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
