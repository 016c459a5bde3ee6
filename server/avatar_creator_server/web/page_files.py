"""The built files of the page, which ride in the package: the folder `page`.

The files are in memory after their first use, also compressed. So no path of a request ever becomes a path of
the file system.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

from avatar_creator_server.web.entity_tags import is_unchanged
from avatar_creator_server.web.messages import Request, Response, text

_INDEX = "/index.html"
_HASHED = "/assets/"
"""Folder of the files whose names change with their contents."""
_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff2": "font/woff2",
}
_OTHER_TYPE = "application/octet-stream"
_COMPRESSED = frozenset({"css", "html", "ico", "js", "json", "svg", "txt", "webmanifest"})
_LEAST_COMPRESSED_BYTES = 1_000
"""Size below which compression saves less than a packet."""
_REFUSED_WEIGHT = re.compile(r"q\s*=\s*0(\.0{0,3})?")


class _File:
    """One built file."""

    def __init__(self, path: str, source: Traversable) -> None:
        self._source = source
        self._suffix = path.rpartition(".")[2]
        self._cached = _FOREVER if path.startswith(_HASHED) else _ASK_AGAIN

    def answer(self, request: Request) -> Response:
        """Return the file, compressed if the reader accepts that."""
        compressed = self._compressed if _accepts_gzip(request.headers.get("accept-encoding", "")) else b""
        # Each form has its own tag: a cache must not take one for the other.
        tag = f'"{self._hash}-gzip"' if compressed else f'"{self._hash}"'
        headers = {"etag": tag, "cache-control": self._cached}
        if self._compressed:
            headers["vary"] = "accept-encoding"
        if is_unchanged(request.headers.get("if-none-match", ""), tag):
            return Response(304, headers)
        headers["content-type"] = _TYPES.get(self._suffix, _OTHER_TYPE)
        if compressed:
            headers["content-encoding"] = "gzip"
        body = compressed or self._data
        return Response(200, {**headers, "content-length": str(len(body))}, body)

    @cached_property
    def _data(self) -> bytes:
        return self._source.read_bytes()

    @cached_property
    def _hash(self) -> str:
        return hashlib.sha256(self._data).hexdigest()[:32]

    @cached_property
    def _compressed(self) -> bytes:
        """The file after gzip; empty if that is not worth it."""
        if self._suffix not in _COMPRESSED or len(self._data) < _LEAST_COMPRESSED_BYTES:
            return b""
        return gzip.compress(self._data, mtime=0)


class PageFiles:
    """The handler of all paths that belong to the page."""

    def __init__(self, folder: Traversable | None = None) -> None:
        """Take the built files of a folder, which may have none.

        Args:
            folder: The folder; the one in this package if None.
        """
        built = files("avatar_creator_server.web").joinpath("page") if folder is None else folder
        self._files: Mapping[str, _File] = {path: _File(path, source) for path, source in _below(built, "/")}

    async def answer(self, request: Request) -> Response:
        """Answer GET or HEAD: the file of this path, or the page itself, which has paths of its own."""
        found = self._files.get(request.path)
        if found is None and "." not in request.path:
            found = self._files.get(_INDEX)
        return text(404, "Not found.") if found is None else found.answer(request)


def _accepts_gzip(header: str) -> bool:
    """Return whether the header `accept-encoding` allows gzip (RFC 9110, section 12.5.3)."""
    weights: dict[str, str] = {}
    for each in header.lower().split(","):
        coding, _, weight = each.partition(";")
        weights[coding.strip()] = weight.strip()
    weight_of_gzip = weights.get("gzip", weights.get("*"))
    return weight_of_gzip is not None and not _REFUSED_WEIGHT.fullmatch(weight_of_gzip)


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """Yield the files below a folder, with the paths of their requests. Hidden files are not for readers."""
    if not folder.is_dir():
        return
    for each in folder.iterdir():
        if each.name.startswith("."):
            continue
        if each.is_dir():
            yield from _below(each, f"{path}{each.name}/")
        else:
            yield f"{path}{each.name}", each
