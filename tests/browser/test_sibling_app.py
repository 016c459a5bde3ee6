"""An avatar in the hands of a sibling app."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from avatar_creator import AvatarCreator
from tests import pictures
from tests.browser.conftest import EMBEDDER_PORT
from tests.browser.embedder import Embedder
from tests.browser.visitor import Visitor


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_a_use_by_a_sibling_app_shows_in_the_history_of_the_avatar(
    visitor: Visitor, client: AvatarCreator
) -> None:
    avatar = client.avatars.upload(client.projects.create("Spring campaign"), pictures.png(), name="Sarah")
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
