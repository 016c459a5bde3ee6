"""Uploads in chunks, and downloads that are verified and written to disk as a whole."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO, TextIOBase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias, runtime_checkable

from avatar_creator.arguments import Arguments, described, refused
from avatar_creator.errors import DataLossError
from avatar_creator.v1.avatar_pb2 import Image
from avatar_creator.v1.avatar_service_pb2 import (
    DownloadImageResponse,
    UploadAvatarMetadata,
    UploadAvatarRequest,
)

CHUNK_BYTES = 128 * 1024
"""Size of every upload chunk except the last; the contract recommends 64 to 256 KiB."""

_NAME_CHARACTERS = 120
"""Longest name of an avatar."""

_MODES_OF_PNG = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})
"""Modes of Pillow that its PNG writer takes: https://pillow.readthedocs.io/en/stable/handbook/image-file-formats.html#png"""

_SUFFIX_OF_PICTURE = re.compile(r"(?<=.)\.(jpe?g|jpe|jfif|png|webp)$", re.IGNORECASE)
"""Suffix that is not a part of a name. Other dots may be: `Dr. Sarah`."""

_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
"""Suffix of a file with a picture of this media type."""


@runtime_checkable
class PillowImage(Protocol):
    """An image of Pillow (`PIL.Image.Image`), which this package does not import."""

    @property
    def mode(self) -> str: ...

    def convert(self, mode: str, /) -> Any: ...

    def save(self, fp: Any, format: str, /) -> None: ...


Picture: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | PillowImage
"""A picture to upload: the path of a file, its bytes, a file open for reading in binary mode, or an image of
Pillow, which is sent as PNG."""

_READ_TWICE = (str, os.PathLike, bytes, bytearray, memoryview, PillowImage)
"""Types of pictures that can be read twice. A file object may be a pipe."""

UploadProgress: TypeAlias = Callable[[int, int | None], None]
"""Function called with the bytes sent and the total bytes; None if a file object has no known size."""


class PictureSource:
    """A picture to upload, from a path, bytes, a file object or an image of Pillow."""

    def __init__(self, picture: Picture, argument: str = "picture") -> None:
        self._picture = picture
        self.argument = argument
        """Argument that has the picture, for errors."""
        self.resendable = isinstance(picture, _READ_TWICE)
        """True if the picture can be read twice."""

    def check(self) -> None:
        """Check what can be checked without reading the picture.

        Raises:
            InvalidArgumentError: It is no picture, or a file that cannot be read as one.
        """
        picture = self._picture
        if not is_picture(picture):
            raise refused(
                self.argument,
                f"must be a path, bytes, an open file or an image of Pillow (got {described(picture)})",
            )
        if isinstance(picture, str | os.PathLike):
            with Arguments() as given:
                given.path(self.argument, picture)
        elif isinstance(picture, TextIOBase):
            raise refused(self.argument, 'must be a file in binary mode, as open(path, "rb") gives')
        elif not self.resendable and getattr(picture, "closed", False) is True:
            raise refused(self.argument, "is a closed file")

    @property
    def name(self) -> str:
        """Name of the picture's file without its folder and suffix; empty if it has no file."""
        name: object = self._picture
        if not isinstance(name, str | os.PathLike):
            # A file object has a name, and an image of Pillow the name of the file that it was read from.
            name = getattr(name, "filename", None) or getattr(name, "name", None)
        # The name of a pipe may be its number.
        if not isinstance(name, str | bytes | os.PathLike):
            return ""
        # A name that is not UTF-8 has surrogates.
        text = Path(os.fsdecode(name)).name.encode(errors="replace").decode()
        if text.startswith("<") and text.endswith(">"):
            return ""  # `<stdin>`
        text = _SUFFIX_OF_PICTURE.sub("", unicodedata.normalize("NFC", text))
        text = "".join(each if each.isprintable() else " " for each in text)
        return text.strip()[:_NAME_CHARACTERS].strip()

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open the picture at its first byte. Leaving the context closes only a file that was opened here."""
        if isinstance(self._picture, bytes | bytearray | memoryview):
            return BytesIO(self._picture)
        if isinstance(self._picture, str | os.PathLike):
            return Path(self._picture).open("rb")
        if isinstance(self._picture, PillowImage):
            try:
                return BytesIO(_png(self._picture))
            except (ValueError, SystemError) as error:  # without pixels; Pillow 12.0 raises the latter
                raise refused(self.argument, f"cannot be converted to PNG: {error}") from error
        return nullcontext(self._picture)

    def chunks(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the rest of the file in chunks of `CHUNK_BYTES`.

        Raises:
            InvalidArgumentError: The file is empty, closed or not in binary mode.
        """
        empty = True
        while True:
            try:
                chunk: object = file.read(CHUNK_BYTES)
            except ValueError as error:
                if isinstance(error, OSError):
                    raise
                raise refused(self.argument, "cannot be read, because its file is closed") from error
            if not isinstance(chunk, bytes | bytearray | memoryview):
                got = described(chunk)
                raise refused(self.argument, f"must be a file that returns bytes when it is read (got {got})")
            if not chunk:
                break
            empty = False
            yield bytes(chunk)
        if empty:
            raise refused(self.argument, "has no bytes: it is empty, or was read to its end")


