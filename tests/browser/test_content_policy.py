"""Code that the browser refuses because the page forbids it, and texts that would like to be code."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from avatar_creator import AvatarCreator
from tests import pictures
from tests.browser.embedder import Embedder
from tests.browser.pages import PATHS, path_of
from tests.browser.visitor import Visitor, wait_until_settled
from tests.support.generations import FAILED
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.waiting import wait_until

ATTEMPTS = {
    "an inline script": (
        "script-src-elem",
        """const script = document.createElement("script");
        script.textContent = "window.attacked = true";
        document.body.append(script);""",
    ),
    "an inline handler": (
        "script-src-attr",
        """const box = document.createElement("div");
        document.body.append(box);
        box.innerHTML = "<img src=/x onerror='attacked = true'>";""",
    ),
    "a script of another site": (
        "script-src-elem",
        """const script = document.createElement("script");
        script.src = "https://evil.example/x.js";
        document.body.append(script);""",
    ),
    "a script in a text": (
        "script-src-elem",
        """const script = document.createElement("script");
        script.src = "data:text/javascript,attacked = true";
        document.body.append(script);""",
    ),
    "a style in the markup": (
        "style-src-attr",
        """const box = document.createElement("div");
        box.innerHTML = "<p style='color: red'>x</p>";
        document.body.append(box);""",
    ),
    "a call of another site": ("connect-src", """fetch("https://evil.example/").catch(() => undefined);"""),
    "a frame": (
        "frame-src",
        """const frame = document.createElement("iframe");
        frame.src = "https://evil.example/";
        document.body.append(frame);""",
    ),
    "a form": (
        "form-action",
        """const form = document.createElement("form");
        form.action = "https://evil.example/";
        document.body.append(form);
        form.submit();""",
    ),
    "a new base": (
        "base-uri",
        """const base = document.createElement("base");
        base.href = "https://evil.example/";
        document.head.append(base);""",
    ),
}
"""Injected code, and the directive of the content security policy that must block it."""


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_the_browser_blocks_what_an_attacker_would_inject(visitor: Visitor) -> None:
    visitor.expect_problems("Content Security Policy", "csp", "evil.example")
    page = visitor.open("/")
    page.evaluate(
        """() => {
            window.blocked = [];
            addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
        }"""
    )

    for name, (directive, attempt) in ATTEMPTS.items():
        page.evaluate(f"() => {{ blocked.length = 0; {attempt} }}")
        page.wait_for_function("() => blocked.length > 0")
        assert page.evaluate("blocked") == [directive], name
        assert page.evaluate("window.attacked") is None, name


HOSTILE = "\"'><script>attacked=1</script><img src=x onerror=attacked=1><svg onload=attacked=1>{{7*7}}${7*7}"
"""A text that is code in HTML, in attributes and in templates."""
SHORT = "<img src=x onerror=attacked=1>"


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_texts_that_look_like_code_are_texts_on_every_page(
    visitor: Visitor, client: AvatarCreator, router: RouterFake
) -> None:
    project = client.projects.create(HOSTILE, description=HOSTILE)
    attributes: Any = {"ethnicity": SHORT}
    avatar = client.avatars.upload(
        project,
        pictures.png(),
        name=HOSTILE,
        persona={"name": HOSTILE, "age": 30, "personality": [SHORT], "background": HOSTILE},
        attributes=attributes,
    )
    client.usage.record(
        avatar,
        app_id=SHORT,
        app_name=HOSTILE,
        action=SHORT,
        reference_id="javascript:attacked=1",
        reference_type=SHORT,
        metadata={SHORT: HOSTILE},
    )
    router.behave(Fault(stage="result", status=422, body={"detail": HOSTILE}), Behavior(hold=True))
    failing = client.generations.create(project, HOSTILE)
    wait_until(lambda: failing.refresh().state == FAILED)
    client.generations.create(project, HOSTILE)

    page = visitor.open("/")
    for name in PATHS:
        page.goto(path_of(name, project=project.id, avatar=avatar.id))
        wait_until_settled(page)
        if name not in ("presets", "usage"):
            expect(page.get_by_text("<script>attacked=1</script>").first).to_be_attached()
        assert attacks(page) == [], name


def attacks(page: Page) -> list[str]:
    """Return the elements of `HOSTILE` that have become elements of the page, and what they did."""
    found: list[str] = page.evaluate(
        """[
            ...(window.attacked ? ["it ran"] : []),
            ...[...document.querySelectorAll("[onerror], [onload], img[src=x], a[href^='javascript:' i]")]
                .map((element) => element.outerHTML),
        ]"""
    )
    return found


@pytest.mark.parametrize("site", ["embedded"], indirect=True)
def test_no_other_site_can_put_the_page_into_a_frame(visitor: Visitor) -> None:
    visitor.expect_problems("frame-ancestors", "X-Frame-Options", "ERR_BLOCKED_BY_RESPONSE", "favicon")
    page = visitor.context.new_page()

    with Embedder(visitor.address) as other, page.expect_event("console") as refusal:
        page.goto(other.origin)

    assert "frame-ancestors" in refusal.value.text
    assert "Avatar Creator" not in "".join(frame.content() for frame in page.frames)
