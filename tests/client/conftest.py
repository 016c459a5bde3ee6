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
    """Makes clients; a test that takes it runs for the sync and for the async client."""
    connector = Connector(request.param, time)
    yield connector
    connector.close()


@pytest.fixture
def client(connect: Connector, server: ScriptedServer) -> Any:
    """A client that sends its calls again at once."""
    return connect(server.target, token="a-token")
