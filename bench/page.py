"""Figures of the page in a real browser: `python -m bench.page`.

Each page is loaded with an empty cache, once by a computer next to the service, and once as Lighthouse
loads it by default: by a phone with a quarter of this machine's speed, over a slow 4G connection. The figures
come from the browser itself, over the Chrome DevTools Protocol.

LCP and CLS: https://web.dev/articles/vitals
The phone: https://github.com/GoogleChrome/lighthouse/blob/main/docs/throttling.md
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from rich.console import Console
from rich.table import Table

from tests.browser.pages import PATHS, path_of
from tests.browser.visitor import Visitor, wait_until_settled
from tests.support.chromium import running_chromium
from tests.support.gallery import USER, Gallery, open_gallery

LCP_SECONDS = 2.5
"""LCP that web.dev calls good: at most this, for a phone."""
FULL_SIZE = {"avatar"}
"""Pages whose largest element is a picture in full size, of about 0.5 MB: no goal for LCP.

The thumbnail is there before. A slow phone needs seconds for the rest.
"""
MAX_CLS = 0.1
"""CLS that web.dev calls good: at most this."""
MAX_SCRIPT_BYTES = 120 * 1024
"""Compressed JavaScript of a page: at most this."""

_LOADS = 3
_KILOBYTE = 1024

_OBSERVE = """
window.measured = {lcp: 0, shift: 0, element: ""};
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
        measured.lcp = entry.startTime;
        measured.element = entry.element?.tagName.toLowerCase() ?? "";
    }
}).observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) measured.shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that loads the page."""

    name: str
    width: int
    height: int
    cpu_slowdown: float
    network: dict[str, float] | None = None
    """Latency in milliseconds and throughput in bytes per second, by the names of the protocol."""
    has_touch: bool = False


COMPUTER = Device("computer", 1440, 900, 1)
PHONE = Device(
    "phone, slow 4G",
    412,
    823,
    4,
    {"latency": 150, "downloadThroughput": 1_638_400 / 8, "uploadThroughput": 675_000 / 8},
    has_touch=True,
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one page on one device: medians of its loads."""

    page: str
    device: str
    lcp_seconds: float
    lcp_element: str
    cls: float
    script_bytes: int
    """Bytes of JavaScript, as they were sent, compressed."""
    bytes: int
    """All bytes that were sent, with pictures and answers to calls."""
    requests: int

    def failures(self) -> list[str]:
        """Return the goals that the page misses."""
        missed = []
        if self.device == PHONE.name and self.page not in FULL_SIZE and self.lcp_seconds > LCP_SECONDS:
            missed.append(f"LCP of {self.lcp_seconds:.1f} s, goal {LCP_SECONDS} s")
        if self.cls > MAX_CLS:
            missed.append(f"CLS of {self.cls:.3f}, goal {MAX_CLS}")
        if self.script_bytes > MAX_SCRIPT_BYTES:
            missed.append(f"{self.script_bytes:,} bytes of JavaScript, goal {MAX_SCRIPT_BYTES:,}")
        return [f"{self.page} on a {self.device}: {each}" for each in missed]


@dataclass  # without slots: Playwright keeps its own facts in the object of a listener
class _Traffic:
    """Bytes that the browser has received in one load."""

    kinds: dict[str, str] = field(default_factory=dict)
    scripts: int = 0
    all: int = 0

    def sent(self, event: dict[str, Any]) -> None:
        self.kinds[event["requestId"]] = event.get("type", "")

    def received(self, event: dict[str, Any]) -> None:
        size = int(event["encodedDataLength"])
        self.all += size
        if self.kinds.get(event["requestId"]) == "Script":
            self.scripts += size


def measure(
    browser: Browser, address: str, token: str, page: str, path: str, device: Device, loads: int = _LOADS
) -> Figures:
    """Load a page some times, each time with an empty cache, and return the medians."""
    figures = [_load(browser, address, token, page, path, device) for _ in range(loads)]
    return Figures(
        page=page,
        device=device.name,
        lcp_seconds=statistics.median(each.lcp_seconds for each in figures),
        lcp_element=figures[-1].lcp_element,
        cls=max(each.cls for each in figures),
        script_bytes=max(each.script_bytes for each in figures),
        bytes=max(each.bytes for each in figures),
        requests=max(each.requests for each in figures),
    )


def _load(browser: Browser, address: str, token: str, name: str, path: str, device: Device) -> Figures:
    visitor = Visitor(
        browser,
        address,
        token,
        viewport={"width": device.width, "height": device.height},
        has_touch=device.has_touch,
    )
    visitor.context.add_init_script(_OBSERVE)
    page: Page = visitor.context.new_page()
    protocol = visitor.context.new_cdp_session(page)
    traffic = _Traffic()
    protocol.on("Network.requestWillBeSent", traffic.sent)
    protocol.on("Network.loadingFinished", traffic.received)
    protocol.send("Network.enable")
    if device.network:
        protocol.send("Network.emulateNetworkConditions", {"offline": False, **device.network})
    protocol.send("Emulation.setCPUThrottlingRate", {"rate": device.cpu_slowdown})
    page.goto(f"{path}#token={token}")
    wait_until_settled(page)
    measured = page.evaluate("measured")
    if problems := visitor.problems():
        raise RuntimeError(f"{name}: {problems}")
    visitor.close()
    return Figures(
        page=name,
        device=device.name,
        lcp_seconds=measured["lcp"] / 1000,
        lcp_element=measured["element"],
        cls=measured["shift"],
        script_bytes=traffic.scripts,
        bytes=traffic.all,
        requests=len(traffic.kinds),
    )


def _measure_all(gallery: Gallery, browser: Browser, pages: Sequence[str], loads: int) -> list[Figures]:
    token = gallery.deployment.token(USER)
    results = []
    for page in pages:
        path = path_of(page, project=gallery.project_id, avatar=gallery.avatar_id)
        for device in (COMPUTER, PHONE):
            print(f"{page} on a {device.name}", file=sys.stderr)
            results.append(
                measure(browser, f"http://{gallery.deployment.web_target}", token, page, path, device, loads)
            )
    return results


def _table(results: Sequence[Figures]) -> Table:
    table = Table("page", "device", "LCP", "of", "CLS", "JavaScript", "all", "requests")
    for each in results:
        table.add_row(
            each.page,
            each.device,
            f"{each.lcp_seconds:.2f} s",
            each.lcp_element,
            f"{each.cls:.3f}",
            f"{each.script_bytes / _KILOBYTE:.0f} KB",
            f"{each.bytes / _KILOBYTE:.0f} KB",
            str(each.requests),
        )
    return table


def main() -> None:
    """Measure, print, and fail if a page misses a goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--pages", nargs="+", choices=PATHS, default=list(PATHS), help="only these pages")
    parser.add_argument("--loads", type=int, default=_LOADS, help="loads of each page on each device")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="avatar-creator-page-") as scratch,
        open_gallery(Path(scratch)) as gallery,
        running_chromium() as browser,
    ):
        results = _measure_all(gallery, browser, arguments.pages, arguments.loads)
    Console(width=110).print(_table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in results], indent=2) + "\n")
    if failures := [failure for each in results for failure in each.failures()]:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
