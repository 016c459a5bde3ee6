"""Signing in to the page, and a token that ends while a person works."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator
from tests.browser.conftest import EMBEDDER_PORT
from tests.browser.embedder import Embedder
from tests.browser.visitor import Visitor
from tests.support.service import Deployment

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

ENDS_SOON_SECONDS = 4


def test_a_link_with_a_token_signs_in_and_leaves_the_token_nowhere_but_in_the_tab(
    visitor: Visitor, client: AvatarCreator
) -> None:
    client.projects.create("Spring campaign")

    page = visitor.open("/")

    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()
    assert page.url == f"{visitor.address}/"
    assert page.evaluate("history.length") <= 2, "the address with the token is no entry of the history"
    stored = page.evaluate("[document.cookie, JSON.stringify({...localStorage})]")
    assert visitor.token not in "".join(stored)
    assert visitor.context.cookies() == []


def test_a_pasted_token_signs_in(visitor: Visitor, client: AvatarCreator) -> None:
    client.projects.create("Spring campaign")
    page = visitor.open("/", token="")

    sign_in(page, "not a token")
    expect(page.get_by_role("dialog", name="Sign in")).to_contain_text("three parts")
    sign_in(page, visitor.token)

    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_app_that_embeds_the_page_hands_over_its_token(visitor: Visitor, client: AvatarCreator) -> None:
    client.projects.create("Spring campaign")
    visitor.expect_problems("favicon", "Blocked autofocusing")
    page = visitor.context.new_page()

    with Embedder(visitor.address, visitor.token, EMBEDDER_PORT) as app:
        page.goto(app.origin)
        embedded = page.frame_locator("iframe")
        expect(embedded.get_by_role("link", name="Spring campaign")).to_be_visible()


def test_a_token_of_a_site_that_is_not_known_is_ignored(visitor: Visitor, client: AvatarCreator) -> None:
    client.projects.create("Spring campaign")
    page = visitor.open("/", token="")
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()

    # The same window is another site than those that may hand over a token.
    page.evaluate("(token) => postMessage({type: 'avatar-creator:token', token}, '*')", visitor.token)
    page.evaluate("(token) => postMessage({type: 'avatar-creator:token', token: null}, '*')", visitor.token)

    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert page.evaluate("JSON.stringify({...sessionStorage})") == "{}"


def test_signing_out_forgets_the_token_and_shows_nothing(visitor: Visitor, client: AvatarCreator) -> None:
    client.projects.create("Spring campaign")
    page = visitor.open("/")
    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()

    page.get_by_role("button", name="Account and appearance").click()
    page.get_by_role("menuitem", name="Sign out").click()

    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    expect(page.get_by_text("Spring campaign")).to_have_count(0)
    assert page.evaluate("JSON.stringify({...sessionStorage})") == "{}"


def test_a_refused_token_is_explained(visitor: Visitor) -> None:
    visitor.expect_problems("HTTP 401")

    page = visitor.open("/", token=f"{visitor.token[:-4]}AAAA")

    expect(page.get_by_role("dialog", name="This token does not work")).to_be_visible()
    sign_in(page, visitor.token)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_an_expired_token_asks_for_another_one_and_keeps_what_was_typed(
    visitor: Visitor, site: Deployment, client: AvatarCreator, user: str
) -> None:
    project = client.projects.create("Spring campaign")
    visitor.expect_problems("HTTP 401")
    short = site.token(user, exp=int(time.time()) + ENDS_SOON_SECONDS)
    page = visitor.open(f"/projects/{project.id}/generate", token=short)
    prompt = page.get_by_role("textbox", name="Description")
    prompt.fill("confident business woman")

    # The watch ends with the token, so the page learns of it without any action.
    expect(page.get_by_role("dialog", name="Please sign in again")).to_be_visible()
    sign_in(page, visitor.token)

    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(prompt).to_have_value("confident business woman")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("link", name="1 portrait in the making")).to_be_visible()


def sign_in(page: Page, token: str) -> None:
    """Sign in with a pasted token."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Access token").fill(token)
    dialog.get_by_role("button", name="Sign in").click()
