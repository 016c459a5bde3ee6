"""Check of the built site: every link and anchor exists, and no page loads anything from the network."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "link": "href",
}


@dataclass(slots=True)
class Page:
    """What one page of the site offers and asks for."""

    ids: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    """Targets of its links."""
    loaded: set[str] = field(default_factory=set)
    """Addresses that a browser fetches to show it."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.page.ids.update(attributes[name] for name in ("id", "name") if name in attributes)
        if tag == "a" and "href" in attributes:
            self.page.links.add(attributes["href"])
        elif tag in _LOADED and _LOADED[tag] in attributes:
            self.page.loaded.add(attributes[_LOADED[tag]])


def read(file: Path) -> Page:
    """Read one page."""
    reader = _Reader()
    reader.feed(file.read_text())
    return reader.page


def problems(site: Path) -> Iterator[str]:
    """Yield a sentence for each link that leads nowhere and each address that is fetched from elsewhere."""
    pages = {file.resolve(): read(file) for file in site.rglob("*.html")}
    for file, page in sorted(pages.items()):
        name = file.relative_to(site.resolve())
        for address in sorted(page.loaded):
            if urlsplit(address).netloc:
                yield f"{name}: loads {address} from the network"
        for address in sorted(page.links | page.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            folder = site if path.startswith("/") else file.parent
            target = (folder / path.lstrip("/")).resolve() if path else file
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{name}: {address} leads to no file"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{name}: {address} leads to no anchor"


def main(site: Path) -> None:
    """Print all problems, and exit with status 1 if there are any."""
    found = list(problems(site))
    if found:
        sys.exit("\n".join(found))
    print(f"{len(list(site.rglob('*.html')))} pages in {site}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
