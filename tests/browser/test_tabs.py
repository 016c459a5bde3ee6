"""Several tabs of one browser, hidden tabs, and a browser without a connection."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator
from tests.browser.visitor import Visitor
from tests.browser.watches import OpenWatches
from tests.support.huggingface_router import Behavior, RouterFake

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

TABS = 7
"""One more than the connections that a browser opens to a server over HTTP/1.1."""
PROMPT = "confident business woman"


def show(page: Page, visibility: str) -> None:
    """Let a tab believe that it is `hidden` or `visible`: without windows, each tab is visible."""
    page.evaluate(
        """(now) => {
            Object.defineProperty(document, "visibilityState", {get: () => now, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        visibility,
    )


def test_seven_tabs_share_one_watch_and_all_are_live(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create("Spring campaign")
    router.behave(always=Behavior(hold=True))
    watches = OpenWatches(visitor.context)
    tabs = [visitor.open(f"/projects/{project.id}") for _ in range(TABS)]
    for tab in tabs:
        expect(tab.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()
    watches.wait_for(1)

    client.generations.create(project, PROMPT, width=256, height=256)

    for tab in tabs:
        expect(tab.get_by_role("article", name=PROMPT)).to_be_visible()
    router.finish()
    for tab in tabs:
        expect(tab.get_by_role("link", name=PROMPT)).to_be_visible()
    watches.wait_for(1)


def test_when_the_tab_that_watches_is_closed_another_one_goes_on(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create("Spring campaign")
    watches = OpenWatches(visitor.context)
    tabs = [visitor.open(f"/projects/{project.id}") for _ in range(2)]
    watches.wait_for(1)
    (first,) = watches.watching
    (other,) = [tab for tab in tabs if tab is not first]

    first.close()

    client.generations.create(project, PROMPT, width=256, height=256)
    expect(other.get_by_role("link", name=PROMPT)).to_be_visible()


def test_a_hidden_tab_does_not_watch_and_catches_up_when_it_is_seen_again(
    visitor: Visitor, client: AvatarCreator
) -> None:
    project = client.projects.create("Spring campaign")
    watches = OpenWatches(visitor.context)
    page = visitor.open(f"/projects/{project.id}")
    watches.wait_for(1)

    show(page, "hidden")
    watches.wait_for(0)
    client.generations.create(project, PROMPT, width=256, height=256).wait()
    expect(page.get_by_role("link", name=PROMPT)).to_have_count(0)
    show(page, "visible")

    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
    watches.wait_for(1)


def test_a_browser_without_a_connection_says_so_and_goes_on_afterwards(
    visitor: Visitor, client: AvatarCreator
) -> None:
    project = client.projects.create("Spring campaign")
    visitor.expect_problems("ERR_INTERNET_DISCONNECTED", "ERR_NETWORK_IO_SUSPENDED", "ERR_FAILED")
    page = visitor.open(f"/projects/{project.id}")
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()

    visitor.context.set_offline(True)
    expect(page.get_by_text("You are offline")).to_be_visible()
    client.generations.create(project, PROMPT, width=256, height=256).wait()
    visitor.context.set_offline(False)

    expect(page.get_by_text("You are offline")).to_have_count(0)
    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
