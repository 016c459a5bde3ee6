"""A project with a thousand avatars."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from avatar_creator import AvatarCreator
from tests import pictures
from tests.browser.visitor import Visitor
from tests.support.presence import present
from tests.support.rows import copy_row
from tests.support.service import Deployment

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

AVATARS = 1_000
PICTURE = pictures.png(pictures.scene(30, 30))

_WATCH_TILES = """() => {
    window.seen = new Set();
    window.doubled = 0;
    const look = () => {
        const now = [...document.querySelectorAll("[data-tile]")].map((tile) => tile.dataset.tile);
        for (const id of now) seen.add(id);
        doubled = Math.max(doubled, now.length - new Set(now).size);
    };
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true});
    look();
}"""
_SCROLL = """(count) => {
    if (seen.size < count) scrollTo(0, document.documentElement.scrollHeight);
    return seen.size >= count;
}"""


@pytest.fixture
def ids(site: Deployment, client: AvatarCreator) -> Iterator[tuple[str, set[str]]]:
    """A project and its avatars, all with the picture of the first one."""
    project = client.projects.create("Everybody")
    first = client.avatars.upload(project, PICTURE, name="Face 0")
    newest = uuid.UUID(first.id).int
    copies = [
        {
            "id": str(uuid.UUID(int=newest - number)),  # lists have the order of the ids
            "name": f"Face {number}",
            "create_time": present(first.create_time) - timedelta(seconds=number),
        }
        for number in range(1, AVATARS)
    ]
    copy_row(site, "avatars", {"id": first.id}, copies)
    site.execute("UPDATE avatar_projects SET avatar_count = %s WHERE id = %s", AVATARS, project.id)
    yield project.id, {first.id, *(str(copy["id"]) for copy in copies)}
    site.execute("DELETE FROM avatars WHERE project_id = %s AND id != %s", project.id, first.id)


def test_scrolling_to_the_end_shows_each_of_a_thousand_avatars_once(
    visitor: Visitor, ids: tuple[str, set[str]]
) -> None:
    project_id, expected = ids
    # The pictures are those of other tests: here they would only take the time of the service.
    visitor.context.route(
        "**/pictures/**", lambda route: route.fulfill(body=PICTURE, content_type="image/png")
    )
    page = visitor.open(f"/projects/{project_id}")
    expect(page.get_by_role("link", name="Face 0", exact=True)).to_be_visible()
    page.evaluate(_WATCH_TILES)

    page.wait_for_function(_SCROLL, arg=AVATARS)

    assert set(page.evaluate("[...seen]")) == expected
    assert page.evaluate("doubled") == 0
    expect(page.get_by_role("link", name=f"Face {AVATARS - 1}")).to_be_visible()
    # The browser lays out only what is near the window, so that the page stays smooth.
    rendered = page.evaluate(
        """[...document.querySelectorAll("[data-tile]")].filter((tile) =>
            tile.checkVisibility({contentVisibilityAuto: true})).length"""
    )
    assert rendered < AVATARS / 4
    assert page.evaluate("performance.getEntriesByType('resource').length") < AVATARS
