"""Projects: made, renamed, deleted and found again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Route, expect

from avatar_creator import AvatarCreator
from tests import pictures
from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor
from tests.support.waiting import wait_until

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)


def test_a_person_makes_a_project_and_comes_to_it(visitor: Visitor, client: AvatarCreator) -> None:
    page = visitor.open("/")
    expect(page.get_by_role("heading", name="Start with a project")).to_be_visible()

    page.get_by_role("button", name="New project").first.click()
    dialog = page.get_by_role("dialog", name="New project")
    dialog.get_by_role("button", name="Create project").click()
    expect(dialog.get_by_text("Give the project a name.")).to_be_visible()
    dialog.get_by_label("Name").fill("Spring campaign")
    dialog.get_by_role("button", name="Create project").click()

    expect(page.get_by_role("heading", level=1, name="Spring campaign")).to_be_visible()
    (project,) = client.projects.list()
    assert page.url == f"{visitor.address}/projects/{project.id}"
    page.go_back()
    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()


def test_a_person_who_leaves_before_the_project_is_there_stays_where_they_went(
    visitor: Visitor, client: AvatarCreator
) -> None:
    page = visitor.open("/")
    held: list[Route] = []
    page.route("**/CreateProject", lambda route: held.append(route))
    page.get_by_role("button", name="New project").first.click()
    page.get_by_role("dialog").get_by_label("Name").fill("Spring campaign")
    with page.expect_request("**/CreateProject"):
        page.get_by_role("dialog").get_by_role("button", name="Create project").click()

    page.keyboard.press("Escape")
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", level=1, name="Usage")).to_be_visible()
    pages_so_far: int = page.evaluate("history.length")
    with page.expect_response("**/CreateProject"):
        held[0].continue_()

    page.get_by_role("link", name="Projects", exact=True).click()
    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()
    assert page.evaluate("history.length") == pages_so_far + 1
    assert [project.name for project in client.projects.list()] == ["Spring campaign"]


def test_a_project_is_renamed_in_place(visitor: Visitor, client: AvatarCreator) -> None:
    client.projects.create("Spring campain")
    page = visitor.open("/")

    page.get_by_role("button", name="More about Spring campain").click()
    page.get_by_role("menuitem", name="Rename and describe").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Spring campaign")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()

    expect(page.get_by_role("link", name="Spring campaign")).to_be_visible()
    assert [project.name for project in client.projects.list()] == ["Spring campaign"]


def test_a_deleted_project_can_be_taken_back_until_the_message_goes(
    visitor: Visitor, client: AvatarCreator
) -> None:
    project = client.projects.create("Spring campaign")
    client.avatars.upload(project, pictures.png(), name="Sarah")
    page = visitor.open("/")
    link = page.get_by_role("link", name="Spring campaign")

    def delete() -> None:
        page.get_by_role("button", name="More about Spring campaign").click()
        page.get_by_role("menuitem", name="Delete").click()
        dialog = page.get_by_role("dialog", name="Delete “Spring campaign”?")
        expect(dialog).to_contain_text("1 avatar with its picture")
        dialog.get_by_role("button", name="Delete project").click()
        expect(link).to_have_count(0)

    delete()
    page.get_by_role("button", name="Undo").click()
    expect(link).to_be_visible()
    assert client.projects.get(project).name == "Spring campaign"

    delete()
    page.close()  # what was shown as deleted is deleted, without the wait for "Undo"
    wait_until(lambda: not list(client.projects.list()))


def test_what_belongs_to_another_user_does_not_exist(visit: Visit, client: AvatarCreator, user: str) -> None:
    project = client.projects.create("Spring campaign")
    avatar = client.avatars.upload(project, pictures.png(), name="Sarah")
    stranger = visit(f"{user}-stranger")
    stranger.expect_problems("HTTP 404")

    page = stranger.open("/")
    expect(page.get_by_role("heading", name="Start with a project")).to_be_visible()
    for path in (f"/projects/{project.id}", f"/projects/{project.id}/generate", f"/avatars/{avatar.id}"):
        page.goto(path)

        expect(page.get_by_text("This does not exist")).to_be_visible()
        for name in ("Spring campaign", "Sarah"):
            expect(page.get_by_text(name)).to_have_count(0)


def test_a_path_that_is_no_page_says_so_and_leads_back(visitor: Visitor) -> None:
    page = visitor.open("/no/such/page")

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("main").get_by_role("link").click()

    expect(page.get_by_role("heading", level=1, name="Projects")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "field"),
    [("/presets", "Search presets"), ("/projects/{project}", "Search names, personas and prompts")],
    ids=["presets", "project"],
)
def test_what_was_typed_last_does_not_follow_to_the_next_page(
    visit: Visit, client: AvatarCreator, path: str, field: str
) -> None:
    project = client.projects.create("Spring campaign")
    client.avatars.upload(project, pictures.png(), name="Sarah")
    visitor = visit(locale="en-US")  # a window of its own, because the clock stands still in all its tabs
    page = visitor.open(path.format(project=project.id))
    search = page.get_by_role("searchbox", name=field)
    expect(search).to_be_visible()
    page.clock.install()
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))

    search.fill("modern")
    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("heading", level=1, name="Usage")).to_be_visible()
    page.clock.run_for(1000)

    assert page.url == f"{visitor.address}/usage"
