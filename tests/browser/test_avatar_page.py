"""One avatar on the page: its picture, its facts, its recipe, its uses, and all changes to it."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, Route, expect

from avatar_creator import Avatar, AvatarCreator, PersonaFields, Project
from tests import pictures
from tests.browser.visitor import Visitor
from tests.support.huggingface_router import RouterFake

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PERSONA: PersonaFields = {"name": "Sarah", "age": 32, "personality": ["warm"], "background": "A baker."}


@pytest.fixture
def project(client: AvatarCreator) -> Project:
    """A project of the user, without avatars."""
    return client.projects.create("Spring campaign")


@pytest.fixture
def avatar(client: AvatarCreator, project: Project) -> Avatar:
    """An uploaded avatar with a persona and attributes."""
    return client.avatars.upload(
        project,
        pictures.png(pictures.scene(640, 480)),
        name="Sarah",
        persona=PERSONA,
        attributes={"gender": "female"},
    )


def heading(page: Page, name: str) -> None:
    """Expect the page of the avatar with this name."""
    expect(page.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible()


def zoomed(page: Page, percent: int) -> None:
    """Expect the picture at this size."""
    expect(page.get_by_role("button", name="Fit the picture")).to_have_text(f"{percent}%")


def test_keys_lead_to_the_neighbors_in_the_list_and_zoom(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    for name in ("Third", "Second", "First"):
        client.avatars.upload(project, pictures.png(pictures.scene(300, 400)), name=name)
    page = visitor.open(f"/projects/{project.id}")
    page.get_by_role("link", name="Second").click()
    heading(page, "Second")

    page.keyboard.press("ArrowRight")
    heading(page, "Third")
    page.keyboard.press("ArrowLeft")
    heading(page, "Second")
    page.keyboard.press("ArrowLeft")
    heading(page, "First")

    page.keyboard.press("+")
    zoomed(page, 140)
    # A zoomed picture moves instead.
    page.keyboard.press("ArrowRight")
    heading(page, "First")
    page.keyboard.press("0")
    zoomed(page, 100)
    picture = page.get_by_role("img", name="First")
    picture.hover()
    page.mouse.wheel(0, -400)
    expect(page.get_by_role("button", name="Fit the picture")).not_to_have_text("100%")
    page.keyboard.press("0")

    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{visitor.address}/projects/{project.id}")


def test_the_name_and_the_persona_change_in_place(
    visitor: Visitor, client: AvatarCreator, avatar: Avatar
) -> None:
    page = visitor.open(f"/avatars/{avatar.id}")

    page.get_by_role("button", name="Rename").click()
    page.get_by_role("textbox", name="Name of the avatar").fill("Sarah Putri")
    page.keyboard.press("Enter")
    heading(page, "Sarah Putri")
    page.get_by_role("button", name="Edit: Persona").click()
    page.get_by_role("textbox", name="Age").fill("33")
    page.get_by_role("textbox", name="Personality").fill("exact, ")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("warm and exact")).to_be_visible()
    page.get_by_role("button", name="Edit: Looks").click()
    page.get_by_role("group", name="Headwear").get_by_role("button", name="Hijab").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)

    changed = client.avatars.get(avatar.id)
    assert changed.name == "Sarah Putri"
    assert changed.persona is not None
    assert changed.attributes is not None
    assert (changed.persona.age, list(changed.persona.personality)) == (33, ["warm", "exact"])
    assert changed.persona.background == "A baker."
    assert (str(changed.attributes.gender), str(changed.attributes.headwear)) == ("female", "hijab")


@pytest.mark.parametrize(("choice", "age"), [("Save mine", 33), ("Keep the newer ones", 44)])
def test_a_change_that_came_before_is_shown_and_the_user_chooses(
    visitor: Visitor, client: AvatarCreator, avatar: Avatar, choice: str, age: int
) -> None:
    visitor.expect_problems("UpdateAvatar: HTTP 409")
    page = visitor.open(f"/avatars/{avatar.id}")
    page.get_by_role("button", name="Edit: Persona").click()
    page.get_by_role("textbox", name="Age").fill("33")
    client.avatars.update(avatar, persona={**PERSONA, "age": 44})

    page.get_by_role("button", name="Save").click()

    dialog = page.get_by_role("dialog", name="Someone has changed this avatar")
    expect(dialog.get_by_role("row", name="Age 33 44")).to_be_visible()
    expect(dialog.get_by_role("row")).to_have_count(2)
    dialog.get_by_role("button", name=choice).click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_text(str(age), exact=True)).to_be_visible()
    stored = client.avatars.get(avatar.id).persona
    assert stored is not None
    assert stored.age == age


def test_a_person_who_leaves_before_a_change_is_refused_sees_a_message(
    visitor: Visitor, client: AvatarCreator, avatar: Avatar
) -> None:
    visitor.expect_problems("UpdateAvatar: HTTP 409")
    page = visitor.open(f"/avatars/{avatar.id}")
    held: list[Route] = []
    page.route("**/UpdateAvatar", lambda route: held.append(route))
    page.get_by_role("button", name="Edit: Persona").click()
    page.get_by_role("textbox", name="Age").fill("33")
    client.avatars.update(avatar, persona={**PERSONA, "age": 44})

    with page.expect_request("**/UpdateAvatar"):
        page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", level=1, name="Usage")).to_be_visible()
    held[0].continue_()

    messages = page.get_by_role("region", name="Messages")
    expect(messages.get_by_text("Someone has changed this in the meantime")).to_be_visible()


def test_a_recipe_can_be_copied_and_reproduced(
    visitor: Visitor, client: AvatarCreator, project: Project, router: RouterFake
) -> None:
    made = client.generations.create(
        project, "confident business woman", width=256, height=256, seed=7
    ).wait()
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.open(f"/avatars/{made.id}?tab=recipe")

    page.get_by_role("button", name="Copy: Seed", exact=True).click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "7"
    page.get_by_role("button", name="Reproduce").click()
    page.get_by_role("button", name="Open").click()

    expect(
        page.get_by_text(re.compile("Every pixel is the same|Color difference to the original"))
    ).to_be_visible()
    expect(page.get_by_role("link", name="The original")).to_have_attribute("href", f"/avatars/{made.id}")


def test_a_person_who_leaves_before_a_reproduction_has_begun_stays_where_they_went(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    made = client.generations.create(
        project, "confident business woman", width=256, height=256, seed=7
    ).wait()
    page = visitor.open(f"/avatars/{made.id}")
    held: list[Route] = []
    page.route("**/CreateGeneration", lambda route: held.append(route))

    page.get_by_role("button", name="More").click()
    with page.expect_request("**/CreateGeneration"):
        page.get_by_role("menuitem", name="Reproduce").click()
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", level=1, name="Usage")).to_be_visible()
    held[0].continue_()
    expect(page.get_by_role("region", name="Messages").get_by_role("button", name="Watch")).to_be_visible()

    assert page.url == f"{visitor.address}/usage"


def test_uses_are_summed_by_app_and_listed_with_safe_links(
    visitor: Visitor, client: AvatarCreator, avatar: Avatar
) -> None:
    for number, url in enumerate(("https://poses.example.com/sets/0", "javascript:alert(1)")):
        client.usage.record(
            avatar,
            app_id="pose-generator",
            app_name="Pose Generator",
            action="generate_poses",
            reference_type="pose_set",
            reference_id=f"set-{number}",
            metadata={"url": url},
        )
    client.usage.record(avatar, app_id="video-generator", app_name="Video Generator", action="render")
    page = visitor.open(f"/avatars/{avatar.id}")

    page.get_by_role("tab", name="Uses (3)").click()

    panel = page.get_by_role("tabpanel")
    expect(panel.get_by_role("listitem").filter(has_text="2 uses")).to_contain_text("Pose Generator")
    expect(panel.get_by_role("link", name="set-0")).to_have_attribute(
        "href", "https://poses.example.com/sets/0"
    )
    expect(panel.get_by_text("set-1")).to_be_visible()
    expect(panel.get_by_role("link")).to_have_count(1)


def test_a_sibling_app_gets_the_avatar(visitor: Visitor, avatar: Avatar) -> None:
    apps = [{"name": "Pose Generator", "url": "https://poses.example.com/new?avatar={avatar_id}"}]
    visitor.context.route(
        "**/page.json",
        lambda route: route.fulfill(
            content_type="application/json", body=json.dumps({"origins": [], "sibling_apps": apps})
        ),
    )
    page = visitor.open(f"/avatars/{avatar.id}")

    link = page.get_by_role("link", name="Use in Pose Generator")

    expect(link).to_have_attribute("href", f"https://poses.example.com/new?avatar={avatar.id}")
    expect(link).to_have_attribute("rel", re.compile("noopener"))


def test_a_deletion_can_be_undone_and_the_picture_downloaded(
    visitor: Visitor, client: AvatarCreator, project: Project, avatar: Avatar
) -> None:
    page = visitor.open(f"/avatars/{avatar.id}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "Sarah.png"

    page.get_by_role("button", name="More about this avatar").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page).to_have_url(f"{visitor.address}/projects/{project.id}")
    expect(page.get_by_role("link", name="Sarah")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()

    expect(page.get_by_role("link", name="Sarah")).to_be_visible()
    assert client.avatars.get(avatar.id).name == "Sarah"
