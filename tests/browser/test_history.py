"""The history of generations: found, tried again, and compared."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from avatar_creator import AvatarCreator
from tests.browser.furnished import REFUSED
from tests.browser.visitor import Visitor
from tests.support.generations import FAILED
from tests.support.huggingface_router import RouterFake
from tests.support.waiting import wait_until

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PROMPT = "confident business woman"


def test_a_failed_generation_is_found_and_tried_again(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create("Spring campaign")
    router.behave(REFUSED)
    failing = client.generations.create(project, PROMPT, width=256, height=256)
    wait_until(lambda: failing.refresh().state == FAILED)
    client.generations.create(project, "a calm engineer", width=256, height=256).wait()
    page = visitor.open("/history")
    expect(page.get_by_role("article")).to_have_count(2)

    page.get_by_role("group", name="States").get_by_text("Failed").click()
    expect(page.get_by_role("article")).to_have_count(1)
    expect(page.get_by_role("article", name=PROMPT)).to_contain_text("does not allow this content")
    page.reload()
    expect(page.get_by_role("article")).to_have_count(1)
    page.get_by_role("button", name=f"Try {PROMPT} again").click()

    page.get_by_role("group", name="States").get_by_text("Failed").click()
    expect(page.get_by_role("article", name=PROMPT).get_by_role("link", name=PROMPT)).to_be_visible()
    again = client.generations.list(project)
    assert sum(generation.retry_of == failing.id for generation in again) == 1


def test_variations_are_compared_side_by_side_and_in_the_same_frame(
    visitor: Visitor, client: AvatarCreator
) -> None:
    project = client.projects.create("Spring campaign")
    client.generations.create_variations(project, PROMPT, 3, width=256, height=256).wait_all()
    page = visitor.open("/history")

    page.get_by_role("button", name="Compare").click()
    dialog = page.get_by_role("dialog", name="Compare variations")
    expect(dialog.get_by_role("img", name="A, variation 1")).to_be_visible()
    expect(dialog.get_by_role("img", name="B, variation 2")).to_be_visible()

    dialog.get_by_text("Same frame").click()
    expect(dialog.get_by_role("figure")).to_have_count(1)
    dialog.get_by_role("group", name="Pictures to compare").focus()
    page.keyboard.press("Space")
    expect(dialog.get_by_text("B, variation 2")).to_be_attached()
    page.keyboard.press("3")
    expect(dialog.get_by_text("B, variation 3")).to_be_attached()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
