"""Services that draw through the router's fake, which counts what was submitted."""

from __future__ import annotations

import pytest

from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.service import Deployment

KEY = "hf_test_7d0e4c"


@pytest.fixture
def hosting(router: RouterFake) -> dict[str, str]:
    """The settings of a service that draws through `router`, where a picture takes a moment."""
    router.behave(always=Behavior(run_seconds=0.3))
    return {"HUGGINGFACE_API_KEY": KEY, "HUGGINGFACE_BASE_URL": router.url}


@pytest.fixture
def hosted(distributed: Deployment, hosting: dict[str, str]) -> Deployment:
    """A distributed service that draws through `router`; the test starts its processes."""
    distributed.settings |= hosting
    return distributed


@pytest.fixture
def hosted_embedded(embedded: Deployment, hosting: dict[str, str]) -> Deployment:
    """An embedded service that draws through `router`; the test starts it."""
    embedded.settings |= hosting
    return embedded


@pytest.fixture
def hosted_breakable(breakable: Deployment, hosting: dict[str, str]) -> Deployment:
    """As `hosted`, on a PostgreSQL and a Redis of its own."""
    breakable.settings |= hosting
    return breakable
