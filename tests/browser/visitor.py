"""A person at the page, in a browser window of their own, and everything that goes wrong there."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

from tests.browser.window import DEFAULTS

_WAIT_MILLISECONDS = 20_000
"""Maximum wait for an expected state; long, because many tests share few cores."""
_FIRST_ERROR = 400
_ABORTED = "net::ERR_ABORTED"
"""The page or a navigation has cancelled the request, which is no failure."""
_SETTLED = """() => {
    if (document.fonts.status !== "loaded" || document.querySelector("[aria-busy=true]")) return false;
    // The placeholders of `ui/Skeleton.svelte`.
    if (document.querySelector("main span[aria-hidden=true][style*='border-radius']")) return false;
    const seen = [...document.images].filter((image) => {
        const box = image.getBoundingClientRect();
        const isInside = box.left < innerWidth && box.right > 0 && box.top < innerHeight && box.bottom > 0;
        return box.width > 0 && isInside;
    });
    return document.querySelector("h1") !== null && seen.every((image) => image.complete);
}"""


class Visitor:
    """A person with a browser window that no one else uses at the same time, and their tabs.

    Errors on the console, exceptions, violations of the content security policy, failed requests and answers
    with an error fail the test, unless it expects them.
    """

    def __init__(
        self,
        browser: Browser,
        address: str,
        token: str,
        *,
        window: BrowserContext | None = None,
        **options: Any,
    ) -> None:
        """Open a browser window without a tab.

        Args:
            browser: The browser.
            address: The address of the web port, such as `http://127.0.0.1:8080`.
            token: The token that signs in.
            window: A window that is open already, and stays open.
            options: More options of a new window; see Playwright's `Browser.new_context`.
        """
        self.address = address
        self.token = token
        self._expected: list[re.Pattern[str]] = []
        self._problems: list[str] = []
        self._has_own_window = window is None
        self.context = window or browser.new_context(base_url=address, **(DEFAULTS | options))
        self.context.set_default_timeout(_WAIT_MILLISECONDS)
        self.context.on("page", self._listen)

    def open(self, path: str = "/", *, token: str | None = None) -> Page:
        """Open a tab by a link that signs in.

        Args:
            path: Path and query of the page.
            token: Another token than the visitor's; empty signs in no one.
        """
        page = self.context.new_page()
        token = self.token if token is None else token
        page.goto(f"{path}#token={token}" if token else path)
        return page

    def expect_problems(self, *patterns: str) -> None:
        """Accept problems that match one of these regular expressions, such as `PERMISSION_DENIED`."""
        self._expected += map(re.compile, patterns)

    def problems(self) -> list[str]:
        """Return what went wrong in all tabs so far, except the expected problems."""
        return [
            problem
            for problem in self._problems
            if not any(pattern.search(problem) for pattern in self._expected)
        ]

    def close(self) -> None:
        """Close the window, or leave it to the next person."""
        if self._has_own_window:
            self.context.close()
        else:
            self.context.remove_listener("page", self._listen)

    def _listen(self, page: Page) -> None:
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._problems.append(f"exception: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self._problems.append(f"console {message.type}: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self._problems.append(f"{request.method} {urlsplit(request.url).path}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= _FIRST_ERROR:
            path = urlsplit(response.url).path
            self._problems.append(f"{response.request.method} {path}: HTTP {response.status}")


def wait_until_settled(page: Page) -> None:
    """Wait until a page has its title, no placeholder, and its fonts and visible pictures."""
    page.wait_for_function(_SETTLED)
