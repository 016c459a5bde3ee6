"""From words to an avatar, by mouse, by keyboard, and with what can go wrong on the way."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from avatar_creator import AvatarCreator, Project
from tests import pictures
from tests.browser.visitor import Visitor
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.presence import present

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PROMPT = "confident business woman"
_MAX_STEPS = 120
"""Maximum number of times that a person presses Tab to reach something."""


@pytest.fixture
def project(client: AvatarCreator) -> Project:
    """A project of the user, without avatars."""
    return client.projects.create("Spring campaign")


def open_form(visitor: Visitor, project: Project) -> Page:
    """Open the project, and go to the form of a new portrait."""
    page = visitor.open(f"/projects/{project.id}")
    page.get_by_role("main").get_by_role("link", name="Generate").first.click()
    expect(page.get_by_role("heading", level=1, name="New portrait")).to_be_visible()
    return page


def test_words_become_a_card_and_the_card_becomes_an_avatar_without_a_reload(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    router.behave(always=Behavior(hold=True))
    page = open_form(visitor, project)
    page.evaluate("window.sameDocument = true")

    page.get_by_role("textbox", name="Description").fill(PROMPT)
    page.get_by_role("button", name="Female", exact=True).click()
    page.get_by_role("button", name="Generate", exact=True).click()

    card = page.get_by_role("article", name=PROMPT)
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuetext", re.compile("Drawing"))
    router.finish()
    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
    expect(card).to_have_count(0)
    assert page.evaluate("window.sameDocument") is True
    (avatar,) = client.avatars.list(project)
    assert avatar.generation_prompt == PROMPT
    assert str(avatar.attributes.gender) == "female"


def test_four_variations_are_four_cards(
    visitor: Visitor, router: RouterFake, client: AvatarCreator, project: Project
) -> None:
    router.behave(always=Behavior(hold=True))
    page = open_form(visitor, project)

    page.get_by_role("textbox", name="Description").fill(PROMPT)
    page.get_by_role("group", name="Variations").get_by_text("4", exact=True).click()
    page.get_by_role("button", name="Generate 4").click()

    expect(page.get_by_role("article", name=PROMPT)).to_have_count(4)
    assert len(list(client.generations.list(project))) == 4


def test_the_price_and_the_time_follow_what_is_typed(
    visitor: Visitor, router: RouterFake, project: Project
) -> None:
    page = open_form(visitor, project)
    price = page.locator("dd").first
    expect(price).to_contain_text("$")
    before = price.inner_text()

    page.get_by_role("group", name="Variations").get_by_text("8", exact=True).click()

    expect(price).not_to_have_text(before)


def test_a_form_without_words_says_what_is_missing_at_the_field(
    visitor: Visitor, router: RouterFake, project: Project
) -> None:
    page = open_form(visitor, project)

    page.get_by_role("button", name="Generate", exact=True).click()

    description = page.get_by_role("textbox", name="Description")
    expect(description).to_be_focused()
    expect(description).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("Describe the portrait, or begin with a preset.")).to_be_visible()


def test_a_draft_survives_a_reload(visitor: Visitor, router: RouterFake, project: Project) -> None:
    page = open_form(visitor, project)
    page.get_by_role("textbox", name="Description").fill(PROMPT)

    page.reload()

    expect(page.get_by_role("textbox", name="Description")).to_have_value(PROMPT)


def test_a_preset_fills_the_form_and_is_counted(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    preset = next(iter(client.presets.list()))
    page = open_form(visitor, project)

    page.get_by_role("button", name=preset.name).click()
    page.get_by_role("button", name="Generate", exact=True).click()

    expect(page.get_by_role("link", name=present(preset.persona).name)).to_be_visible()
    (avatar,) = client.avatars.list(project)
    assert str(avatar.source_type) == "from_preset"


def test_a_picture_of_the_disk_becomes_the_reference(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    page = open_form(visitor, project)

    page.locator("input[type=file]").set_input_files(
        {"name": "sarah.png", "mimeType": "image/png", "buffer": pictures.png(pictures.scene(300, 300))}
    )
    page.get_by_role("textbox", name="Description").fill(PROMPT)
    page.get_by_role("button", name="Generate", exact=True).click()

    expect(page.get_by_role("link", name=PROMPT)).to_be_visible()
    drawn = next(avatar for avatar in client.avatars.list(project) if avatar.name != "sarah")
    assert str(drawn.source_type) == "from_reference"


@pytest.mark.parametrize("is_refused", [False, True], ids=["accepted", "refused"])
def test_a_person_who_leaves_before_the_answer_stays_where_they_went(
    visitor: Visitor, router: RouterFake, project: Project, is_refused: bool
) -> None:
    router.behave(always=Behavior(hold=True))
    page = open_form(visitor, project)
    held: list[Route] = []
    page.route("**/CreateGeneration", lambda route: held.append(route))

    page.get_by_role("textbox", name="Description").fill(PROMPT)
    with page.expect_request("**/CreateGeneration"):
        page.get_by_role("button", name="Generate", exact=True).click()
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", level=1, name="Usage")).to_be_visible()
    if is_refused:
        visitor.expect_problems("CreateGeneration: HTTP 403")
        refusal = {"code": "permission_denied", "message": "the app may not draw"}
        held[0].fulfill(status=403, json=refusal)
        expect(page.get_by_text("the app may not draw")).to_be_visible()
    else:
        held[0].continue_()
        expect(
            page.get_by_role("region", name="Messages").get_by_text("The portrait is in the making.")
        ).to_be_visible()

    assert page.url == f"{visitor.address}/usage"


def reach(page: Page, wanted: Locator) -> None:
    """Press Tab until something has the focus."""
    for _ in range(_MAX_STEPS):
        if wanted.evaluate_all("([element]) => element !== undefined && element === document.activeElement"):
            assert page.evaluate("document.activeElement.matches(':focus-visible')"), (
                "the focus is not visible"
            )
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reached {wanted}")


def test_a_person_without_a_mouse_makes_a_portrait_and_opens_it(
    visitor: Visitor, client: AvatarCreator, router: RouterFake, project: Project
) -> None:
    page = visitor.open("/")
    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()
    keyboard = page.keyboard

    keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keyboard.press("Enter")
    reach(page, page.get_by_role("link", name="Spring campaign"))
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_focused()
    reach(page, page.get_by_role("main").get_by_role("link", name="Generate"))
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="New portrait")).to_be_focused()
    reach(page, page.get_by_role("textbox", name="Description"))
    keyboard.type(PROMPT)
    reach(page, page.get_by_role("button", name="Female", exact=True))
    keyboard.press("Space")
    reach(page, page.get_by_role("button", name="Generate", exact=True))
    keyboard.press("Enter")

    avatar = page.get_by_role("link", name=PROMPT)
    expect(avatar).to_be_visible()
    reach(page, avatar)
    keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name=PROMPT)).to_be_visible()
    (made,) = client.avatars.list(project)
    assert page.url.endswith(f"/avatars/{made.id}")
    assert str(made.attributes.gender) == "female"
