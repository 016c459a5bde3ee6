"""One avatar: used by an app, changed in place, looked at closely, drawn again, deleted."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from avatar_creator import Avatar, AvatarCreator
from tests import pictures
from tests.browser.conftest import EMBEDDER_PORT
from tests.browser.embedder import Embedder
from tests.browser.visitor import Visitor
from tests.support.huggingface_router import RouterFake
from tests.support.presence import present
from tests.support.waiting import wait_until

ON_EMBEDDED = pytest.mark.parametrize("site", ["embedded"], indirect=True)
PICTURE = pictures.png(pictures.scene(320, 240))


@pytest.fixture
def avatar(client: AvatarCreator) -> Avatar:
    """An uploaded avatar, between two others of its project."""
    project = client.projects.create("Spring campaign")
    _, sarah, _ = (client.avatars.upload(project, PICTURE, name=name) for name in ("Budi", "Sarah", "Anna"))
    return sarah


def test_a_use_by_a_sibling_app_shows_in_the_history_of_the_avatar(
    visitor: Visitor, client: AvatarCreator, avatar: Avatar
) -> None:
    visitor.expect_problems("favicon", "frame-ancestors", "Blocked autofocusing")
    page = visitor.open(f"/avatars/{avatar.id}")

    with (
        Embedder(visitor.address, visitor.token, EMBEDDER_PORT) as app,
        page.expect_popup() as opened,
    ):
        page.get_by_role("link", name="Use in Pose Generator").click()
    assert opened.value.url == f"{app.origin}/new?avatar={avatar.id}"
    opened.value.close()
    client.usage.record(
        avatar,
        app_id="pose-generator",
        app_name="Pose Generator",
        action="generate_poses",
        reference_id="pose-7",
        reference_type="pose",
        metadata={"url": "https://poses.example.com/pose-7"},
    )

    page.get_by_role("tab", name="Uses").click()
    panel = page.get_by_role("tabpanel")
    expect(panel.get_by_text("1 use", exact=True)).to_be_visible()
    expect(panel.get_by_text("generate_poses").first).to_be_visible()
    expect(panel.get_by_role("link", name="pose-7")).to_have_attribute(
        "href", "https://poses.example.com/pose-7"
    )


@ON_EMBEDDED
def test_an_avatar_is_renamed_in_place(visitor: Visitor, client: AvatarCreator, avatar: Avatar) -> None:
    page = visitor.open(f"/avatars/{avatar.id}")

    page.get_by_role("button", name="Rename").first.click()
    page.get_by_label("Name of the avatar").fill("Sarah Wijaya")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1, name="Sarah Wijaya")).to_be_visible()
    assert client.avatars.get(avatar).name == "Sarah Wijaya"


@ON_EMBEDDED
def test_a_change_that_somebody_else_has_overtaken_asks_which_one_stays(
    visitor: Visitor, client: AvatarCreator, avatar: Avatar
) -> None:
    visitor.expect_problems("UpdateAvatar: HTTP 409")
    page = visitor.open(f"/avatars/{avatar.id}")
    expect(page.get_by_role("heading", level=1, name="Sarah")).to_be_visible()
    client.avatars.update(avatar, name="Sari")

    page.get_by_role("button", name="Rename").first.click()
    page.get_by_label("Name of the avatar").fill("Sarah Wijaya")
    page.keyboard.press("Enter")

    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Sari")
    expect(dialog).to_contain_text("Sarah Wijaya")
    assert client.avatars.get(avatar).name == "Sari"


@ON_EMBEDDED
def test_the_keys_zoom_the_picture_and_go_to_its_neighbors(visitor: Visitor, avatar: Avatar) -> None:
    page = visitor.open(f"/avatars/{avatar.id}")
    expect(page.get_by_role("heading", level=1, name="Sarah")).to_be_visible()
    picture = page.get_by_role("img", name="Sarah")
    expect(page.get_by_role("link", name="Next avatar")).to_be_visible()
    small = picture.bounding_box()

    page.keyboard.press("+")
    page.wait_for_function(
        "(width) => document.querySelector('img[alt=Sarah]').getBoundingClientRect().width > width",
        arg=present(small)["width"],
    )
    page.keyboard.press("0")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1, name="Budi")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("heading", level=1, name="Sarah")).to_be_visible()


@ON_EMBEDDED
def test_the_picture_is_saved_as_a_file_with_the_name_of_the_avatar(visitor: Visitor, avatar: Avatar) -> None:
    page = visitor.open(f"/avatars/{avatar.id}")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()

    assert download.value.suggested_filename == "Sarah.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


@ON_EMBEDDED
def test_a_deleted_avatar_can_be_taken_back(visitor: Visitor, client: AvatarCreator, avatar: Avatar) -> None:
    page = visitor.open(f"/projects/{avatar.project_id}")

    def delete() -> None:
        page.get_by_role("link", name="Sarah").click()
        page.get_by_role("button", name="More about this avatar").click()
        page.get_by_role("menuitem", name="Delete").click()
        expect(page.get_by_role("heading", level=1, name="Sarah")).to_have_count(0)

    delete()
    page.get_by_role("button", name="Undo").click()
    page.goto(f"/projects/{avatar.project_id}")
    delete()
    page.close()

    wait_until(lambda: len(list(client.avatars.list(avatar.project_id))) == 2)
    assert {each.name for each in client.avatars.list(avatar.project_id)} == {"Anna", "Budi"}


@ON_EMBEDDED
def test_a_portrait_is_drawn_again_from_its_recipe(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create("Spring campaign")
    drawn = client.generations.create(project, "a calm engineer", width=256, height=256, seed=7).wait()
    page = visitor.open(f"/avatars/{drawn.id}?tab=recipe")

    page.get_by_role("tabpanel").get_by_role("button", name="Reproduce").click()

    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("tabpanel").get_by_text("every pixel").first).to_be_visible()
    assert len(list(client.avatars.list(project))) == 2
