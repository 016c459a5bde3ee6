"""The page on narrow screens and in both languages."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator
from tests.browser.conftest import Visit
from tests.browser.furnished import furnish
from tests.browser.pages import PATHS, path_of
from tests.browser.visitor import wait_until_settled
from tests.support.huggingface_router import RouterFake

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PHONE, REFLOW = 390, 320
"""Widths in pixels: a common phone, and what WCAG 2.2 asks for (criterion 1.4.10)."""

_SAME_IN_BOTH = {
    *(
        "Avatar Creator",
        "Preset",
        "Presets",
        "Total",
        "Model",
        "Status",
        "Filter",
        "Prompt",
        "Persona",
        "Seed",
    ),
    *("English", "Bahasa Indonesia"),
}
"""Words that both languages share."""

_TEXTS = """() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts = new Set();
    while (walker.nextNode()) {
        const { parentElement, data } = walker.currentNode;
        if (parentElement?.checkVisibility() && /\\p{L}{3}/u.test(data)) texts.add(data.trim());
    }
    for (const element of document.querySelectorAll("[aria-label], [placeholder], [title]"))
        for (const name of ["aria-label", "placeholder", "title"]) {
            const text = element.getAttribute(name) ?? "";
            if (element.checkVisibility() && /\\p{L}{3}/u.test(text)) texts.add(text);
        }
    return [...texts];
}"""


def overflowing(page: Page) -> list[str]:
    """Return the elements that make a page wider than its window, if it is."""
    found: list[str] = page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            const isOver = (element) => element.getBoundingClientRect().right > width + 0.5;
            return [...document.querySelectorAll("body *")]
                .filter((element) => element.checkVisibility() && isOver(element))
                .map((element) => `${element.tagName} ${element.className}`);
        }"""
    )
    return found


@pytest.mark.parametrize("name", PATHS)
def test_no_page_scrolls_sideways_on_a_phone(
    visit: Visit, client: AvatarCreator, router: RouterFake, name: str
) -> None:
    has = furnish(client, router)
    visitor = visit(viewport={"width": PHONE, "height": 844}, locale="id-ID", has_touch=True)
    page = visitor.open(path_of(name, project=has.project.id, avatar=has.avatar.id))
    wait_until_settled(page)

    too_wide = {PHONE: overflowing(page)}
    page.set_viewport_size({"width": REFLOW, "height": 640})
    too_wide[REFLOW] = overflowing(page)

    assert too_wide == {PHONE: [], REFLOW: []}


@pytest.mark.parametrize("name", PATHS)
def test_every_page_speaks_indonesian(
    visit: Visit, client: AvatarCreator, router: RouterFake, name: str
) -> None:
    has = furnish(client, router)
    path = path_of(name, project=has.project.id, avatar=has.avatar.id)
    texts: dict[str, set[str]] = {}
    for locale in ("en-US", "id-ID"):
        page = visit(locale=locale).open(path)
        wait_until_settled(page)
        expect(page.locator("html")).to_have_attribute("lang", locale[:2])
        texts[locale] = set(page.evaluate(_TEXTS))

    assert len(texts["id-ID"]) > 5
    assert texts["en-US"] & texts["id-ID"] - _SAME_IN_BOTH - given(client) == set()


def given(client: AvatarCreator) -> set[str]:
    """Return the texts of the pages that come from the service, in its only language."""
    raise NotImplementedError(client)


def test_the_language_can_be_changed_and_stays(visit: Visit, client: AvatarCreator) -> None:
    visitor = visit()
    page = visitor.open("/")
    expect(page.get_by_role("heading", level=1, name="Projects")).to_be_visible()

    page.get_by_role("button", name="Account and appearance").click()
    page.get_by_role("menuitemradio", name="Bahasa Indonesia").click()

    expect(page.get_by_role("heading", level=1, name="Proyek")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1, name="Proyek")).to_be_visible()
