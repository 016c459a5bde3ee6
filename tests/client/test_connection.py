"""Tokens, deadlines, TLS, closing and cancelling."""

from __future__ import annotations

import asyncio
import datetime
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from avatar_creator import (
    AsyncAvatarCreator,
    AvatarCreator,
    CallCancelledError,
    DeadlineExceededError,
    FailedPreconditionError,
    NotFoundError,
    UnavailableError,
)
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import GetProjectResponse, ListProjectsRequest
from avatar_creator.v1.avatar_project_service_pb2_grpc import AvatarProjectServiceStub
from avatar_creator.v1.avatar_service_pb2 import UploadAvatarResponse
from avatar_creator.v1.generation_pb2 import Generation
from avatar_creator.v1.generation_service_pb2 import WatchGenerationResponse
from tests.client.both_clients import Connector, FakeTime
from tests.client.scripted_server import LOST, Failure, ScriptedServer, UntilClientLeaves

ANSWER = GetProjectResponse(project=AvatarProject(id="p1"))
FIRST_STATE = WatchGenerationResponse(generation=Generation(id="g1", revision=1))

USES: dict[str, Callable[..., Any]] = {
    "GetProject": lambda c, **k: c.projects.get("p1", **k),
    "UploadAvatar": lambda c, **k: c.avatars.upload("p1", b"x", name="S", **k),
    "DownloadImage": lambda c, **k: c.avatars.download("a1", **k),
    "WatchGeneration": lambda c, **k: next(c.generations.watch("g1", **k)),
}
"""One use of each kind of call, by the method that it calls."""


