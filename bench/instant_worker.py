"""A worker whose provider has every picture at once: its figures are those of the service alone."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from PIL import Image

from avatar_creator_server.cli import main
from avatar_creator_server.demo.run import PHOTOGRAPH
from avatar_creator_server.images.processing import decode, fitted
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, Reports


class InstantProvider:
    """Returns the same photograph for every request."""

    estimates_progress = False
    max_concurrency = 4

    def __init__(self) -> None:
        self._pictures: dict[tuple[int, int], Image.Image] = {}

    async def generate(self, request: PortraitRequest, _reports: Reports) -> Portrait:
        """Return the photograph in the requested size."""
        size = (request.width, request.height)
        if size not in self._pictures:
            self._pictures[size] = fitted(decode(PHOTOGRAPH.read_bytes()), size)
        return Portrait(self._pictures[size])

    async def cancel(self, _request_id: str) -> None:
        """Do nothing: no request goes on."""

    async def close(self) -> None:
        """Do nothing: the provider holds no resources."""


def _instant(*_: Any) -> InstantProvider:
    return InstantProvider()


if __name__ == "__main__":
    with patch("avatar_creator_tasks.worker.make_provider", _instant):
        main()
