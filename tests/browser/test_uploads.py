"""Pictures that people put onto the page of a project."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

from avatar_creator import AvatarCreator, Project
from tests import pictures
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

PICTURE = pictures.png(pictures.scene(320, 240))
EVENTS = {
    "dropped": "new DragEvent('drop', {dataTransfer: files, bubbles: true, cancelable: true})",
    "pasted": "new ClipboardEvent('paste', {clipboardData: files, bubbles: true, cancelable: true})",
}
"""Events that bring `files` to the page."""


@pytest.fixture
def project(client: AvatarCreator) -> Project:
    """A project of the user, without avatars."""
    return client.projects.create("Spring campaign")


def file(name: str, content: bytes = PICTURE) -> FilePayload:
    """Return a file for an input."""
    return {"name": name, "mimeType": "image/png", "buffer": content}


def expect_picture(tile: Locator) -> None:
    """Expect that a tile shows a picture that the browser could read."""
    expect(tile).to_be_visible()
    expect(tile.locator("img")).to_have_js_property("complete", True)
    assert tile.locator("img").evaluate("(image) => image.naturalWidth") > 0


def choose(page: Page, *files: FilePayload) -> None:
    """Choose files as the button "Upload" does."""
    with page.expect_file_chooser() as chooser:
        page.locator("button", has_text="Upload").first.click()
    chooser.value.set_files(files)


def test_a_chosen_picture_becomes_an_avatar(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    page = visitor.open(f"/projects/{project.id}")

    choose(page, file("sarah.png"))

    expect_picture(page.get_by_role("link", name="sarah"))
    expect(page.get_by_role("article", name="sarah.png")).to_have_count(0)
    expect(page.get_by_text("1 avatar", exact=True)).to_be_visible()
    (avatar,) = client.avatars.list(project)
    assert avatar.name == "sarah"


def test_of_many_pictures_a_refused_one_shows_its_error_and_the_others_arrive(
    visitor: Visitor, client: AvatarCreator, project: Project
) -> None:
    visitor.expect_problems("UploadAvatar: HTTP 4")
    page = visitor.open(f"/projects/{project.id}")

    choose(page, file("anna.png"), file("notes.png", b"no picture at all"), file("budi.png"))

    refused = page.get_by_role("article", name="notes.png")
    expect(refused.get_by_role("alert")).to_contain_text("This is not a JPEG, PNG or WebP picture")
    for name in ("anna", "budi"):
        expect_picture(page.get_by_role("link", name=name))
    assert {avatar.name for avatar in client.avatars.list(project)} == {"anna", "budi"}

    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_a_picture_can_be_dropped_and_pasted(visitor: Visitor, project: Project) -> None:
    page = visitor.open(f"/projects/{project.id}")
    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()

    for name, event in EVENTS.items():
        page.evaluate(
            f"""(content) => {{
                const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
                const files = new DataTransfer();
                files.items.add(new File([bytes], "{name}.png", {{type: "image/png"}}));
                document.querySelector("main").dispatchEvent({event});
            }}""",
            base64.b64encode(PICTURE).decode(),
        )

        expect_picture(page.get_by_role("link", name=name))
