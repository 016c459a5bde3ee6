"""The watches that the tabs of a browser hold open, as the browser sees them."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, Request

from tests.support.waiting import wait_until

_WATCHES = ("/WatchGenerations", "/WatchGeneration")


class OpenWatches:
    """Counts the open watches of all tabs of a window, from now on."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._open: dict[Request, Page] = {}
        context.on("request", self._begun)
        context.on("requestfinished", self._ended)
        context.on("requestfailed", self._ended)

    @property
    def count(self) -> int:
        """Number of open watches of all tabs."""
        return len(self._open)

    @property
    def watching(self) -> list[Page]:
        """The tabs that watch now."""
        return list(self._open.values())

    def wait_for(self, count: int) -> None:
        """Wait until the tabs together hold this many watches."""
        page = self._context.pages[0]

        def reached() -> bool:
            page.evaluate("0")  # lets the events arrive
            return len(self._open) == count

        wait_until(reached, 20.0, lambda: f"{len(self._open)} watches are open, not {count}")

    def _begun(self, request: Request) -> None:
        if request.url.endswith(_WATCHES):
            self._open[request] = request.frame.page

    def _ended(self, request: Request) -> None:
        self._open.pop(request, None)
