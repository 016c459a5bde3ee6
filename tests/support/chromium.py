"""Chromium, as Playwright drives it in the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

_PROGRAM = Path(__file__).parents[2] / "build" / "chromium" / "program"
_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",  # it does not start as root with one, and it opens no pages but ours
)


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run Chromium without windows.

    While it runs, this thread has an event loop: nothing in it may call `asyncio.run`.

    Raises:
        RuntimeError: there is no Chromium on this machine.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def _program() -> Path:
    try:
        program = Path(_PROGRAM.read_text().strip())
    except FileNotFoundError:
        raise RuntimeError("the tests of the page need a browser: run `make chromium`") from None
    if not program.exists():
        raise RuntimeError(f"{program} is gone: delete build/chromium, and run `make chromium`")
    return program
