"""Uploads and downloads are bounded: in number, pace, time and by the token. Every end has its error."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
import httpx
import psutil
import pytest
from PIL import Image

from avatar_creator import AvatarCreator
from avatar_creator.v1.avatar_service_pb2 import (
    DownloadImageRequest,
    GetAvatarRequest,
    UploadAvatarMetadata,
    UploadAvatarRequest,
)
from avatar_creator.v1.avatar_service_pb2_grpc import AvatarServiceStub
from tests import pictures
from tests.contract.calls import Calls, Refusal, refusal, refusal_of
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

STALL_SECONDS = 1.0
TOTAL_SECONDS = 4.0
AT_ONCE, AT_ONCE_PER_USER = 3, 2
WAIT_SECONDS = 0.3

SETTINGS = {
    "JWT_LEEWAY_SECONDS": "0",
    "TRANSFER_STALL_SECONDS": str(STALL_SECONDS),
    "TRANSFER_SECONDS": str(TOTAL_SECONDS),
    "TRANSFER_WAIT_SECONDS": str(WAIT_SECONDS),
    "UPLOADS_AT_ONCE": str(AT_ONCE),
    "UPLOADS_AT_ONCE_PER_USER": str(AT_ONCE_PER_USER),
    "DOWNLOADS_AT_ONCE": str(AT_ONCE),
    "DOWNLOADS_AT_ONCE_PER_USER": str(AT_ONCE_PER_USER),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An embedded service with small limits of transfers."""
    deployment = Deployment.embedded(tmp_path_factory.mktemp("transfers"), **SETTINGS)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()


class Person:
    """A user with a project, a large avatar, and a connection."""

    def __init__(self, service: Deployment, user: str, **claims: Any) -> None:
        self.service = service
        self.user = user
        self.calls = Calls(service.target, service.token(user, **claims))
        self.project_id = self.calls.create_project().id

    def metadata(self) -> UploadAvatarRequest:
        """Return the first message of an upload."""
        return UploadAvatarRequest(metadata=UploadAvatarMetadata(project_id=self.project_id, name="Sarah"))

    def upload(self, *messages: UploadAvatarRequest) -> Any:
        """Upload these messages."""
        return self.calls.avatars.UploadAvatar(iter(messages))

    def refused_upload(self) -> Refusal | None:
        """Upload a picture, and return the error; None if the upload got a turn before others did."""
        try:
            self.upload(self.metadata(), chunk(pictures.png()))
        except grpc.RpcError as error:
            return refusal_of(error)
        return None

    @contextmanager
    def open_upload(self, *sent: UploadAvatarRequest, goes_on: bool = False) -> Iterator[Future[Any]]:
        """Send the metadata and these messages, and no end before the context closes.

        Args:
            sent: The messages.
            goes_on: True to send more, fast enough for the service.
        """
        leave = threading.Event()
        taken = threading.Event()

        def messages() -> Iterator[UploadAvatarRequest]:
            yield from (self.metadata(), *sent)
            taken.set()
            while not leave.wait(0.1 if goes_on else None):
                yield chunk(b"\xff" * 20_000)

        with Threads(1) as threads:
            ended = threads.submit(self.calls.avatars.UploadAvatar, messages())
            try:
                wait_until(taken.is_set)
                yield ended
            finally:
                leave.set()
                ended.exception()


@pytest.fixture
def person(service: Deployment, user: str) -> Iterator[Person]:
    """A user of this test only."""
    with ExitStack() as stack:
        one = Person(service, user)
        stack.enter_context(one.calls)
        yield one


@pytest.fixture
def other(service: Deployment, user: str) -> Iterator[Person]:
    """Another user."""
    with ExitStack() as stack:
        one = Person(service, f"{user}-other")
        stack.enter_context(one.calls)
        yield one


def chunk(data: bytes) -> UploadAvatarRequest:
    """Return a message with a part of a picture."""
    return UploadAvatarRequest(chunk=data)


def spooled(service: Deployment) -> list[str]:
    """Return the files without a name that the server has open."""
    server = psutil.Process(service.servers[0].pid)
    links = (path.readlink() for path in Path(f"/proc/{server.pid}/fd").iterdir())
    return [str(link) for link in links if "(deleted)" in str(link)]


def stored_files_open(service: Deployment) -> int:
    """Return the number of stored pictures that the server has open."""
    server = psutil.Process(service.servers[0].pid)
    return sum(file.path.startswith(str(service.upload_path)) for file in server.open_files())


# Uploads


@pytest.mark.parametrize("place", ["first", "later"], ids=["as the first chunk", "after the picture"])
def test_an_empty_chunk_is_refused_at_once(person: Person, place: str) -> None:
    before = [] if place == "first" else [chunk(pictures.png())]

    answer = refusal(lambda: person.upload(person.metadata(), *before, chunk(b"")))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_OUT_OF_ORDER")
    assert answer.fields == ["chunk"]