def is_picture(given: object) -> bool:
    """Return whether an argument is a picture that can be uploaded."""
    return isinstance(given, _READ_TWICE) or hasattr(given, "read")


def _png(image: PillowImage) -> bytes:
    file = BytesIO()
    if image.mode not in _MODES_OF_PNG:
        image = image.convert("RGB")
    image.save(file, "PNG")
    return file.getvalue()


def total_bytes(file: BinaryIO) -> int | None:
    """Return the number of bytes left to read; None if the file does not know."""
    try:
        if not file.seekable():
            return None
        position = file.seek(0, os.SEEK_CUR)
        end = file.seek(0, os.SEEK_END)
        file.seek(position)
    except (AttributeError, ValueError):  # an object that only reads, or a closed file
        return None
    return end - position


def upload_messages(
    metadata: UploadAvatarMetadata, source: PictureSource, on_progress: UploadProgress | None
) -> Iterator[UploadAvatarRequest]:
    """Yield all messages of an upload. gRPC takes the next message when it has sent the one before."""
    yield UploadAvatarRequest(metadata=metadata)
    with source.open() as file:
        total = total_bytes(file)
        sent = 0
        for chunk in source.chunks(file):
            yield UploadAvatarRequest(chunk=chunk)
            sent += len(chunk)
            if on_progress is not None:
                on_progress(sent, total)


class DownloadedPicture(NamedTuple):
    """A picture that has arrived whole."""

    data: bytes
    """Bytes of the picture."""
    suffix: str
    """Suffix of a file for it, for example `.png`; empty for a media type that this client does not know."""


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

    def verified(self) -> DownloadedPicture:
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
        return DownloadedPicture(bytes(self._data), _SUFFIXES.get(self._metadata.content_type, ""))


def make_folder(folder: Path) -> None:
    """Create the folder of downloads, unless it exists."""
    folder.mkdir(parents=True, exist_ok=True)


def save(data: bytes, path: Path) -> None:
    """Write the file at `path`. An existing file is replaced only after all bytes are written.

    A device or a pipe, such as `/dev/stdout`, receives the bytes. It is not replaced. A link stays, and the
    file that it points to is replaced.
    """
    if _is_stream(path):
        # Opened to append: the output of a program may already be in a file at `/dev/stdout`.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as stream:
            stream.write(data)
        return
    path = Path(os.path.realpath(path))
    # Created by open() and not by tempfile, because tempfile ignores the umask and makes private files.
    # The temporary name leaves out the file's own name, which may already have the maximum length.
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        # The caller does not know the temporary name.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _is_stream(path: Path) -> bool:
    """Return whether a path is a device, a pipe, or a file that is open, as `/dev/stdout` may be."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    # `/dev/fd` is a link into `/proc` on Linux, and a folder of its own elsewhere.
    folder = os.path.realpath(path.parent)
    opened = folder in ("/dev", "/dev/fd") or (folder.startswith("/proc/") and folder.endswith("/fd"))
    return not stat.S_ISDIR(mode) and (opened or not stat.S_ISREG(mode))
