"""Fixture: an HTTP client of the fake."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.huggingface_router import RouterFake
from tests.unit.huggingface_router.requests import (
    IMMEDIATE,
    PLAIN,
)


@pytest.fixture
def http(router: RouterFake) -> Iterator[httpx.Client]:
    """Connect a client with a valid token to a fake whose jobs complete immediately."""
    router.behave(always=IMMEDIATE)
    with httpx.Client(
        base_url=router.url, headers={"Authorization": "Bearer hf_valid"}, timeout=10.0, **PLAIN
    ) as client:
        yield client
