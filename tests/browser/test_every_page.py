"""Every page, for people with disabilities, on narrow screens and in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from google.protobuf.json_format import MessageToDict
from playwright.sync_api import Browser, Page, expect

from avatar_creator import AvatarCreator
from bench.page import MAX_CLS, MAX_SCRIPT_BYTES, PHONE, measure
from tests.browser.conftest import Visit
from tests.browser.furnished import Furnished, furnish
from tests.browser.pages import PATHS, path_of
from tests.browser.visitor import Visitor, wait_until_settled
from tests.support.huggingface_router import RouterFake
from tests.support.service import Deployment

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

USER = "furnished"
NARROW, REFLOW = 390, 320
"""Widths in pixels: a common phone, and what WCAG 2.2 asks for (criterion 1.4.10)."""

_FASTER_PHONE = replace(PHONE, name="phone with a fast CPU, slow 4G", cpu_slowdown=1)
"""A phone for which the browser need not spend three quarters of its time doing nothing.

Parts of a page come at different times because of the network. The slow CPU also loads the page with the most
parts, and `bench.page` lets it load all of them.
"""

_AXE = Axe()
# Targets of at least 24 pixels belong to WCAG 2.2 AA, but axe does not look at them by itself.
_OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
_COLORS = {"resultTypes": ["violations"], "runOnly": ["color-contrast", "link-in-text-block"]}
"""The rules about what another color scheme changes."""

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
    *("Afro", "Fedora", "Formal", "Gender", "Hazel", "Hijab", "Peci", "Sporty", "Streetwear"),
    *("English", "Bahasa Indonesia"),
}
"""Words that both languages share."""

_MOVING = """document.getAnimations()
    .filter((each) => each.playState === "running" && each.effect.getComputedTiming().endTime > 200)
    .map((each) => each.animationName ?? each.transitionProperty)"""
_STILL = """() => document.getAnimations().every((each) => each.playState !== "running")"""
_FLAT = """[...document.querySelectorAll("[role=progressbar], progress, meter")].filter((bar) => {
    if (!bar.checkVisibility() || bar.childElementCount === 0) return false;
    const paint = (part) => getComputedStyle(part)[part instanceof SVGElement ? "stroke" : "backgroundColor"];
    const track = bar instanceof SVGElement ? bar.firstElementChild : bar;
    return paint(bar.lastElementChild) === paint(track);
}).map((bar) => bar.outerHTML)"""
_TOO_WIDE = """(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
        .filter((element) => element.checkVisibility() && element.getBoundingClientRect().right > width + 0.5)
        .map((element) => `${element.tagName} ${element.className}`);
})()"""
_TEXTS = """(() => {
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
})()"""


@pytest.fixture(scope="module")
def furnished(site: Deployment, router_process: RouterFake) -> Iterator[tuple[Furnished, set[str]]]:
    """A user with something on every page, and all texts that come from the service."""
    router_process.make_ready()
    with site.client(USER) as client:
        has = furnish(client, router_process)
        yield has, texts_of_the_service(client)
        router_process.make_ready()
        client.projects.delete(has.project)


def texts_of_the_service(client: AvatarCreator) -> set[str]:
    """Return the texts that are the same in both languages, because they come from the service."""
    avatars = list(client.avatars.find())
    resources: list[Any] = [
        *client.projects.list(),
        *avatars,
        *(use for avatar in avatars for use in client.usage.list(avatar)),
        *client.generations.list(),
        *client.presets.list(),
        *client.personas.list(),
    ]
    return {text for resource in resources for text in _texts_in(MessageToDict(resource.message))}


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(part)


def violations(page: Page, options: dict[str, Any] = _OPTIONS) -> list[str]:
    """Return what axe finds, with the elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE.axe_script)
    found: list[dict[str, Any]] = page.evaluate("(options) => axe.run(options)", options)["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in found
        for node in violation["nodes"]
    ]


class Tab:
    """A tab of `USER` that goes from page to page: a browser that knows the files loads them quickly."""

    def __init__(self, visitor: Visitor, has: Furnished) -> None:
        self._visitor = visitor
        self._has = has
        self._page = visitor.open("/")
        self._size = self._page.viewport_size

    def open(self, name: str) -> Page:
        """Load a page in the size and the colors of the window, and wait until it is complete."""
        assert self._size is not None
        self._page.set_viewport_size(self._size)
        self._page.emulate_media(color_scheme="light", forced_colors="none")
        self._page.goto(path_of(name, project=self._has.project.id, avatar=self._has.avatar.id))
        wait_until_settled(self._page)
        return self._page

    def problems(self) -> list[str]:
        """Return what has gone wrong in the tab so far."""
        return self._visitor.problems()


