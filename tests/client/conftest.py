from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.both_clients import Connector, FakeTime
from tests.client.scripted_server import ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, time: FakeTime) -> Iterator[Connector]:
    """Create clients. A test that requests this fixture runs for the sync and for the async client."""
    connector = Connector(request.param, time)
    yield connector
    connector.close()


@pytest.fixture
def client(connect: Connector, server: ScriptedServer) -> Any:
    """Create a client that retries without delay."""
    return connect(server.target, token="a-token")
