"""Pages of the repository as pages of the site: each link to a file leads to the page made of it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_FENCE = re.compile(r"^ *(```|~~~)")
_LINK = re.compile(r"(\]\()([^)\s]+)(\))|(^\[[^\]]+\]: )(\S+)()", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|#|//")

_FILES = PurePosixPath("files")


class BrokenLinksError(Exception):
    """Links to files that do not exist; the message names each with its page."""


@dataclass(slots=True)
class Guides:
    """The Markdown pages of a repository, and where they are on the site."""

    repository: Path
    pages: Mapping[str, str]
    """Page of the site for each page of the repository, both relative, for example README.md: index.md."""
    places: Mapping[str, str]
    """Page, with an anchor if need be, for other files and folders of the repository."""
    copies: dict[str, Path] = field(default_factory=dict, init=False)
    """Files that pages link to and that the site gets as they are, by their place on the site."""
    _listings: dict[str, str] = field(default_factory=dict, init=False)
    """Pages made of folders, by their place on the site."""
    _broken: list[str] = field(default_factory=list, init=False)

    def texts(self) -> dict[str, str]:
        """Return the Markdown of every page by its place on the site.

        Raises:
            BrokenLinksError: A page links to a file that does not exist.
        """
        texts = {site: self._text(PurePosixPath(source), site) for source, site in self.pages.items()}
        if self._broken:
            raise BrokenLinksError("\n".join(self._broken))
        return texts | self._listings

    def _text(self, source: PurePosixPath, site: str) -> str:
        def moved(found: re.Match[str]) -> str:
            before, target, after = found.group(1, 2, 3) if found[1] else found.group(4, 5, 6)
            if _ELSEWHERE.match(target):
                return found[0]
            path, _, anchor = target.partition("#")
            place = self._place(os.path.normpath(source.parent / path))
            if place is None:
                self._broken.append(f"{source}: no such file: {target}")
                return found[0]
            if anchor:
                place = f"{place.partition('#')[0]}#{anchor}"
            return f"{before}{os.path.relpath(place, PurePosixPath(site).parent)}{after}"

        text = (self.repository / source).read_text()
        return "".join(part if is_code else _LINK.sub(moved, part) for part, is_code in _parts(text))

    def _place(self, path: str) -> str | None:
        """Return where a file or folder of the repository is on the site; None if it does not exist."""
        for places in (self.pages, self.places):
            if path in places:
                return places[path]
        file = self.repository / path
        if (file / "README.md").is_file():
            return self._place(f"{path}/README.md")
        if file.is_file():
            place = str(_FILES / path)
            self.copies[place] = file
            return place
        return self._listing(path) if file.is_dir() else None

    def _listing(self, path: str) -> str:
        """Return the page that lists the files of a folder, which come with it."""
        names = sorted(file.name for file in (self.repository / path).iterdir() if file.is_file())
        for name in names:
            self._place(f"{path}/{name}")
        place = str(_FILES / path / "index.md")
        self._listings[place] = "\n".join(
            [f"# `{path}/`", "", *(f"- [{name}]({name})" for name in names), ""]
        )
        return place


def _parts(text: str) -> list[tuple[str, bool]]:
    """Return the text in parts, each with whether it is a block of code."""
    parts: list[tuple[str, bool]] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        is_code = bool(fence or mark)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1] == fence:
            fence = ""
        if parts and parts[-1][1] == is_code:
            parts[-1] = (parts[-1][0] + line, is_code)
        else:
            parts.append((line, is_code))
    return parts
