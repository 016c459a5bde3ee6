"""The costs of portraits and the users of avatars: exact, by keyboard, and only what the user may see."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from avatar_creator import AvatarCreator
from tests import pictures
from tests.browser.visitor import Visitor
from tests.support.service import Deployment

pytestmark = pytest.mark.parametrize("site", ["embedded"], indirect=True)

APPS = (("pose-generator", "Pose Generator", 2), ("video-generator", "Video Generator", 1))


def spend(site: Deployment, user: str, *, days_ago: int, app_id: str, micros: int, attempts: int) -> None:
    """Record what a user has spent on a day: no test waits for another day."""
    day = (datetime.now(UTC) - timedelta(days=days_ago)).date().isoformat()
    site.execute(
        "INSERT INTO daily_spend (user_id, day, app_id, price_micros, attempt_count)"
        " VALUES (%s, %s, %s, %s, %s)",
        *(user, day, app_id, micros, attempts),
    )


def test_amounts_are_exact_and_the_bars_are_read_by_the_keyboard(
    visitor: Visitor, site: Deployment, user: str
) -> None:
    # As binary fractions, 0.1 + 0.2 is not 0.3.
    spend(site, user, days_ago=1, app_id="", micros=100_001, attempts=1)
    spend(site, user, days_ago=1, app_id="pose-generator", micros=200_000, attempts=2)
    spend(site, user, days_ago=3, app_id="pose-generator", micros=9_007_199_254_740_993, attempts=3)
    spend(site, user, days_ago=9, app_id="pose-generator", micros=5_000_000, attempts=50)
    page = visitor.open("/usage?days=7")
    expect(page.get_by_text("6 paid attempts")).to_be_visible()

    page.get_by_text("Show as a table").click()
    table = page.get_by_role("region", name="Spending by day and app")
    expect(table.get_by_role("row").last).to_contain_text("$9,007,199,255.040994")
    expect(table.get_by_role("row").nth(1)).to_contain_text("$0.300001")

    bars = page.get_by_role("group", name="Spending by day").get_by_role("img")
    expect(bars).to_have_count(7)
    bars.last.focus()
    page.keyboard.press("ArrowLeft")
    expect(bars.nth(5)).to_be_focused()
    expect(bars.nth(5)).to_have_accessible_name(re.compile(r": \$0\.300001, 3 attempts$"))

    page.get_by_role("button", name="14 days").click()
    expect(bars).to_have_count(14)
    expect(page.get_by_text("56 paid attempts")).to_be_visible()
    assert page.url == f"{visitor.address}/usage?days=14"


def test_uses_are_summed_over_avatars_by_app(visitor: Visitor, client: AvatarCreator) -> None:
    project = client.projects.create("Spring campaign")
    for name in ("Sarah", "Budi"):
        avatar = client.avatars.upload(project, pictures.png(), name=name)
        for app_id, app_name, times in APPS:
            for _ in range(times):
                client.usage.record(avatar, app_id=app_id, app_name=app_name, action="generate_poses")

    page = visitor.open("/usage")

    uses = page.get_by_role("region", name="Uses by app")
    expect(uses.get_by_role("listitem").filter(has_text="Pose Generator")).to_contain_text("4 uses")
    expect(uses.get_by_role("listitem").filter(has_text="Video Generator")).to_contain_text("2 uses")
    expect(uses.get_by_role("link", name="Sarah")).to_contain_text("3 uses")


def test_only_operators_see_limits_and_what_is_left(visitor: Visitor, site: Deployment, user: str) -> None:
    page = visitor.open("/usage")
    expect(page.get_by_role("heading", name="Uses by app")).to_be_visible()
    expect(page.get_by_role("heading", name="Limits")).to_have_count(0)

    page = visitor.open("/usage", token=site.token(user, role="ops"))
    limits = page.get_by_role("region", name="Limits")
    expect(limits).to_contain_text("$20.00 left")
    expect(limits.get_by_role("meter", name="In 24 hours", exact=True)).to_have_attribute(
        "aria-valuetext", "0 of 1,000"
    )