class TestToken:
    def test_a_token_is_sent_with_a_plaintext_call(self, connect: Connector, server: ScriptedServer) -> None:
        server.script("GetProject", [ANSWER])
        connect(server.target, token="a-token").projects.get("p1")
        assert server.calls[0].metadata["authorization"] == "Bearer a-token"

    def test_a_call_without_a_token_has_no_authorization(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        server.script("GetProject", [ANSWER])
        connect(server.target, token="").projects.get("p1")
        assert "authorization" not in server.calls[0].metadata

    def test_a_callable_token_is_called_before_every_attempt(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        tokens = iter("abcdef")
        client = connect(server.target, token=lambda: next(tokens))
        server.script("GetProject", [LOST], [ANSWER])
        server.script("WatchGeneration", [LOST], [FIRST_STATE, UntilClientLeaves()])
        client.projects.get("p1")
        states = client.generations.watch("g1")
        next(states)
        states.close()
        assert [call.metadata["authorization"] for call in server.calls] == [
            "Bearer a",
            "Bearer b",
            "Bearer c",
            "Bearer d",
        ]

    def test_blanks_around_a_token_are_removed(self, connect: Connector, server: ScriptedServer) -> None:
        server.script("GetProject", [ANSWER])
        connect(server.target, token=" a-token\n").projects.get("p1")
        assert server.calls[0].metadata["authorization"] == "Bearer a-token"

    def test_a_token_that_metadata_cannot_carry_is_an_error(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        with pytest.raises(ValueError, match="printable ASCII"):
            connect(server.target, token="tök\nen").projects.get("p1")
        assert not server.calls

    def test_an_error_of_a_callable_token_reaches_the_caller(
        self, connect: Connector, server: ScriptedServer
    ) -> None:
        def refuse() -> str:
            raise LookupError("no token today")

        with pytest.raises(LookupError, match="today"):
            connect(server.target, token=refuse).projects.get("p1")

    @pytest.mark.parametrize("use", USES.values(), ids=USES)
    def test_a_grpc_error_of_a_callable_token_is_not_an_error_of_the_call(
        self, use: Callable[..., Any], connect: Connector, server: ScriptedServer
    ) -> None:
        def fetch() -> str:
            with grpc.insecure_channel(server.target) as channel:
                return str(AvatarProjectServiceStub(channel).ListProjects(ListProjectsRequest()))

        server.script("ListProjects", [LOST], [LOST])
        with pytest.raises(grpc.RpcError, match="it failed"):
            use(connect(server.target, token=fetch))
        assert [call.method for call in server.calls] == ["ListProjects"]

    async def test_an_async_callable_token_is_awaited(self, server: ScriptedServer) -> None:
        async def token() -> str:
            return "fetched"

        server.script("GetProject", [ANSWER])
        async with AsyncAvatarCreator(server.target, token=token) as client:
            await client.projects.get("p1")
        assert server.calls[0].metadata["authorization"] == "Bearer fetched"


class TestDeadline:
    @pytest.mark.parametrize("method", USES)
    def test_the_timeout_covers_the_time_of_a_callable_token(
        self, method: str, connect: Connector, server: ScriptedServer, time: FakeTime
    ) -> None:
        def fetch() -> str:
            time.now += 15
            return "a-token"

        server.script(method, [Failure(grpc.StatusCode.NOT_FOUND)])
        with pytest.raises(NotFoundError):
            USES[method](connect(server.target, token=fetch), timeout=20.0)
        assert server.calls[0].seconds_left == pytest.approx(5, abs=1)

    @pytest.mark.parametrize(
        ("options", "expected"), [({}, 10), ({"timeout": 4.0}, 4)], ids=["default", "the client's"]
    )
    def test_a_call_has_one(
        self, options: dict[str, float], expected: float, connect: Connector, server: ScriptedServer
    ) -> None:
        server.script("GetProject", [ANSWER])
        connect(server.target, **options).projects.get("p1")
        assert server.calls[0].seconds_left == pytest.approx(expected, abs=1)

    @pytest.mark.parametrize(
        ("options", "expected"), [({}, 60), ({"transfer_timeout": 30.0}, 30)], ids=["default", "the client's"]
    )
    def test_an_upload_has_a_longer_deadline(
        self, options: dict[str, float], expected: float, connect: Connector, server: ScriptedServer
    ) -> None:
        server.script("UploadAvatar", [UploadAvatarResponse()])
        connect(server.target, **options).avatars.upload("p1", b"x", name="S")
        assert server.calls[0].seconds_left == pytest.approx(expected, abs=1)

    def test_the_timeout_of_a_call_wins(self, client: Any, server: ScriptedServer) -> None:
        server.script("GetProject", [ANSWER])
        client.projects.get("p1", timeout=3.0)
        assert server.calls[0].seconds_left == pytest.approx(3, abs=1)


@pytest.fixture(scope="module")
def certificate() -> tuple[bytes, bytes]:
    """Create a key and a self-signed certificate of localhost, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        signed.public_bytes(serialization.Encoding.PEM),
    )


@pytest.fixture
def tls_server(certificate: tuple[bytes, bytes]) -> Iterator[ScriptedServer]:
    server = ScriptedServer(grpc.ssl_server_credentials([certificate]))
    yield server
    server.stop()


class TestTls:
    def test_a_call_reaches_a_server_with_a_trusted_certificate(
        self, connect: Connector, tls_server: ScriptedServer, certificate: tuple[bytes, bytes]
    ) -> None:
        tls_server.script("GetProject", [ANSWER])
        client = connect(tls_server.target, tls=True, root_certificates=certificate[1], token="a-token")
        assert client.projects.get("p1").id == "p1"
        assert tls_server.calls[0].metadata["authorization"] == "Bearer a-token"

    def test_a_call_does_not_reach_a_server_with_an_untrusted_certificate(
        self, connect: Connector, tls_server: ScriptedServer
    ) -> None:
        with pytest.raises(Exception, match="UNAVAILABLE"):
            connect(tls_server.target, tls=True).avatars.delete("a1")
        assert tls_server.calls == []

    def test_an_https_target_connects_with_tls(
        self, connect: Connector, tls_server: ScriptedServer, certificate: tuple[bytes, bytes]
    ) -> None:
        tls_server.script("GetProject", [ANSWER])
        client = connect(f"https://{tls_server.target}", root_certificates=certificate[1])
        assert client.projects.get("p1").id == "p1"

    def test_the_error_says_which_side_has_no_tls(
        self,
        connect: Connector,
        server: ScriptedServer,
        tls_server: ScriptedServer,
        certificate: tuple[bytes, bytes],
    ) -> None:
        with pytest.raises(UnavailableError, match=r"server does not use TLS: .* http://host:port"):
            connect(f"https://{server.target}", retries=0).projects.get("p1")
        with pytest.raises(UnavailableError, match=r"as a server with TLS does: .* https://host:port"):
            connect(tls_server.target, retries=0).projects.get("p1")

    def test_the_error_says_what_is_wrong_with_a_certificate(
        self, connect: Connector, tls_server: ScriptedServer, certificate: tuple[bytes, bytes]
    ) -> None:
        with pytest.raises(UnavailableError, match="no trusted authority signed the certificate"):
            connect(f"https://{tls_server.target}", retries=0).projects.get("p1")
        elsewhere = f"https://127.0.0.1:{tls_server.port}"
        with pytest.raises(UnavailableError, match="certificate of the server is for another host name"):
            connect(elsewhere, root_certificates=certificate[1], retries=0).projects.get("p1")

    def test_root_certificates_without_tls_are_an_error(self, connect: Connector) -> None:
        with pytest.raises(ValueError, match="tls"):
            connect("localhost:1", root_certificates=b"pem")


class TestClosing:
    def test_a_closed_client_refuses_calls_and_watches(self, client: Any, server: ScriptedServer) -> None:
        client.close()
        client.close()
        uses: list[Callable[[], Any]] = [
            lambda: client.projects.get("p1"),
            lambda: list(client.projects.list()),
            lambda: client.avatars.upload("p1", b"x", name="S"),
            lambda: client.avatars.download("a1"),
            lambda: next(client.generations.watch("g1")),
        ]
        for use in uses:
            with pytest.raises(CallCancelledError, match="closed"):
                use()
        assert server.calls == []

    def test_closing_ends_a_watch(self, client: Any, server: ScriptedServer) -> None:
        server.script("WatchGeneration", [FIRST_STATE, UntilClientLeaves()])
        states = client.generations.watch("g1")
        next(states)
        client.close()
        with pytest.raises(CallCancelledError):
            next(states)
        assert server.calls[0].over.wait(5)

    def test_closing_ends_a_call_of_another_thread(self, server: ScriptedServer) -> None:
        server.script("GetProject", [UntilClientLeaves()])
        errors: list[BaseException] = []
        client = AvatarCreator(server.target, token="a-token")

        def wait() -> None:
            try:
                client.projects.get("p1")
            except CallCancelledError as error:
                errors.append(error)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        assert server.called.wait(5)
        client.close()
        waiting.join(5)
        assert len(errors) == 1

    async def test_closing_ends_a_call_of_another_task(self, server: ScriptedServer) -> None:
        server.script("GetProject", [UntilClientLeaves()])
        client = AsyncAvatarCreator(server.target, token="a-token")
        waiting = asyncio.create_task(client.projects.get("p1"))
        assert await asyncio.to_thread(server.called.wait, 5)
        await client.close()
        with pytest.raises(CallCancelledError):
            await waiting

    def test_leaving_the_context_closes_the_client(self, server: ScriptedServer) -> None:
        with AvatarCreator(server.target, token="a-token") as client:
            pass
        with pytest.raises(CallCancelledError):
            client.projects.get("p1")

    def test_a_given_channel_stays_open(self, server: ScriptedServer) -> None:
        server.script("GetProject", [ANSWER], [ANSWER])
        with grpc.insecure_channel(server.target) as channel:
            for _ in range(2):
                with AvatarCreator(channel=channel, token="a-token") as client:
                    assert client.projects.get("p1").id == "p1"


class TestCancellingATask:
    @pytest.mark.parametrize(
        ("method", "use"),
        [
            ("GetProject", lambda c: c.projects.get("p1")),
            ("UploadAvatar", lambda c: c.avatars.upload("p1", b"x", name="S")),
            ("DownloadImage", lambda c: c.avatars.download("a1")),
            ("WatchGeneration", lambda c: anext(c.generations.watch("g1"))),
        ],
    )
    async def test_cancelling_a_task_cancels_its_call(
        self, method: str, use: Callable[[AsyncAvatarCreator], Any], server: ScriptedServer
    ) -> None:
        server.script(method, [UntilClientLeaves()])
        async with AsyncAvatarCreator(server.target, token="a-token") as client:
            task = asyncio.ensure_future(use(client))
            assert await asyncio.to_thread(server.called.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.calls[0].over.wait, 5)


def test_a_timeout_that_has_passed_before_the_call_is_named(
    connect: Connector, server: ScriptedServer
) -> None:
    with pytest.raises(
        DeadlineExceededError, match="passed before the call was sent, so the service has not"
    ):
        connect(server.target).projects.get("p1", timeout=0)
    assert server.calls == []


async def test_a_client_of_another_event_loop_is_said_in_words_of_ours(server: ScriptedServer) -> None:
    def create() -> AsyncAvatarCreator:
        async def inside() -> AsyncAvatarCreator:
            return AsyncAvatarCreator(server.target, token="a-token")

        return asyncio.run(inside())

    client = await asyncio.to_thread(create)
    with pytest.raises(FailedPreconditionError, match="created in another event loop"):
        await client.projects.get("p1")


@pytest.mark.parametrize("token", [None, 7, b"a-token"])
def test_a_token_function_that_returns_no_text_is_an_error(
    token: Any, connect: Connector, server: ScriptedServer
) -> None:
    with pytest.raises(ValueError, match="token must be a text, or a function that returns one"):
        connect(server.target, token=lambda: token).projects.get("p1")
    assert server.calls == []


def test_what_holds_a_connection_is_not_pickled(server: ScriptedServer) -> None:
    with AvatarCreator(server.target, token="a-token") as client:
        for held in (client, client.projects.list(), client.generations.watch("g1")):
            with pytest.raises(TypeError, match="holds a connection and cannot be pickled"):
                pickle.dumps(held)
