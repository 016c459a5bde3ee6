"""A browser window that people use one after another."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, BrowserContext

DEFAULTS: dict[str, Any] = {"locale": "en-US", "timezone_id": "Asia/Jakarta"}
"""Options of a window that asks for no others; see Playwright's `Browser.new_context`."""


class SharedWindow:
    """A window for one person after another. It has the files of the page in its cache, and nothing else."""

    def __init__(self, browser: Browser, address: str) -> None:
        """Open the window.

        Args:
            browser: The browser.
            address: The address of the web port, such as `http://127.0.0.1:8080`.
        """
        self._address = address
        self.context: BrowserContext = browser.new_context(base_url=address, **DEFAULTS)
        # No tab of a person: it takes the commands about the window.
        self._blank = self.context.new_page()
        self._protocol = self.context.new_cdp_session(self._blank)

    def clear(self) -> None:
        """Close the tabs, and forget what the last person has left, except the files of the page."""
        for page in self.context.pages:
            if page != self._blank:
                page.close()
        self.context.set_offline(False)
        self.context.unroute_all()
        self.context.clear_permissions()
        self.context.clear_cookies()
        stored = {"origin": self._address, "storageTypes": "local_storage,indexeddb,cache_storage"}
        self._protocol.send("Storage.clearDataForOrigin", stored)
