"""HTTP clients of the service: remote hosts through the proxy of the environment, this machine directly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from avatar_creator_server.cli import keep_loopback_direct
from avatar_creator_server.shared.http import open_http_client

DEAD = "http://127.0.0.1:9"


class Recorder(ThreadingHTTPServer):
    """A server, or a proxy for plain HTTP, that answers every request and records its target."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requested: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        self.server.requested.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_remote_host_is_reached_through_the_proxy(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", recorder.url)
    async with open_http_client() as http:
        assert (await http.get("http://router.invalid/models")).status_code == 204

    assert recorder.requested == ["http://router.invalid/models"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_this_machine_is_reached_without_the_proxy(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("all_proxy", DEAD)
    async with open_http_client() as http:
        assert (await http.get(f"http://{host}:{recorder.server_port}/models")).status_code == 204

    assert recorder.requested == ["/models"]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ({}, []),
        ({"no_proxy": "example.org, 10.0.0.0/8"}, ["example.org", "10.0.0.0/8"]),
        ({"NO_PROXY": "example.org"}, ["example.org"]),
        ({"no_proxy": "a.example", "NO_PROXY": "b.example"}, ["a.example"]),
        ({"no_proxy": "", "NO_PROXY": "b.example"}, ["b.example"]),
        ({"no_proxy": "*"}, ["*"]),
    ],
)
def test_a_command_adds_this_machine_to_no_proxy(before: dict[str, str], kept: list[str]) -> None:
    environment = dict(before)

    keep_loopback_direct(environment)

    assert environment["no_proxy"] == environment["NO_PROXY"]
    entries = [entry.strip() for entry in environment["no_proxy"].split(",")]
    assert entries == [*kept, "localhost", "127.0.0.1", "127.0.0.0/8", "::1"]
