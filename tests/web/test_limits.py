"""The limits of the web port: what a client may send, how slowly, and what it may leave unread."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psutil
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import ListProjectsRequest
from avatar_creator.v1.avatar_service_pb2 import (
    DownloadImageRequest,
    UploadAvatarMetadata,
    UploadAvatarRequest,
)
from avatar_creator.v1.generation_service_pb2 import WatchAll, WatchGenerationsRequest
from avatar_creator_server.api.server import MAX_METADATA_BYTES, MAX_REQUEST_BYTES
from tests import pictures
from tests.contract.calls import Calls
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.web_calls import Outcome, Protocol, WebCalls, envelope, path_of, rpcs

RPCS = rpcs()
_SECONDS = 30.0
_CONNECTIONS = 40
_READERS = 30


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service that waits for clients for a short time only."""
    deployment = Deployment.embedded(
        tmp_path_factory.mktemp("strict"),
        REQUEST_SECONDS="1",
        TRANSFER_STALL_SECONDS="1",
        CONNECTIONS=str(_CONNECTIONS),
        CONNECTION_IDLE_SECONDS="3",
    )
    try:
        deployment.start_server()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def token(strict: Deployment, user: str) -> str:
    return strict.token(user)


@pytest.fixture
def web(strict: Deployment, token: str) -> Iterator[WebCalls]:
    with WebCalls(strict.web_target, token, "connect+proto") as calls:
        yield calls


def test_a_head_that_does_not_end_closes_the_connection(strict: Deployment) -> None:
    # All at once: each of them waits for ten seconds.
    with _connected(strict) as slow, _connected(strict) as silent, _connected(strict) as second:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ")
        _require_alive(second)
        second.sendall(b"GET")
        assert _rest_of(slow) == b""
        assert _rest_of(silent) == b"", "a connection without a request is closed too"
        assert _rest_of(second) == b"", "a second request has the same time"


def test_a_head_may_not_be_larger_than_on_the_grpc_port(strict: Deployment) -> None:
    with _connected(strict) as connection:
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-large: " + b"a" * MAX_METADATA_BYTES
        )
        answer = connection.recv(4096) + _rest_of(connection)  # the server closes the connection
    assert answer.startswith(b"HTTP/1.1 400")


def test_too_many_connections_are_closed_and_grpc_still_answers(strict: Deployment, user: str) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(_connected(strict))
        # With its answer, the server also knows that earlier connections are closed.
        _require_alive(first)
        others = [stack.enter_context(_connected(strict)) for _ in range(_CONNECTIONS - 1)]
        with _connected(strict) as one_more:
            assert _rest_of(one_more) == b""
        for each in others:
            _require_alive(each)
        with strict.client(user) as client:
            assert client.projects.create("Spring").name == "Spring"
        for each in (first, *others):
            each.close()
    with WebCalls(strict.web_target) as web:
        wait_until(lambda: _is_alive(web), _SECONDS)


def test_a_request_must_arrive_in_time(strict: Deployment, token: str) -> None:
    with _connected(strict) as connection:
        connection.sendall(_head("GetProject", token, "application/proto", 100) + b"\n")
        answer = _rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 504"), answer
    assert b"did not arrive within 1 s" in answer


def test_a_call_without_a_token_is_refused_before_its_request_arrives(strict: Deployment) -> None:
    with _connected(strict) as connection:
        connection.sendall(_head("CreateProject", "wrong", "application/proto", 4_000_000))
        assert connection.recv(4096).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("name", ["GetProject", "WatchGeneration"])
def test_a_message_may_not_be_larger_than_on_the_grpc_port(web: WebCalls, name: str) -> None:
    method = RPCS[name]
    large = bytes(MAX_REQUEST_BYTES + 1)
    is_stream = method.server_streaming
    answer = web.http.post(
        path_of(method),
        content=envelope(large) if is_stream else large,
        headers={"content-type": web.content_type(method)},
    )

    outcome = web.outcome(method, answer.content) if is_stream else _refusal(answer.json())
    assert outcome.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("name", ["GetProject", "WatchGeneration"])
def test_a_compressed_request_is_refused(web: WebCalls, name: str) -> None:
    method = RPCS[name]
    is_stream = method.server_streaming
    header = "connect-content-encoding" if is_stream else "content-encoding"
    # Many small files in one: some libraries copy the rest for each of them.
    compressed = gzip.compress(b"") * 100
    answer = web.http.post(
        path_of(method),
        content=envelope(compressed, flags=1) if is_stream else compressed,
        headers={"content-type": web.content_type(method), header: "gzip"},
    )

    outcome = web.outcome(method, answer.content) if is_stream else _refusal(answer.json())
    assert outcome.code == "UNIMPLEMENTED"


def test_no_answer_is_compressed(web: WebCalls) -> None:
    method = RPCS["ListProjects"]
    accepting = {"content-type": web.content_type(method), "accept-encoding": "gzip"}
    answer = web.http.post(path_of(method), content=b"", headers=accepting)

    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "identity"


