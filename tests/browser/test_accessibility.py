"""People with disabilities: axe finds nothing on any page, and the settings of their system count."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator
from tests.browser.conftest import Visit
from tests.browser.furnished import furnish
from tests.browser.pages import PATHS, path_of
from tests.browser.visitor import Visitor, wait_until_settled
from tests.support.huggingface_router import RouterFake

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

_AXE = Axe()
# Targets of at least 24 pixels belong to WCAG 2.2 AA, but axe does not look at them by itself.
_OPTIONS = {"rules": {"target-size": {"enabled": True}}}


def violations(page: Page) -> list[str]:
    """Return what axe finds, with the elements."""
    found: list[dict[str, Any]] = _AXE.run(page, options=_OPTIONS).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {node['html'][:200]} ({node['failureSummary']})"
        for violation in found
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", PATHS)
def test_axe_finds_no_violation_in_light_and_in_dark(
    visit: Visit, client: AvatarCreator, router: RouterFake, name: str
) -> None:
    has = furnish(client, router)
    visitor = visit(reduced_motion="reduce")
    page = visitor.open(path_of(name, project=has.project.id, avatar=has.avatar.id))
    wait_until_settled(page)

    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found[scheme] = violations(page)
    page.set_viewport_size({"width": 390, "height": 844})
    found["narrow"] = violations(page)

    assert found == {"light": [], "dark": [], "narrow": []}


def test_axe_finds_no_violation_in_the_sign_in(visitor: Visitor) -> None:
    page = visitor.open("/", token="")
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    page.emulate_media(reduced_motion="reduce")

    assert violations(page) == []


@pytest.mark.parametrize("name", PATHS)
def test_nothing_moves_for_those_who_want_no_motion(
    visit: Visit, client: AvatarCreator, router: RouterFake, name: str
) -> None:
    has = furnish(client, router)
    visitor = visit(reduced_motion="reduce")
    page = visitor.open(path_of(name, project=has.project.id, avatar=has.avatar.id))
    wait_until_settled(page)

    moving = page.evaluate(
        """document.getAnimations()
            .filter((each) => each.playState === "running" && each.effect.getComputedTiming().endTime > 200)
            .map((each) => each.animationName ?? each.transitionProperty)"""
    )

    assert moving == []


@pytest.mark.parametrize("name", PATHS)
def test_a_page_works_with_the_colors_of_the_system_alone(
    visit: Visit, client: AvatarCreator, router: RouterFake, name: str
) -> None:
    has = furnish(client, router)
    visitor = visit(forced_colors="active", reduced_motion="reduce")
    page = visitor.open(path_of(name, project=has.project.id, avatar=has.avatar.id))
    wait_until_settled(page)

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    # Backgrounds go, so a bar needs another way to show how far it is.
    flat = page.evaluate(
        """[...document.querySelectorAll("[role=progressbar], progress, meter")].filter((bar) => {
            const part = bar.firstElementChild;
            return bar.checkVisibility() && part !== null
                && getComputedStyle(part).backgroundColor === getComputedStyle(bar).backgroundColor;
        }).map((bar) => bar.outerHTML)"""
    )
    assert flat == []
