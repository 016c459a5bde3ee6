"""Generations on the page while they run: cards that move, survive, and become avatars."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator, Project
from tests.browser.furnished import REFUSED
from tests.browser.visitor import Visitor
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.service import Deployment

PROMPT = "confident business woman"
LOST_CONNECTION = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "HTTP 503",
)
"""Problems that a stopped server causes in a browser."""


@pytest.fixture
def project(client: AvatarCreator) -> Project:
    """A project of the user, without avatars."""
    return client.projects.create("Spring campaign")


@contextmanager
def without_reload(page: Page) -> Iterator[None]:
    """Fail if the page is loaded again in the block."""
    page.evaluate("window.sameDocument = true")
    yield
    assert page.evaluate("window.sameDocument") is True


def test_a_card_moves_and_becomes_the_avatar_without_a_reload(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    router.behave(always=Behavior(hold=True))
    page = visitor.open(f"/projects/{project.id}")
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()

    with without_reload(page):
        client.generations.create(project, PROMPT, width=256, height=256)
        card = page.get_by_role("article", name=PROMPT)
        expect(card.get_by_role("progressbar")).to_have_attribute(
            "aria-valuetext", re.compile("2\\d%, Drawing")
        )
        router.wait_until_polled()
        router.finish()
        expect(page.get_by_role("link", name=PROMPT)).to_be_visible()

    expect(card).to_have_count(0)
    expect(page.get_by_text("1 avatar", exact=True)).to_be_visible()


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_a_refresh_in_mid_generation_shows_the_same_card_and_loses_nothing(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    router.behave(always=Behavior(hold=True))
    client.generations.create(project, PROMPT, width=256, height=256)
    page = visitor.open(f"/projects/{project.id}")
    progress = page.get_by_role("article", name=PROMPT).get_by_role("progressbar")
    expect(progress).to_have_attribute("aria-valuetext", re.compile("Drawing"))

    page.reload()

    expect(progress).to_have_attribute("aria-valuetext", re.compile("Drawing"))
    router.finish()
    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
    assert router.count == 1


def test_a_restart_of_the_server_in_mid_generation_is_shown_and_the_card_goes_on(
    visitor: Visitor, site: Deployment, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    visitor.expect_problems(*LOST_CONNECTION)
    router.behave(always=Behavior(hold=True))
    client.generations.create(project, PROMPT, width=256, height=256)
    page = visitor.open(f"/projects/{project.id}")
    card = page.get_by_role("article", name=PROMPT)
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuetext", re.compile("Drawing"))

    with without_reload(page):
        site.servers[-1].kill()
        expect(page.get_by_role("status")).to_contain_text(["Reconnecting to the service"])
        expect(card).to_be_visible()
        site.start_server()
        expect(page.get_by_text("Reconnecting to the service")).to_have_count(0)
        router.finish()
        expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
    assert router.count == 1, "the picture was paid for once"


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_a_failed_generation_says_why_and_can_be_tried_again(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    router.behave(REFUSED)
    page = visitor.open(f"/projects/{project.id}")
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()
    client.generations.create(project, PROMPT, width=256, height=256)
    card = page.get_by_role("article", name=PROMPT)

    expect(card.get_by_text("The image provider does not allow this content")).to_be_visible()
    card.get_by_role("button", name="Try again").click()

    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
    expect(card).to_have_count(0)


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_a_generation_can_be_cancelled_and_started_again(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    router.behave(Behavior(hold=True))
    client.generations.create(project, PROMPT, width=256, height=256)
    page = visitor.open(f"/projects/{project.id}")
    card = page.get_by_role("article", name=PROMPT)

    card.get_by_role("button", name=f"Cancel {PROMPT}").click()
    expect(card).to_have_count(0)
    page.get_by_role("button", name="Start again").click()

    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