def test_an_endless_stream_of_empty_chunks_is_refused(person: Person) -> None:
    taken = 0

    def messages() -> Iterator[UploadAvatarRequest]:
        nonlocal taken
        yield person.metadata()
        while True:
            taken += 1
            yield chunk(b"")

    answer = refusal(lambda: person.calls.avatars.UploadAvatar(messages()))

    assert answer.reason == "UPLOAD_OUT_OF_ORDER"
    assert taken < 1_000_000


def test_an_upload_of_too_many_chunks_is_refused(person: Person) -> None:
    answer = refusal(lambda: person.upload(person.metadata(), *[chunk(b"x" * 20)] * 20_001))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert answer.fields == ["chunk"]


@pytest.mark.parametrize(
    "sent", [[], [chunk(b"\xff" * 900_000)] * 5], ids=["after its metadata", "after most of its bytes"]
)
def test_a_stalled_upload_is_ended(person: Person, sent: list[UploadAvatarRequest]) -> None:
    started = time.monotonic()
    with person.open_upload(*sent) as ended:
        error = refusal_of(ended.exception(10))

    assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TRANSFER_TOO_SLOW")
    assert time.monotonic() - started < STALL_SECONDS + 2
    wait_until(lambda: not spooled(person.service))


def test_an_upload_that_trickles_is_ended(person: Person) -> None:
    leave = threading.Event()

    def messages() -> Iterator[UploadAvatarRequest]:
        yield person.metadata()
        while not leave.wait(0.05):
            yield chunk(b"x" * 50)  # 1 KB a second

    answer = refusal(lambda: person.calls.avatars.UploadAvatar(messages()))
    leave.set()

    assert (answer.code, answer.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TRANSFER_TOO_SLOW")


def test_an_upload_at_the_least_rate_ends_with_its_total_time(person: Person) -> None:
    leave = threading.Event()
    started = time.monotonic()

    def messages() -> Iterator[UploadAvatarRequest]:
        yield person.metadata()
        while not leave.wait(0.05):
            yield chunk(b"x" * 2000)  # 40 KB a second

    answer = refusal(lambda: person.calls.avatars.UploadAvatar(messages()))
    leave.set()

    assert (answer.code, answer.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TRANSFER_TOO_SLOW")
    assert TOTAL_SECONDS <= time.monotonic() - started < TOTAL_SECONDS + 2


def test_the_end_of_the_token_ends_an_upload(service: Deployment, user: str) -> None:
    # The clock of a token has whole seconds.
    person = Person(service, user, exp=time.time() + 2)
    leave = threading.Event()

    def messages() -> Iterator[UploadAvatarRequest]:
        yield person.metadata()
        while not leave.wait(0.05):
            yield chunk(b"x" * 2000)

    with person.calls:
        answer = refusal(lambda: person.calls.avatars.UploadAvatar(messages()))
        leave.set()

    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")


def test_the_bytes_of_an_upload_are_on_disk_without_a_name(person: Person) -> None:
    with person.open_upload(*[chunk(b"\xff" * 900_000)] * 3):
        wait_until(lambda: spooled(person.service))

    wait_until(lambda: not spooled(person.service))


def test_too_many_uploads_of_a_user_are_refused_and_others_are_not(person: Person, other: Person) -> None:
    with ExitStack() as stack:
        for _ in range(AT_ONCE_PER_USER):
            stack.enter_context(person.open_upload(goes_on=True))
        answer = wait_until(person.refused_upload)
        avatar = other.upload(other.metadata(), chunk(pictures.png())).avatar

    assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TRANSFER_LIMIT")
    assert answer.metadata == {"limit": "uploads", "most": str(AT_ONCE_PER_USER)}
    assert answer.quota == ["uploads"]
    assert answer.retry_after
    assert avatar.id


def test_too_many_uploads_of_all_users_are_refused(person: Person, other: Person) -> None:
    with ExitStack() as stack:
        for uploader in (person, person, other):
            stack.enter_context(uploader.open_upload(goes_on=True))
        answer = wait_until(other.refused_upload)

    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
    assert answer.retry_after


def test_the_clients_wait_for_their_turn(person: Person) -> None:
    with person.service.client(person.user) as client, Threads(12) as threads:
        avatars = threads.map(
            lambda number: client.avatars.upload(
                person.project_id, pictures.png(), name=f"Sarah {number}", timeout=60
            ),
            range(12),
        )

    assert len({avatar.id for avatar in avatars}) == 12


# Downloads


@pytest.fixture
def large_avatar(person: Person) -> str:
    """The id of an avatar whose picture is larger than all buffers between server and client."""
    data = BytesIO()
    # Without compression, which would take most of the time of these tests.
    Image.effect_noise((1800, 1500), 90).convert("RGB").save(data, "PNG", compress_level=0)
    assert len(data.getvalue()) > 5_000_000
    with person.service.client(person.user) as client:
        return upload(client, person.project_id, data.getvalue())


def upload(client: AvatarCreator, project_id: str, data: bytes) -> str:
    """Upload a picture and return the id of its avatar."""
    return client.avatars.upload(project_id, data, name="Noise").id


class Reader:
    """A reader with a small window: what it does not read stays in the server."""

    def __init__(self, service: Deployment, user: str, **claims: Any) -> None:
        options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 64 * 1024)]
        self._channel = grpc.insecure_channel(service.target, options)
        self._metadata = (("authorization", f"Bearer {service.token(user, **claims)}"),)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._channel.close()

    def download(self, avatar_id: str) -> Any:
        """Begin a download, and return the stream of its messages."""
        request = DownloadImageRequest(avatar_id=avatar_id)
        return AvatarServiceStub(self._channel).DownloadImage(request, metadata=self._metadata)


