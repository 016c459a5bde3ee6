"""Facts about the service that the page needs before anyone signs in: `/page.json`. None is secret."""

from __future__ import annotations

import hashlib
import json

import avatar_creator_server
from avatar_creator_server.contract.field_options import limits_of
from avatar_creator_server.images.media_types import ACCEPTED_TYPES
from avatar_creator_server.images.picture import MAX_IMAGE_BYTES
from avatar_creator_server.settings import Settings
from avatar_creator_server.web.entity_tags import is_unchanged
from avatar_creator_server.web.messages import Request, Response

PAGE_FACTS_PATH = "/page.json"
"""Path of the facts."""
PAGE_LANGUAGES = ("en", "id")
"""Languages of the page: English and Indonesian, as BCP 47 names them."""


class PageFacts:
    """The handler of `PAGE_FACTS_PATH`."""

    def __init__(self, settings: Settings) -> None:
        facts = {
            "version": avatar_creator_server.__version__,
            # Only pages of these origins may show the page in a frame, and hand it a token.
            "origins": settings.web_origin_list,
            "sibling_apps": [{"name": app.name, "url": app.url} for app in settings.sibling_apps],
            "languages": PAGE_LANGUAGES,
            "upload": {
                "max_bytes": MAX_IMAGE_BYTES,
                "content_types": ACCEPTED_TYPES,
                "max_chunk_bytes": limits_of("UploadAvatarRequest.chunk").max_bytes,
            },
        }
        self._body = json.dumps(facts, ensure_ascii=False).encode()
        self._tag = f'"{hashlib.sha256(self._body).hexdigest()[:32]}"'

    async def answer(self, request: Request) -> Response:
        """Answer GET or HEAD with the facts, as JSON."""
        headers = {"cache-control": "no-cache", "etag": self._tag}
        if is_unchanged(request.headers.get("if-none-match", ""), self._tag):
            return Response(304, headers)
        return Response(200, {**headers, "content-type": "application/json"}, self._body)
