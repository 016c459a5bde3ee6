"""The HTTP proxy of a connection: the environment's, the caller's, or none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatar_creator import Backoff, DeadlineExceededError, UnavailableError
from avatar_creator.proxies import proxy_options
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import GetProjectResponse
from tests.client.both_clients import Connector
from tests.client.connect_proxy import VARIABLES, ConnectProxy, remove_proxy_variables
from tests.client.scripted_server import ScriptedServer

ANSWER = GetProjectResponse(project=AvatarProject(id="p1"))
REMOTE = "avatars.invalid:50051"
DEAD = "http://127.0.0.1:9"
DIRECT = [("grpc.enable_http_proxy", 0)]
THROUGH_PROXY = [("grpc.http_proxy", DEAD)]


@pytest.fixture(autouse=True)
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own proxy."""
    remove_proxy_variables(monkeypatch)


@pytest.fixture
def proxy(server: ScriptedServer) -> Iterator[ConnectProxy]:
    """A proxy that connects every name to `server`."""
    with ConnectProxy.running(server.port) as running:
        yield running


@pytest.mark.parametrize("variable", [*VARIABLES, *map(str.upper, VARIABLES)])
def test_a_remote_service_is_reached_through_the_proxy_of_the_environment(
    connect: Connector,
    server: ScriptedServer,
    proxy: ConnectProxy,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, proxy.url)
    server.script("GetProject", [ANSWER])

    assert connect(REMOTE, token="a-token").projects.get("p1").id == "p1"

    assert proxy.requested == [REMOTE]


def test_an_explicit_proxy_is_used_instead_of_the_one_of_the_environment(
    connect: Connector, server: ScriptedServer, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", DEAD)
    server.script("GetProject", [ANSWER])

    assert connect(REMOTE, token="a-token", proxy=proxy.url).projects.get("p1").id == "p1"

    assert proxy.requested == [REMOTE]


def test_no_proxy_is_used_if_the_caller_or_the_environment_says_so(
    connect: Connector, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Backoff(initial=100.0, maximum=100.0, random=lambda: 1.0)
    monkeypatch.setenv("https_proxy", proxy.url)
    with pytest.raises((UnavailableError, DeadlineExceededError)):
        connect(REMOTE, token="a-token", proxy=False, backoff=once, timeout=1.0).projects.get("p1")
    monkeypatch.setenv("no_proxy", "other, invalid")
    with pytest.raises((UnavailableError, DeadlineExceededError)):
        connect(REMOTE, token="a-token", backoff=once, timeout=1.0).projects.get("p1")

    assert proxy.requested == []


def test_a_service_on_this_machine_is_reached_without_the_proxy(
    connect: Connector, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, DEAD)
    for host in ("localhost", "127.0.0.1"):
        server.script("GetProject", [ANSWER])
        assert connect(f"{host}:{server.port}", token="a-token").projects.get("p1").id == "p1"


@pytest.mark.parametrize(
    "proxy_url", ["socks5://proxy:1080", "https://proxy:3128", "proxy", "", "http://", "http://a:b"]
)
def test_an_explicit_proxy_that_grpc_cannot_use_is_an_error(connect: Connector, proxy_url: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        connect(REMOTE, proxy=proxy_url)


@pytest.mark.parametrize(
    "target",
    [
        *("localhost:50051", "LOCALHOST:50051", "localhost", "api.localhost:50051", "localhost.:50051"),
        *("127.0.0.1:50051", "127.8.9.1:50051", "[::1]:50051", "::1", "[::ffff:127.0.0.1]:50051"),
        *("0.0.0.0:50051", "[::]:50051", "dns:localhost:50051", "dns:///127.0.0.1:50051"),
        *("ipv4:127.0.0.1:50051", "ipv6:[::1]:50051", "ipv6:[::1]"),
        *("unix:/run/avatars", "unix:///run/avatars", "unix-abstract:avatars", "vsock:1:2"),
    ],
)
def test_connections_to_this_machine_are_direct(target: str) -> None:
    environment = dict.fromkeys(VARIABLES, DEAD)

    assert proxy_options(target, None, environment) == DIRECT
    assert proxy_options(target, DEAD, {}) == DIRECT


@pytest.mark.parametrize(
    ("target", "no_proxy", "direct"),
    [
        ("avatars.example:50051", "", False),
        ("avatars.example:50051", "*", True),
        ("avatars.example:50051", "other, *", True),
        ("avatars.example:50051", "avatars.example", True),
        ("avatars.example:50051", "AVATARS.Example", True),
        ("avatars.example.:50051", "avatars.example", True),
        ("avatars.example:50051", "avatars.example:50051", True),
        ("avatars.example:50051", "avatars.example:443", False),
        ("avatars.example:50051", "example", True),
        ("avatars.example:50051", ".example", True),
        ("avatars.example:50051", "tars.example", False),
        ("dns:///avatars.example:50051", "other,example", True),
        ("10.1.2.3:50051", "10.0.0.0/8", True),
        ("10.1.2.3:50051", "10.1.2.3", True),
        ("10.1.2.3:50051", "10.1.2.3:50051", True),
        ("10.1.2.3:50051", "10.1.2.3:443", False),
        ("10.1.2.3:50051", "192.168.0.0/16, 10.1.2.4", False),
        ("10.1.2.3:50051", "fd00::/8", False),
        ("[fd00::1]:50051", "fd00::/8", True),
        ("[fd00::1]:50051", "FD00::1", True),
        ("[fd00::1]:50051", "[fd00::1]:50051", True),
        ("[fd00::1]:50051", "[fd00::1]", True),
        ("[fd00::1]:50051", "10.0.0.0/8", False),
        ("ipv4:10.1.2.3:50051,10.1.2.4:50051", "10.0.0.0/8", True),
    ],
)
def test_no_proxy_names_hosts_domains_addresses_and_networks(
    target: str, no_proxy: str, direct: bool
) -> None:
    expected = DIRECT if direct else THROUGH_PROXY

    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        assert proxy_options(target, None, {"https_proxy": DEAD, name: no_proxy}) == expected


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, ""),
        ({"https_proxy": ""}, ""),
        ({"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://sarah:s%40@proxy:3128"}, "http://sarah:s%40@proxy:3128"),
        ({"all_proxy": "socks5://proxy:1080"}, ""),
        ({"https_proxy": "https://proxy:1", "http_proxy": "http://proxy:2"}, "http://proxy:2"),
        ({"http_proxy": "http://proxy:2", "https_proxy": "http://proxy:1"}, "http://proxy:1"),
        ({"https_proxy": "http://proxy:1", "grpc_proxy": "http://proxy:3"}, "http://proxy:3"),
        ({"HTTPS_PROXY": "http://proxy:1", "https_proxy": "http://proxy:2"}, "http://proxy:2"),
        ({"HTTP_PROXY": "http://header", "REQUEST_METHOD": "GET"}, ""),
        ({"https_proxy": "http://proxy:x", "http_proxy": "http://[", "all_proxy": "::"}, ""),
    ],
)
def test_the_first_usable_variable_counts(environment: dict[str, str], proxy: str) -> None:
    expected = [("grpc.http_proxy", proxy)] if proxy else DIRECT

    assert proxy_options(REMOTE, None, environment) == expected
