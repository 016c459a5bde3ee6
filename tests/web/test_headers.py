"""The headers of every answer, and which pages of other origins may use the service."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from avatar_creator_server.operations.start_up import ALIVE_PATH
from tests.support.service import Deployment

_APP = "https://app.example.com"
_CALL = "/avatar_creator.v1.AvatarProjectService/ListProjects"


_ONE_STACK = pytest.mark.parametrize("shared_deployment", ["embedded"], indirect=True)


@pytest.fixture
def closed(shared_deployment: Deployment) -> Iterator[httpx.Client]:
    """The web port of a service without WEB_ORIGINS."""
    with _client_of(shared_deployment) as client:
        yield client


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The web port of a service with WEB_ORIGINS."""
    deployment = Deployment.embedded(
        tmp_path_factory.mktemp("opened"),
        WEB_ORIGINS=f"{_APP}, http://127.0.0.1:5173",
        WEB_PUBLIC_URL="https://avatars.example.com",
    )
    try:
        deployment.start_server()
        with _client_of(deployment) as client:
            yield client
    finally:
        deployment.close()


def _client_of(deployment: Deployment) -> httpx.Client:
    return httpx.Client(base_url=f"http://{deployment.web_target}", trust_env=False)


@_ONE_STACK
def test_every_answer_has_the_security_headers(closed: httpx.Client) -> None:
    answers = [
        closed.get(ALIVE_PATH),
        closed.get("/missing.js"),
        closed.put(ALIVE_PATH),
        closed.options(ALIVE_PATH),
        closed.get(ALIVE_PATH, headers={"host": "attacker.example"}),
        closed.post(_CALL, json={}),
        closed.post("/no.Service/Method", json={}),
        closed.post(_CALL, content=b"", headers={"content-type": "text/plain"}),
        closed.get(_CALL),
    ]

    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 404, 405, 204, 421, 401, 404, 415, 404]
    for answer in answers:
        _require_security_headers(answer.headers)
        assert "set-cookie" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers
        assert "server" not in answer.headers


@_ONE_STACK
def test_what_is_no_http_gets_the_security_headers_too(closed: httpx.Client) -> None:
    with socket.create_connection((closed.base_url.host, closed.base_url.port or 0)) as connection:
        connection.sendall(b"\x16\x03\x01 no request\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    head = answer.split(b"\r\n\r\n")[0].decode()
    status, *lines = head.split("\r\n")
    assert status.startswith("HTTP/1.1 400")
    _require_security_headers(httpx.Headers(dict(line.split(": ", 1) for line in lines)))


@_ONE_STACK
def test_a_page_of_no_origin_may_call_by_default(closed: httpx.Client) -> None:
    preflight = _preflight(closed, _APP)

    assert preflight.status_code == 204
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_pages_of_the_origins_may_call(opened: httpx.Client) -> None:
    preflight = _preflight(opened, _APP)
    answer = opened.post(_CALL, json={}, headers={"origin": _APP})

    assert preflight.headers["access-control-allow-origin"] == _APP
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "connect-protocol-version", "connect-timeout-ms"} <= set(allowed)
    assert {"x-grpc-web", "grpc-timeout", "x-user-agent"} <= set(allowed)
    assert answer.headers["access-control-allow-origin"] == _APP
    assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]
    for each in (preflight, answer):
        assert each.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in each.headers
        policy = each.headers["content-security-policy"]
        assert f"frame-ancestors {_APP} http://127.0.0.1:5173" in policy
        assert "x-frame-options" not in each.headers


@pytest.mark.parametrize(
    "origin",
    ["https://attacker.example", "http://app.example.com", f"{_APP}.attacker.example", "null", f"{_APP}:444"],
)
def test_pages_of_other_origins_may_not_call(opened: httpx.Client, origin: str) -> None:
    preflight = _preflight(opened, origin)
    answer = opened.post(_CALL, json={}, headers={"origin": origin})

    for each in (preflight, answer):
        assert "access-control-allow-origin" not in each.headers
        assert "access-control-allow-headers" not in each.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("avatars.example.com", 200),
        ("rebound.attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("localhost.attacker.example:8080", 421),
        ("attacker.example@127.0.0.1", 421),
        ("[", 421),
        ("", 421),
    ],
)
def test_a_loopback_address_answers_only_by_its_names(opened: httpx.Client, host: str, status: int) -> None:
    assert opened.get(ALIVE_PATH, headers={"host": host}).status_code == status
    answer = opened.post(_CALL, json={}, headers={"host": host})
    assert answer.status_code == (401 if status == 200 else 421)


def _preflight(client: httpx.Client, origin: str) -> httpx.Response:
    return client.options(
        _CALL,
        headers={
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,connect-protocol-version",
        },
    )


def _require_security_headers(headers: httpx.Headers) -> None:
    policy = dict(part.partition(" ")[::2] for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["object-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "date" in headers
