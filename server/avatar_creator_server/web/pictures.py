"""Pictures of avatars by signed links, for browsers: `/pictures/{avatar}/{original|thumbnail}?…`."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from urllib.parse import quote

from avatar_creator_server.api.transfers import Transfers
from avatar_creator_server.avatars.records import Picture
from avatar_creator_server.core import Core
from avatar_creator_server.database.call_limits import set_call_limits
from avatar_creator_server.errors import AvatarCreatorError, NotFoundError
from avatar_creator_server.images.file_names import default_file_name
from avatar_creator_server.images.picture_links import PICTURES_PATH, OpenedLink, Variant
from avatar_creator_server.shared.turns import Turns
from avatar_creator_server.web.byte_ranges import ByteRange, parse_range
from avatar_creator_server.web.entity_tags import is_unchanged
from avatar_creator_server.web.messages import Request, Response, text

_PATH = re.compile(f"{PICTURES_PATH}([^/]+)/({'|'.join(Variant)})")
_NOT_STORED = {"cache-control": "no-store"}
_DATABASE_SECONDS = 10.0
_READERS = ""
"""User name for the look-ups of all readers. Like one user, they hold few database connections together."""
_REDIRECT_SPARE_SECONDS = 60
"""Time for which an address of the storage works longer than the link that led to it."""


class Pictures:
    """Sends pictures to those who have a signed link."""

    def __init__(self, core: Core, transfers: Transfers) -> None:
        self._links = core.picture_links
        self._avatars = core.avatars
        self._files = core.files
        self._transfers = transfers
        settings = core.settings
        # The avatars take turns, so that many readers of one do not keep others from theirs. There are no
        # more look-ups at once than one user may have at the database, which therefore refuses none.
        self._look_ups = Turns(
            "pictures",
            at_once=min(settings.database_connections_per_user, settings.database_connections),
            wait_seconds=settings.transfer_wait_seconds,
        )

    async def answer(self, request: Request) -> Response:
        """Answer GET or HEAD for a path below `PICTURES_PATH`.

        Without a valid signature the answer is always the same: it does not say what exists.
        """
        path = _PATH.fullmatch(request.path)
        if path is None:
            return _refused()
        avatar_id, variant = path[1], Variant(path[2])
        link = self._links.open(avatar_id, variant, request.query)
        if link is None:
            return _refused()
        set_call_limits(_READERS, _DATABASE_SECONDS)
        try:
            async with self._look_ups.turn(avatar_id):
                picture = await self._avatars.find_picture(avatar_id, thumbnail=variant is Variant.THUMBNAIL)
            return _gone() if picture is None else await self._send(request, link, variant, picture)
        except NotFoundError:
            return _gone()
        except AvatarCreatorError as error:
            return _busy(error)

    async def _send(self, request: Request, link: OpenedLink, variant: Variant, picture: Picture) -> Response:
        file, tag = picture.file, f'"{picture.file.sha256}"'
        cached = {
            "cache-control": f"private, immutable, max-age={link.seconds_left}",
            # The pages of all apps may show a picture whose link they have.
            "cross-origin-resource-policy": "cross-origin",
        }
        # Another site may not give a file its name, so a download never leads to the storage.
        if not link.download:
            location = await self._files.signed_url(
                file,
                "HEAD" if request.method == "HEAD" else "GET",
                seconds=link.seconds_left + _REDIRECT_SPARE_SECONDS,
            )
            if location:
                return Response(302, {**cached, "location": location})
        headers = {**cached, "etag": tag, "accept-ranges": "bytes"}
        if is_unchanged(request.headers.get("if-none-match", ""), tag):
            return Response(304, headers)
        headers["content-type"] = file.content_type
        headers["content-disposition"] = _disposition(link, variant, picture)
        try:
            part = _part(request, file.size_bytes, tag)
        except ValueError:
            return Response(416, {**_NOT_STORED, "content-range": f"bytes */{file.size_bytes}"})
        if part is not None:
            headers["content-range"] = part.content_range(file.size_bytes)
        whole = ByteRange(0, file.size_bytes)
        headers["content-length"] = str(len(part or whole))
        if request.method == "HEAD":
            return Response(200, headers)
        body = await _begun(self._read(picture, part or whole))
        return Response(200 if part is None else 206, headers, body)

    async def _read(self, picture: Picture, part: ByteRange) -> AsyncGenerator[bytes, None]:
        """Wait for a turn, and yield the bytes of a part of a picture while the reader keeps the pace."""
        async with (
            self._transfers.linked_download(picture.user_id) as pace,
            aclosing(self._avatars.read_file(picture.file, part.start, part.end)) as chunks,
        ):
            async for chunk in chunks:
                # The reader of these chunks waits until the browser has made room for one. If that takes too
                # long, this cancels the request.
                async with pace.limit():
                    yield chunk
                pace.count(len(chunk))


async def _begun(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Read the first chunk, so that a file that cannot be read has its own status, and return all chunks."""
    first = await anext(chunks)

    async def all_chunks() -> AsyncGenerator[bytes, None]:
        async with aclosing(chunks):
            yield first
            async for chunk in chunks:
                yield chunk

    return all_chunks()


def _part(request: Request, size: int, tag: str) -> ByteRange | None:
    """Return the part that a request asks for; None for the whole picture.

    Raises:
        ValueError: The picture has no such part.
    """
    # HEAD has no ranges, and a part of another version is of no use.
    if request.method == "HEAD" or request.headers.get("if-range", tag) != tag:
        return None
    return parse_range(request.headers.get("range", ""), size)


def _disposition(link: OpenedLink, variant: Variant, picture: Picture) -> str:
    """Return the header that names the file, also for those who save the picture that they see (RFC 6266)."""
    name = default_file_name(
        picture.avatar_name, picture.file.content_type, thumbnail=variant is Variant.THUMBNAIL
    )
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    return (
        f"{'attachment' if link.download else 'inline'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
    )


def _refused() -> Response:
    return _plain(403, "This link has ended, or it is incomplete. Open the picture from its page again.")


def _gone() -> Response:
    return _plain(404, "This picture has been deleted.")


def _busy(error: AvatarCreatorError) -> Response:
    seconds = error.retry_after or 1.0
    return _plain(
        503,
        "The service cannot send this picture right now. Try again soon.",
        {"retry-after": str(max(1, round(seconds)))},
    )


def _plain(status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    answer = text(status, words)
    return Response(answer.status, {**answer.headers, **_NOT_STORED, **(headers or {})}, answer.body)
