"""The form of a new portrait: what it takes from its address, and how it shows what the service refuses."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator, Project
from tests import pictures
from tests.browser.visitor import Visitor
from tests.support.huggingface_router import RouterFake

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PROMPT = "confident business woman"


@pytest.fixture
def project(client: AvatarCreator, router: RouterFake) -> Project:
    """A project of the user, without avatars."""
    return client.projects.create("Spring campaign")


def description(page: Page, text: str) -> None:
    """Describe the portrait."""
    page.get_by_role("textbox", name="Description").fill(text)


def test_the_service_shows_at_the_field_what_it_does_not_accept(visitor: Visitor, project: Project) -> None:
    visitor.expect_problems("Generation: HTTP 400")
    page = visitor.open(f"/projects/{project.id}/generate")
    description(page, PROMPT)
    page.get_by_text("Advanced").click()
    steps = page.get_by_role("textbox", name="Steps")

    steps.fill("99")

    # The estimate has found it, before anyone has tried to generate.
    expect(steps).to_have_attribute("aria-invalid", "true")
    expect(steps).to_have_accessible_description("must be from 1 to 50 (got 99)")
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(steps).to_be_focused()

    steps.fill("20")
    expect(steps).to_have_attribute("aria-invalid", "false")
    steps.press("Control+Enter")
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()


def test_the_address_names_a_preset_and_a_reference_once(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    preset = next(iter(client.presets.list()))
    avatar = client.avatars.upload(project, pictures.png(pictures.scene(300, 300)), name="Sarah")

    page = visitor.open(f"/projects/{project.id}/generate?preset={preset.id}&reference={avatar.id}")

    expect(page.get_by_role("textbox", name="Description")).to_have_value(preset.prompt)
    expect(page.get_by_role("button", name="Remove the reference Sarah")).to_be_visible()
    expect(page).to_have_url(f"{visitor.address}/projects/{project.id}/generate")

    description(page, PROMPT)
    page.reload()
    expect(page.get_by_role("textbox", name="Description")).to_have_value(PROMPT)
    expect(page.get_by_role("button", name="Remove the reference Sarah")).to_be_visible()


def test_what_is_taken_out_of_a_preset_stays_out(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    preset = next(one for one in client.presets.list() if one.attributes and one.attributes.gender)
    page = visitor.open(f"/projects/{project.id}/generate?preset={preset.id}")
    chosen = page.get_by_role("group", name="Gender").get_by_role("button", pressed=True)

    chosen.click()
    expect(chosen).to_have_count(0)
    page.get_by_role("button", name="Generate", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()

    (generation,) = client.generations.list(project)
    assert generation.prompt == preset.prompt
    assert generation.attributes is None or not generation.attributes.gender


def test_a_preset_that_took_the_place_of_words_can_be_undone(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    preset = next(iter(client.presets.list()))
    page = visitor.open(f"/projects/{project.id}/generate")
    description(page, PROMPT)

    page.get_by_role("button", name=preset.name).click()
    expect(page.get_by_role("textbox", name="Description")).to_have_value(preset.prompt)
    page.get_by_role("button", name="Undo").click()

    expect(page.get_by_role("textbox", name="Description")).to_have_value(PROMPT)


def test_signing_out_forgets_the_draft(visitor: Visitor, project: Project) -> None:
    page = visitor.open(f"/projects/{project.id}/generate")
    description(page, PROMPT)

    page.get_by_role("button", name="Account and appearance").click()
    page.get_by_role("menuitem", name="Sign out").click()

    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert PROMPT not in page.evaluate("JSON.stringify({...sessionStorage})")