@pytest.fixture
def reader(person: Person) -> Iterator[Reader]:
    """A reader of the same user."""
    with Reader(person.service, person.user) as one:
        yield one


def test_a_download_that_no_client_reads_is_ended(person: Person, reader: Reader, large_avatar: str) -> None:
    stream = reader.download(large_avatar)
    next(stream)
    wait_until(lambda: stored_files_open(person.service) == 1)

    wait_until(lambda: stored_files_open(person.service) == 0, STALL_SECONDS + 5)

    answer = refusal(lambda: stream)
    assert (answer.code, answer.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TRANSFER_TOO_SLOW")


def test_the_end_of_the_token_ends_a_download(service: Deployment, person: Person, large_avatar: str) -> None:
    with Reader(service, person.user, exp=time.time() + 2) as reader:
        stream = reader.download(large_avatar)
        next(stream)
        received = 0

        def slowly() -> None:
            nonlocal received
            pause = threading.Event()
            for message in stream:
                received += len(message.chunk)
                pause.wait(0.2)

        answer = refusal(slowly)

    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")


def test_too_many_downloads_of_a_user_are_refused_and_others_are_not(
    person: Person, other: Person, reader: Reader, large_avatar: str
) -> None:
    streams = [reader.download(large_avatar) for _ in range(AT_ONCE_PER_USER)]
    for stream in streams:
        next(stream)
    answer = refusal(lambda: reader.download(large_avatar))
    avatar = other.upload(other.metadata(), chunk(pictures.png())).avatar
    assert other.calls.download(avatar.id)[1]
    for stream in streams:
        stream.cancel()

    assert (answer.code, answer.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TRANSFER_LIMIT")
    assert answer.metadata == {"limit": "downloads", "most": str(AT_ONCE_PER_USER)}
    assert answer.quota == ["downloads"]
    assert person.calls.avatars.GetAvatar(GetAvatarRequest(avatar_id=large_avatar)).avatar.id


def test_a_cancelled_download_leaves_nothing_open(person: Person, reader: Reader, large_avatar: str) -> None:
    stream = reader.download(large_avatar)
    next(stream)
    wait_until(lambda: stored_files_open(person.service) == 1)

    stream.cancel()

    wait_until(lambda: stored_files_open(person.service) == 0)


# Pictures by their links


class Browser:
    """A browser that reads nothing more than it must, with a small window."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host, _, port = parts.netloc.rpartition(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(10.0)
        self._socket.connect((host, int(port)))
        head = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n"
        self._socket.sendall(head.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def status(self) -> str:
        """Read the beginning of the answer, and return its status."""
        return self._socket.recv(12).decode().rpartition(" ")[2]

    def read_all(self) -> int:
        """Read the rest of the answer, and return its number of bytes."""
        received = 0
        with suppress(ConnectionResetError):
            while data := self._socket.recv(65_536):
                received += len(data)
        return received


@pytest.fixture
def link(person: Person, large_avatar: str) -> str:
    """The link to the large picture."""
    with person.service.client(person.user) as client:
        return present(client.avatars.get(large_avatar, include_links=True).image_url)


def test_a_picture_that_no_browser_reads_is_ended(person: Person, link: str) -> None:
    with Browser(link) as browser:
        assert browser.status() == "200"
        wait_until(lambda: stored_files_open(person.service) == 1)

        wait_until(lambda: stored_files_open(person.service) == 0, STALL_SECONDS + 5)

        # The connection is closed before the end that the headers promise.
        assert browser.read_all() < 5_000_000
    assert not person.service.servers[0].events("web_request_failed")


def test_a_browser_that_leaves_leaves_nothing_open(person: Person, link: str) -> None:
    with Browser(link) as browser:
        assert browser.status() == "200"
        wait_until(lambda: stored_files_open(person.service) == 1)

    wait_until(lambda: stored_files_open(person.service) == 0)


def test_readers_of_links_take_the_turns_of_the_owner_alone(person: Person, other: Person, link: str) -> None:
    avatar = other.upload(other.metadata(), chunk(pictures.png())).avatar
    with ExitStack() as readers:
        for _ in range(AT_ONCE_PER_USER):
            assert readers.enter_context(Browser(link)).status() == "200"
        refused = httpx.get(link, trust_env=False)
        assert other.calls.download(avatar.id)[1]

    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["cache-control"] == "no-store"
