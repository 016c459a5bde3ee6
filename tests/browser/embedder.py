"""Another site that shows the page in a frame, and hands it a token."""

from __future__ import annotations

import json

from aiohttp import web

from tests.support.thread_server import ThreadServer

_PAGE = """<!doctype html>
<title>Pose Generator</title>
<iframe src="{address}" width="1000" height="700" title="Avatars"></iframe>
<script>
    const token = {token};
    addEventListener("message", (event) => {{
        if (event.origin === "{address}" && event.data.type === "avatar-creator:token-needed")
            event.source.postMessage({{type: "avatar-creator:token", token}}, event.origin);
    }});
</script>
"""


class Embedder(ThreadServer):
    """A site with the page in a frame. It answers every request for a token."""

    def __init__(self, address: str, token: str = "", port: int = 0) -> None:
        """Start the site.

        Args:
            address: The address of the web port.
            token: The token that it hands over.
            port: Its port; 0 means a free one.
        """

        async def framed(_: web.Request) -> web.Response:
            page = _PAGE.format(address=address, token=json.dumps(token))
            return web.Response(text=page, content_type="text/html")

        application = web.Application()
        application.router.add_get("/", framed)
        application.router.add_get("/new", framed)
        super().__init__(application, port)