def test_a_deadline_ends_a_call(web: WebCalls, strict: Deployment) -> None:
    method = RPCS["WatchGenerations"]
    request = _watch_of_all()

    assert web.call(method, [request], {"connect-timeout-ms": "200"}).code == "DEADLINE_EXCEEDED"
    with WebCalls(
        strict.web_target, web.http.headers["authorization"].split()[1], "grpc-web+proto"
    ) as grpc_web:
        assert grpc_web.call(method, [request], {"grpc-timeout": "200m"}).code == "DEADLINE_EXCEEDED"


def test_a_client_that_goes_away_cancels_its_call(strict: Deployment, user: str, token: str) -> None:
    def cancelled() -> int:
        entries = strict.servers[0].events("call_finished")
        return sum(entry["user"] == user and entry["code"] == "CANCELLED" for entry in entries)

    content = envelope(_watch_of_all().SerializeToString())
    with _connected(strict) as connection:
        connection.sendall(
            _head("WatchGenerations", token, "application/connect+proto", len(content)) + content
        )
        with Calls(strict.target, token) as calls:
            project = calls.create_project()
            calls.create_generation(project.id)
        assert b"200 OK" in connection.recv(4096)
        assert cancelled() == 0
    wait_until(lambda: cancelled() == 1, _SECONDS)


def test_an_upload_is_read_as_it_arrives(strict: Deployment, token: str) -> None:
    first = envelope(
        UploadAvatarRequest(metadata=UploadAvatarMetadata(project_id="", name="")).SerializeToString()
    )
    with _connected(strict) as connection:
        connection.sendall(_head("UploadAvatar", token, "application/connect+proto", 50_000_000) + first)
        answer = connection.recv(65536)
        while b"}}" not in answer and b"]}" not in answer:
            answer += connection.recv(65536)

    assert b"200 OK" in answer
    assert b"invalid_argument" in answer


def test_a_client_that_does_not_read_a_picture_fills_no_memory(
    strict: Deployment, user: str, token: str
) -> None:
    picture = pictures.encoded("PNG", pictures.photograph(1500, 1500))
    with Calls(strict.target, token) as calls:
        avatar = calls.upload(calls.create_project().id, picture)
    content = envelope(DownloadImageRequest(avatar_id=avatar.id).SerializeToString())
    request = _head("DownloadImage", token, "application/connect+proto", len(content)) + content
    server = psutil.Process(strict.servers[0].pid)
    before = server.memory_info().rss
    with ExitStack() as stack:
        for _ in range(_READERS):
            connection = stack.enter_context(_connected(strict, buffer_bytes=4096))
            connection.sendall(request)

        def ended() -> int:
            entries = strict.servers[0].events("call_finished")
            return sum(
                entry["user"] == user
                and entry["code"] == "DEADLINE_EXCEEDED"
                and "Download" in entry["method"]
                for entry in entries
            )

        wait_until(lambda: ended() == _READERS, _SECONDS)
        assert server.memory_info().rss - before < _READERS * len(picture) / 2
    with WebCalls(strict.web_target, token) as web:
        wait_until(lambda: _is_alive(web), _SECONDS)


def _connected(deployment: Deployment, *, buffer_bytes: int = 0) -> socket.socket:
    host, _, port = deployment.web_target.rpartition(":")
    connection = socket.socket()
    if buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.settimeout(_SECONDS)
    connection.connect((host, int(port)))
    return connection


def _require_alive(connection: socket.socket) -> None:
    """Ask whether the server is alive, and leave the connection open."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"alive\n"):
        piece = connection.recv(4096)
        assert piece, answer
        answer += piece


def _rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the server closes the connection."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def _head(name: str, token: str, content_type: str, size: int) -> bytes:
    return (
        f"POST {path_of(RPCS[name])} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
        f"content-type: {content_type}\r\ncontent-length: {size}\r\n\r\n"
    ).encode()


def _watch_of_all() -> WatchGenerationsRequest:
    return WatchGenerationsRequest(all=WatchAll())


def _refusal(error: dict[str, str]) -> Outcome:
    return Outcome(error["code"].upper(), error["message"])


def _is_alive(web: WebCalls) -> bool:
    try:
        return web.http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("protocol", "logged"),
    [("connect+json", "json"), ("connect+proto", "connect"), ("grpc-web+proto", "grpc-web")],
)
def test_the_access_log_names_the_protocol(
    strict: Deployment, user: str, token: str, protocol: Protocol, logged: str
) -> None:
    def protocols() -> list[str]:
        entries = strict.servers[0].events("call_finished")
        return [entry.get("protocol", "grpc") for entry in entries if entry["user"] == user]

    with Calls(strict.target, token) as calls:
        calls.create_project()
    with WebCalls(strict.web_target, token, protocol) as web:
        assert web.call(RPCS["ListProjects"], [ListProjectsRequest()]).code == "OK"

    wait_until(lambda: protocols() == ["grpc", logged], _SECONDS)
