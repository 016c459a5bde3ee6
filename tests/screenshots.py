"""Screenshots of every page, narrow and wide, light and dark: `make screenshots`.

They show whether the page looks made with care, which no test can say.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path

from tests.browser.pages import PATHS, path_of
from tests.browser.visitor import Visitor, wait_until_settled
from tests.support.chromium import running_chromium
from tests.support.gallery import USER, Gallery, open_gallery

_SIZES = {390: 844, 1440: 900}
"""Heights by widths, in pixels of CSS."""
_SCHEMES = ("light", "dark")
_FULL_HEIGHT = 3_000
"""Maximum height of a screenshot, in pixels of CSS."""


def main(folder: Path, names: list[str]) -> None:
    """Write the screenshots of these pages, or of all, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="avatar-creator-screenshots-") as scratch,
        open_gallery(Path(scratch)) as gallery,
        running_chromium() as browser,
    ):
        for (width, height), scheme in product(_SIZES.items(), _SCHEMES):
            visitor = Visitor(
                browser,
                f"http://{gallery.deployment.web_target}",
                gallery.deployment.token(USER),
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                device_scale_factor=2,
                has_touch=width < 600,
            )
            for name in names or [*PATHS, "sign-in"]:
                path = folder / f"{name}-{width}-{scheme}.png"
                _take(visitor, gallery, name, path)
                print(path)
            visitor.close()


def _take(visitor: Visitor, gallery: Gallery, name: str, path: Path) -> None:
    if name == "sign-in":
        page = visitor.open("/", token="")
        page.get_by_role("dialog").wait_for()
        page.screenshot(path=path, animations="disabled")
        page.close()
        return
    page = visitor.open(path_of(name, project=gallery.project_id, avatar=gallery.avatar_id))
    wait_until_settled(page)
    size = page.viewport_size
    assert size is not None
    content = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({**size, "height": min(max(content, size["height"]), _FULL_HEIGHT)})
    wait_until_settled(page)
    page.screenshot(path=path, animations="disabled")
    page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
