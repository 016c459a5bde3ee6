"""Services that draw through the fake router, which counts the submissions."""

from __future__ import annotations

import pytest

from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.service import Deployment

KEY = "hf_test_7d0e4c"


@pytest.fixture
def router_settings(router: RouterFake) -> dict[str, str]:
    """Settings of a service that draws through `router`. Each picture takes 0.3 seconds."""
    router.behave(always=Behavior(run_seconds=0.3))
    return {"HUGGINGFACE_API_KEY": KEY, "HUGGINGFACE_BASE_URL": router.url}


@pytest.fixture
def hosted(distributed: Deployment, router_settings: dict[str, str]) -> Deployment:
    """A distributed service that draws through `router`. The test starts its processes."""
    distributed.settings |= router_settings
    return distributed


@pytest.fixture
def hosted_embedded(embedded: Deployment, router_settings: dict[str, str]) -> Deployment:
    """An embedded service that draws through `router`. The test starts it."""
    embedded.settings |= router_settings
    return embedded


@pytest.fixture
def hosted_breakable(breakable: Deployment, router_settings: dict[str, str]) -> Deployment:
    """The same as `hosted`, with its own PostgreSQL and Redis."""
    breakable.settings |= router_settings
    return breakable
