"""A local fake of a service that classifies pictures, as Hugging Face's image classification does.

It accepts what `packages/tasks/src/tasks/image-classification/spec/input.json` of
https://github.com/huggingface/huggingface.js allows without `parameters`: the bytes of a picture as the body.
It answers as `output.json` of the same folder says, with the labels of Falconsai/nsfw_image_detection.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal, get_args

from aiohttp import web
from PIL import Image

from tests.support.thread_server import ThreadServer

Mode = Literal["score", "malformed", "status", "hang", "trickle", "drop", "compressed", "endless", "redirect"]

_MAX_FILE_BYTES = 4 * 1024 * 1024
_TRICKLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ClassifiedPicture:
    """A request that the service received."""

    authorization: str
    """The header; empty if there is none."""
    image: Image.Image
    """The decoded picture."""


class PictureClassifierFake(ThreadServer):
    """A server on loopback in its own thread, which runs until `close`.

    It refuses what a real service refuses: another method, a body that is not a picture of its content type,
    and a missing or wrong key.

    `mode` decides how it answers:
        score: As documented, with `score` for the label `nsfw`.
        malformed: With `malformed_body` and status 200.
        status: With `status`, and text.
        hang: Not at all, until the client disconnects.
        trickle: With one blank at a time, until the client disconnects.
        drop: By closing the connection.
        compressed: As documented, but with gzip, which the request excludes.
        endless: With an answer that does not end.
        redirect: To the address of another path, which answers as documented.
    """

    def __init__(self, mode: Mode = "score", *, key: str = "") -> None:
        """Start the server.

        Args:
            mode: The mode.
            key: The key that requests must have; empty if they must have none.

        Raises:
            ValueError: There is no such mode.
        """
        if mode not in get_args(Mode):
            raise ValueError(f"no mode {mode!r}: {get_args(Mode)}")
        self.mode: Mode = mode
        self.score = 0.01
        self.score_of: Callable[[Image.Image], float] | None = None
        """Gives each picture a score of its own, if set."""
        self.status = 503
        self.malformed_body = "[]"
        self.failures_left: int | None = None
        """Number of future requests for which the mode counts; then the mode is `score`. None for all."""
        self.requests: list[ClassifiedPicture] = []
        """Received requests, oldest first."""
        self.redirected = 0
        """Number of requests that followed the redirect."""
        self._key = key
        application = web.Application(client_max_size=_MAX_FILE_BYTES)
        application.router.add_post("/classify", self._classify)
        application.router.add_route("*", "/elsewhere", self._answer_elsewhere)
        super().__init__(application)

    @property
    def url(self) -> str:
        """URL of the service."""
        return f"{self.origin}/classify"

    async def _classify(self, request: web.Request) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        if authorization != (f"Bearer {self._key}" if self._key else ""):
            return web.json_response({"error": "Invalid username or password."}, status=401)
        image = _decoded(request.content_type, await request.read())
        if image is None:
            return web.json_response({"error": "cannot identify image file"}, status=400)
        self.requests.append(ClassifiedPicture(authorization, image))
        mode = self.mode
        if self.failures_left is not None:
            mode = self.mode if self.failures_left else "score"
            self.failures_left = max(0, self.failures_left - 1)
        match mode:
            case "malformed":
                return web.Response(text=self.malformed_body, content_type="application/json")
            case "status":
                return web.Response(status=self.status, text="no classifier is ready")
            case "hang":
                await asyncio.Event().wait()
            case "trickle" | "endless":
                await _send_forever(
                    request,
                    b" " * (1 if mode == "trickle" else 65_536),
                    _TRICKLE_SECONDS if mode == "trickle" else 0,
                )
            case "drop":
                if request.transport is not None:
                    request.transport.abort()
            case "compressed":
                headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
                return web.Response(body=gzip.compress(self._scores(image).encode()), headers=headers)
            case "redirect":
                raise web.HTTPTemporaryRedirect("/elsewhere")
        return web.Response(text=self._scores(image), content_type="application/json")

    async def _answer_elsewhere(self, _request: web.Request) -> web.Response:
        self.redirected += 1
        return web.Response(text=self._scores(None), content_type="application/json")

    def _scores(self, image: Image.Image | None) -> str:
        score = self.score_of(image) if self.score_of and image else self.score
        scores = {"nsfw": score, "normal": 1 - score}
        return json.dumps(
            [
                {"label": label, "score": each}
                for label, each in sorted(scores.items(), key=lambda item: -item[1])
            ]
        )


def _decoded(content_type: str, file: bytes) -> Image.Image | None:
    try:
        image = Image.open(BytesIO(file))
        image.load()
    except (OSError, ValueError):
        return None
    return image if Image.MIME.get(image.format or "") == content_type else None


async def _send_forever(request: web.Request, chunk: bytes, pause: float) -> None:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(chunk)
        await asyncio.sleep(pause)
