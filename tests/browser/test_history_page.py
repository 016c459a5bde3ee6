"""The history of generations while they run, many at once, and page by page."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from avatar_creator import AvatarCreator
from tests.browser.furnished import REFUSED
from tests.browser.visitor import Visitor
from tests.support.generations import CANCELLED, FAILED
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.waiting import wait_until

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PROMPT = "confident business woman"


@pytest.fixture(autouse=True)
def _without_leftovers(client: AvatarCreator) -> Iterator[None]:
    """Delete the test's projects at its end: held generations would keep the workers from other tests."""
    yield
    for project in client.projects.list():
        client.projects.delete(project)


def test_a_generation_comes_runs_and_ends_in_the_list_without_a_reload(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create("Spring campaign")
    router.behave(always=Behavior(hold=True))
    page = visitor.open("/history")
    expect(page.get_by_role("heading", name="Nothing generated yet")).to_be_visible()

    client.generations.create(project, PROMPT, width=256, height=256)
    row = page.get_by_role("article", name=PROMPT)
    expect(row.get_by_role("progressbar")).to_be_visible()
    expect(row).to_contain_text("Drawing")
    router.finish()

    expect(row.get_by_role("link", name=PROMPT)).to_be_visible()
    expect(row).to_contain_text(re.compile(r"Completed.*Spring campaign.*huggingface.*took.*\$0\.0"))
    expect(row.get_by_role("progressbar")).to_have_count(0)
    row.get_by_role("button", name=f"Details of {PROMPT}").click()
    expect(row).to_contain_text("black-forest-labs/FLUX.1-dev")
    expect(row).to_contain_text("Attempt 1")


def test_many_are_tried_again_and_cancelled_at_once_by_the_keyboard(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create("Spring campaign")
    router.behave(REFUSED, REFUSED, always=Behavior(hold=True))
    failing = [client.generations.create(project, f"portrait {number}") for number in range(2)]
    wait_until(lambda: all(each.refresh().state == FAILED for each in failing))
    client.generations.create(project, PROMPT)
    page = visitor.open("/history")
    expect(page.get_by_role("article")).to_have_count(3)

    page.get_by_role("button", name="Select", exact=True).press("Enter")
    for name in ("portrait 0", "portrait 1", PROMPT):
        page.get_by_role("checkbox", name=f"Select {name}").press("Space")
    page.get_by_role("button", name="Try 2 again").press("Enter")

    expect(page.get_by_role("article")).to_have_count(5)
    expect(page.get_by_text("2 generations are in the queue again.")).to_be_visible()
    retried = {generation.retry_of for generation in client.generations.list(project)}
    assert retried == {None, *(each.id for each in failing)}

    page.get_by_role("button", name="Select", exact=True).press("Enter")
    page.get_by_role("button", name="Select all").press("Enter")
    page.get_by_role("button", name="Cancel 3").press("Enter")

    expect(page.get_by_text("3 generations were cancelled.")).to_be_visible()
    assert [generation.state for generation in client.generations.list(project)].count(CANCELLED) == 3


def test_a_long_history_comes_page_by_page_and_is_filtered_by_the_address(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    router.behave(always=Behavior(hold=True))
    many, few = (client.projects.create(name) for name in ("Spring campaign", "Autumn campaign"))
    for _ in range(5):
        client.generations.create_variations(many, PROMPT, 8)
    client.generations.create_variations(few, "a calm engineer", 3)

    page = visitor.open("/history")
    expect(page.get_by_role("article")).to_have_count(40)
    page.get_by_role("article").last.scroll_into_view_if_needed()
    expect(page.get_by_role("article")).to_have_count(43)

    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("combobox", name="Project").select_option("Autumn campaign")
    expect(page.get_by_role("article")).to_have_count(3)
    assert page.url == f"{visitor.address}/history?project={few.id}"
    page.get_by_label("To", exact=True).fill("2026-01-01")
    expect(page.get_by_role("heading", name="No generation matches")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Clear filters").last.click()

    expect(page.get_by_role("article", name=PROMPT).first).to_be_visible()
    assert page.url == f"{visitor.address}/history"
