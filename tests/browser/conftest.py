"""A browser, a service that serves the page on each stack, and people who open it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, expect

from avatar_creator import AvatarCreator, FailedPreconditionError
from tests.browser.visitor import Visitor
from tests.browser.window import SharedWindow
from tests.support.chromium import running_chromium
from tests.support.huggingface_router import RouterFake
from tests.support.ports import free_port
from tests.support.service import Deployment
from tests.support.shared_services import deployed

Visit: TypeAlias = Callable[..., Visitor]
"""Opens a window: of the test's user or of another one, with options of `Browser.new_context`."""

EMBEDDER_PORT = free_port()
"""Port of the only other site that may show the page in a frame, and to which the page hands avatars."""

_EXPECT_MILLISECONDS = 20_000

expect.set_options(timeout=_EXPECT_MILLISECONDS)


# Not for the session: while it runs, its event loop is the one of this thread, and other packages have async
# tests.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser of this process."""
    with running_chromium() as running:
        yield running


@pytest.fixture(scope="session", params=["embedded", "distributed"])
def site(request: pytest.FixtureRequest, router_process: RouterFake) -> Iterator[Deployment]:
    """A service with the page, which draws through the fake router. Each test is a `user` of its own."""
    settings = {
        "HUGGINGFACE_API_KEY": "hf_test_page",
        "HUGGINGFACE_BASE_URL": router_process.url,
        "WEB_ORIGINS": f"http://127.0.0.1:{EMBEDDER_PORT}",
        "SIBLING_APPS": json.dumps(
            {"Pose Generator": f"http://127.0.0.1:{EMBEDDER_PORT}/new?avatar={{avatar_id}}"}
        ),
    }
    with deployed(request, request.param, **settings) as running:
        running.start()
        yield running


@pytest.fixture
def client(site: Deployment, user: str, router: RouterFake) -> Iterator[AvatarCreator]:
    """A client of `site`, as `user`. Generations that a test leaves are cancelled: others need the worker."""
    with site.client(user) as connected:
        yield connected
        for left in connected.generations.list(states=["pending", "processing"]):
            with contextlib.suppress(FailedPreconditionError):  # it has just ended
                connected.generations.cancel(left)


@pytest.fixture(scope="package")
def shared_window(browser: Browser, site: Deployment) -> SharedWindow:
    """The window of each test's first visitor: a new one would load the files of the page again."""
    return SharedWindow(browser, f"http://{site.web_target}")


@pytest.fixture
def visit(browser: Browser, shared_window: SharedWindow, site: Deployment, user: str) -> Iterator[Visit]:
    """Open browser windows. The test fails if anything unexpected goes wrong in one."""
    visitors: list[Visitor] = []

    def opened(as_user: str = user, **options: Any) -> Visitor:
        window = None if options or visitors else shared_window.context
        visitor = Visitor(browser, f"http://{site.web_target}", site.token(as_user), window=window, **options)
        visitors.append(visitor)
        return visitor

    yield opened
    problems = [problem for visitor in visitors for problem in visitor.problems()]
    for visitor in visitors:
        visitor.close()
    shared_window.clear()
    assert problems == []


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    """The test's user with a browser window of the usual size."""
    return visit()