@contextmanager
def tab_of(browser: Browser, site: Deployment, has: Furnished, **options: Any) -> Iterator[Tab]:
    """Open a window with a tab; see `Visitor` for the options."""
    visitor = Visitor(browser, f"http://{site.web_target}", site.token(USER), **options)
    try:
        yield Tab(visitor, has)
    finally:
        visitor.close()


@pytest.fixture(scope="module")
def still_tab(browser: Browser, site: Deployment, furnished: tuple[Furnished, set[str]]) -> Iterator[Tab]:
    """The tab of someone who wants no motion."""
    with tab_of(browser, site, furnished[0], reduced_motion="reduce") as tab:
        yield tab


@pytest.fixture(scope="module")
def phone_tabs(
    browser: Browser, site: Deployment, furnished: tuple[Furnished, set[str]]
) -> Iterator[dict[str, Tab]]:
    """Tabs of a phone by their locales."""
    with ExitStack() as opened:
        phone: dict[str, Any] = {"viewport": {"width": NARROW, "height": 844}, "has_touch": True}
        yield {
            locale: opened.enter_context(tab_of(browser, site, furnished[0], locale=locale, **phone))
            for locale in ("en-US", "id-ID")
        }


@pytest.mark.parametrize("name", PATHS)
def test_everyone_can_use_a_page_in_each_color_scheme_and_without_motion(still_tab: Tab, name: str) -> None:
    page = still_tab.open(name)
    found = {"moving": page.evaluate(_MOVING), "light": violations(page)}

    page.emulate_media(forced_colors="active")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    # Backgrounds go, so a bar needs another way to show how far it is.
    found["flat"] = page.evaluate(_FLAT)

    page.emulate_media(forced_colors="none", color_scheme="dark")
    page.wait_for_function(_STILL)
    found["dark"] = violations(page, _COLORS)
    page.set_viewport_size({"width": NARROW, "height": 844})
    found["phone"] = violations(page)

    assert found == {"moving": [], "light": [], "flat": [], "dark": [], "phone": []}
    assert still_tab.problems() == []


@pytest.mark.parametrize("name", PATHS)
def test_a_page_speaks_indonesian_and_fits_a_phone(
    phone_tabs: dict[str, Tab], furnished: tuple[Furnished, set[str]], name: str
) -> None:
    _, of_the_service = furnished
    texts: dict[str, set[str]] = {}
    for locale, tab in phone_tabs.items():
        page = tab.open(name)
        expect(page.locator("html")).to_have_attribute("lang", locale[:2])
        texts[locale] = set(page.evaluate(_TEXTS))
        assert page.evaluate(_TOO_WIDE) == []
        page.set_viewport_size({"width": REFLOW, "height": 640})
        assert page.evaluate(_TOO_WIDE) == []
        assert tab.problems() == []

    assert len(texts["id-ID"]) > 5
    assert texts["en-US"] & texts["id-ID"] - _SAME_IN_BOTH - of_the_service == set()


def test_axe_finds_no_violation_in_the_sign_in(visit: Visit) -> None:
    page = visit(reduced_motion="reduce").open("/", token="")
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()

    assert violations(page) == []


def test_axe_finds_no_violation_in_dialogs_and_menus(still_tab: Tab) -> None:
    page = still_tab.open("projects")
    found = {}

    page.get_by_role("button", name="Account and appearance").click()
    found["menu"] = violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New project").click()
    dialog = page.get_by_role("dialog", name="New project")
    expect(dialog).to_be_visible()
    # Only the page has them. Axe does not say so while it knows that nothing else can be reached.
    expect(dialog.get_by_role("banner").or_(dialog.get_by_role("contentinfo"))).to_have_count(0)
    found["dialog"] = violations(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="More about Empty project").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.get_by_role("dialog", name="Delete “Empty project”?")).to_be_visible()
    found["question"] = violations(page)

    assert found == {"menu": [], "dialog": [], "question": []}
    assert still_tab.problems() == []


def test_the_language_can_be_changed_and_stays(visit: Visit) -> None:
    page = visit().open("/")
    expect(page.get_by_role("heading", level=1, name="Projects")).to_be_visible()

    page.get_by_role("button", name="Account and appearance").click()
    page.get_by_role("menuitemradio", name="Bahasa Indonesia").click()

    expect(page.get_by_role("heading", level=1, name="Proyek")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1, name="Proyek")).to_be_visible()


@pytest.mark.parametrize("name", PATHS)
def test_a_page_is_small_and_nothing_moves_while_a_slow_phone_loads_it(
    browser: Browser, site: Deployment, furnished: tuple[Furnished, set[str]], name: str
) -> None:
    has, _ = furnished
    path = path_of(name, project=has.project.id, avatar=has.avatar.id)

    device = PHONE if name == "project" else _FASTER_PHONE
    figures = measure(browser, f"http://{site.web_target}", site.token(USER), name, path, device, loads=1)

    assert figures.script_bytes <= MAX_SCRIPT_BYTES
    assert figures.cls <= MAX_CLS
