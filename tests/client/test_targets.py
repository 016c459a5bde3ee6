"""The target and the token of a client: from its arguments, or from the environment."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from avatar_creator import AvatarCreator, UnauthenticatedError
from avatar_creator.targets import Target, choose_target
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import GetProjectResponse
from tests.client.both_clients import Connector
from tests.client.scripted_server import ScriptedServer

ANSWER = GetProjectResponse(project=AvatarProject(id="p1"))
FORMS = r"must be host:port, http://host:port or https://host:port"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own service."""
    monkeypatch.delenv("AVATAR_CREATOR_TARGET", raising=False)
    monkeypatch.delenv("AVATAR_CREATOR_TOKEN", raising=False)


def test_a_client_without_arguments_reads_the_environment(
    connect: Connector, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script("GetProject", [ANSWER])
    monkeypatch.setenv("AVATAR_CREATOR_TARGET", f" http://{server.target}/\n")
    monkeypatch.setenv("AVATAR_CREATOR_TOKEN", "from-the-environment\n")

    connect(None, token=None).projects.get("p1")

    assert server.calls[0].metadata["authorization"] == "Bearer from-the-environment"


def test_arguments_are_used_instead_of_the_environment(
    connect: Connector, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script("GetProject", [ANSWER])
    monkeypatch.setenv("AVATAR_CREATOR_TARGET", "ftp://elsewhere")
    monkeypatch.setenv("AVATAR_CREATOR_TOKEN", "from-the-environment")

    connect(server.target, token="given").projects.get("p1")

    assert server.calls[0].metadata["authorization"] == "Bearer given"


@pytest.mark.parametrize("value", ["", " "])
def test_a_client_without_a_token_is_refused_before_any_call(
    connect: Connector, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("AVATAR_CREATOR_TOKEN", value)

    with pytest.raises(
        UnauthenticatedError, match="set the environment variable AVATAR_CREATOR_TOKEN"
    ) as caught:
        connect(server.target, token=None)

    assert caught.value.reason == "TOKEN_MISSING"


def test_a_wrong_target_in_the_environment_names_the_variable(
    connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVATAR_CREATOR_TARGET", "avatars.example")

    with pytest.raises(ValueError, match=rf"^AVATAR_CREATOR_TARGET {FORMS}.*\(got avatars.example\)$"):
        connect(None)


@pytest.mark.parametrize(
    "target",
    [
        *("http://localhost:{port}", "http://localhost:{port}/", "GRPC://localhost:{port}"),
        *("http://127.0.0.1:{port}", "dns:///localhost:{port}", "dns:localhost:{port}"),
        "ipv4:127.0.0.1:{port}",
    ],
)
def test_a_service_is_reached_by_each_form_of_its_address(
    connect: Connector, server: ScriptedServer, target: str
) -> None:
    server.script("GetProject", [ANSWER])

    assert connect(target.format(port=server.port), retries=0).projects.get("p1").id == "p1"


@pytest.mark.parametrize("target", ["http://[::1]:{port}", "[::1]:{port}", "::1:{port}", "ipv6:[::1]:{port}"])
def test_a_service_is_reached_by_each_form_of_its_ipv6_address(connect: Connector, target: str) -> None:
    # Which addresses "localhost" has depends on the resolver.
    server = ScriptedServer(host="[::1]")
    server.script("GetProject", [ANSWER])
    try:
        assert connect(target.format(port=server.port), retries=0).projects.get("p1").id == "p1"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("target", "tls", "expected"),
    [
        (None, None, Target("127.0.0.1:50051", False)),
        ("avatars.example:50051", None, Target("avatars.example:50051", False)),
        ("avatars.example:50051", True, Target("avatars.example:50051", True)),
        ("avatars.example", True, Target("avatars.example:443", True)),
        ("https://avatars.example", None, Target("avatars.example:443", True)),
        ("https://avatars.example/", True, Target("avatars.example:443", True)),
        ("https://avatars.example:8443", None, Target("avatars.example:8443", True)),
        ("grpcs://avatars.example", None, Target("avatars.example:443", True)),
        ("http://avatars.example:80", False, Target("avatars.example:80", False)),
        ("https://[2001:DB8::1]", None, Target("[2001:db8::1]:443", True)),
        ("[fe80::1%eth0]:50051", None, Target("[fe80::1%eth0]:50051", False)),
        ("avatars_1.:50051", None, Target("avatars_1.:50051", False)),
        ("unix:/run/avatars.sock", None, Target("unix:/run/avatars.sock", False)),
        ("unix-abstract:avatars", None, Target("unix-abstract:avatars", False)),
        ("xds:///avatars", True, Target("xds:///avatars", True)),
        ("dns://8.8.8.8/avatars.example:50051", None, Target("dns://8.8.8.8/avatars.example:50051", False)),
    ],
)
def test_the_scheme_decides_about_tls(target: str | None, tls: bool | None, expected: Target) -> None:
    assert choose_target(target, tls, {}) == expected


@pytest.mark.parametrize(
    "target",
    [
        *("", "localhost", "localhost:", ":50051", "localhost:http", "localhost:0", "localhost:65536"),
        *("http://localhost", "grpc://localhost", "https://", "https://:443", "ftp://localhost:1"),
        *(
            "http://localhost:50051/avatars",
            "https://localhost?x=1",
            "https://localhost#x",
            "tcp:localhost:1",
        ),
        *("::1", "[::1]", "[::1:50051", "[localhost]:50051", "1.2.3:50051", "0:50051", "a b:1", "a..b:1"),
        *("дом:1", "localhost:५", "http:localhost:1", "unix:", "dns: localhost:1"),
    ],
)
def test_another_form_is_refused_with_the_right_ones(target: str) -> None:
    with pytest.raises(ValueError, match=f"^target {FORMS}"):
        choose_target(target, None, {})


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(ValueError, match=FORMS) as caught:
        choose_target("https://sarah:secret@localhost", None, {})
    assert "secret" not in str(caught.value)


def test_a_scheme_that_contradicts_tls_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^target must begin with https:// for a connection with TLS"):
        choose_target("http://localhost:1", True, {})
    with pytest.raises(ValueError, match=r"^target must begin with http:// for a connection without TLS"):
        choose_target("https://localhost:1", False, {})


def test_a_channel_leaves_no_choice_of_a_target() -> None:
    settings: list[dict[str, Any]] = [{"tls": False}, {"proxy": False}, {"keepalive": 5.0}]
    with grpc.insecure_channel("localhost:1") as channel:
        for setting in settings:
            with pytest.raises(ValueError, match="channel brings its own"):
                AvatarCreator(channel=channel, token="a-token", **setting)
        assert repr(AvatarCreator(channel=channel, token="a-token")) == "AvatarCreator(channel=...)"


def test_a_client_shows_its_target_and_not_its_token() -> None:
    assert (
        repr(AvatarCreator("https://localhost", token="secret")) == "AvatarCreator('localhost:443', tls=True)"
    )
    assert repr(AvatarCreator(token="secret")) == "AvatarCreator('127.0.0.1:50051', tls=False)"
