"""The gallery of presets and personas: found, read, and taken into a project."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from avatar_creator import AvatarCreator
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)


def test_a_preset_is_found_read_and_taken_into_a_project(visitor: Visitor, client: AvatarCreator) -> None:
    project = client.projects.create("Spring campaign")
    (preset,) = client.presets.list(query="modern hijab")
    page = visitor.open("/presets")
    tiles = page.get_by_role("article")
    expect(tiles).to_have_count(len(list(client.presets.list())))

    page.get_by_role("button", name="Business").click()
    expect(tiles).to_have_count(len(list(client.presets.list(category="business"))))
    page.get_by_role("searchbox", name="Search presets").fill("modern hijab")
    expect(tiles).to_have_count(1)
    page.reload()
    expect(tiles).to_have_count(1)
    page.get_by_role("link", name=preset.name).click()

    dialog = page.get_by_role("dialog", name=preset.name)
    for text in (
        preset.prompt,
        preset.persona.background or "",
        "Hijab",
        "Professional",
        *preset.persona.personality,
    ):
        expect(dialog).to_contain_text(text)
    dialog.get_by_role("button", name="Generate with this").click()
    page.get_by_role("dialog", name="In which project?").get_by_role("link", name="Spring campaign").click()

    expect(page.get_by_role("textbox", name="Description")).to_have_value(preset.prompt)
    assert page.url == f"{visitor.address}/projects/{project.id}/generate"


def test_a_persona_is_taken_into_a_new_project(visitor: Visitor, client: AvatarCreator) -> None:
    example = next(iter(client.personas.list()))
    page = visitor.open("/presets")
    page.get_by_role("tab", name="Personas").click()

    page.get_by_role("button", name=f"Generate with this: {example.name}").click()
    dialog = page.get_by_role("dialog", name="In which project?")
    expect(dialog).to_contain_text("You have no project yet.")
    dialog.get_by_role("button", name="New project").click()
    page.get_by_role("dialog", name="New project").get_by_label("Name").fill("Spring campaign")
    page.get_by_role("button", name="Create project").click()

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("button", name=example.name, pressed=True)).to_be_visible()
    (project,) = client.projects.list()
    assert page.url == f"{visitor.address}/projects/{project.id}/generate"


def test_a_link_to_a_preset_opens_it_and_one_to_none_says_so(visitor: Visitor, client: AvatarCreator) -> None:
    preset = next(iter(client.presets.list()))
    visitor.expect_problems("GetPreset: HTTP 404")

    page = visitor.open(f"/presets?preset={preset.id}")
    expect(page.get_by_role("dialog", name=preset.name)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url == f"{visitor.address}/presets"

    page = visitor.open("/presets?preset=none")
    expect(page.get_by_role("dialog").get_by_text("This does not exist")).to_be_visible()


def test_a_picture_that_arrives_after_its_dialog_has_closed_is_ignored(
    visitor: Visitor, client: AvatarCreator
) -> None:
    preset = next(iter(client.presets.list()))
    page = visitor.open(f"/presets?preset={preset.id}")
    picture = page.get_by_role("dialog", name=preset.name).locator("img").element_handle()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    picture.dispatch_event("load")
    picture.dispatch_event("error")

    assert visitor.problems() == []
