"""One user sends many, large, slow and costly pictures: others hardly notice, and the memory comes back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest
from PIL import Image

from avatar_creator.v1.avatar_service_pb2 import (
    DownloadImageRequest,
    UploadAvatarMetadata,
    UploadAvatarRequest,
)
from avatar_creator.v1.avatar_service_pb2_grpc import AvatarServiceStub
from tests import pictures
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.witness import Witness
from tests.contract.calls import CHUNK_BYTES, Calls, refusal_of
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.abuse

MAX_GROWTH_BYTES = 250 * MIB
"""Maximum growth of the server under attack: 24 uploads of one user, running or waiting, with 1 MiB in gRPC
each, four pictures in memory with what is stored of them, and the allocator's share."""
MAX_KEPT_BYTES = 150 * MIB
"""Maximum memory that the server keeps when the attack is over."""
MAX_CHILDREN_BYTES = 700 * MIB
"""Maximum memory of two decoders: 512 MiB for pixels, and Python twice."""
UPLOADS_AT_ONCE_PER_USER = 8


@pytest.fixture
def service(embedded: Deployment) -> Deployment:
    """A running embedded service of this test only."""
    embedded.start()
    return embedded


@pytest.fixture
def witness(service: Deployment) -> Iterator[Witness]:
    """Another user."""
    with Witness(service) as witness:
        yield witness


@pytest.fixture
def attacker(service: Deployment) -> Iterator[Attacker]:
    """A user who abuses the service."""
    one = Attacker(service)
    yield one
    one.close()


@pytest.fixture(scope="module")
def large_picture() -> bytes:
    """A PNG of almost 10 MiB."""
    data = pictures.png(Image.effect_noise((2000, 1740), 60).convert("RGB"))
    assert 8 * MIB < len(data) < 10 * MIB
    return data


class Attacker:
    """A user with many connections."""

    def __init__(self, service: Deployment) -> None:
        self._target = service.target
        self._metadata = (("authorization", f"Bearer {service.token('attacker')}"),)
        self._stack = ExitStack()
        self._channel = self._connect()
        with Calls(service.target, service.token("attacker")) as calls:
            self.project_id = calls.create_project().id

    def close(self) -> None:
        """Close all connections."""
        self._stack.close()

    def upload(self, chunks: Iterator[bytes]) -> str:
        """Upload these chunks on a connection of their own, and return the reason of the error, or OK."""

        def messages() -> Iterator[UploadAvatarRequest]:
            yield UploadAvatarRequest(metadata=UploadAvatarMetadata(project_id=self.project_id, name="Face"))
            for chunk in chunks:
                yield UploadAvatarRequest(chunk=chunk)

        try:
            with self._connect() as channel:
                AvatarServiceStub(channel).UploadAvatar(messages(), metadata=self._metadata, timeout=120)
        except grpc.RpcError as error:
            return refusal_of(error).reason
        return "OK"

    def begin_download(self, avatar_id: str) -> object:
        """Begin a download that nothing reads beyond its first message, on the shared connection."""
        request = DownloadImageRequest(avatar_id=avatar_id)
        return AvatarServiceStub(self._channel).DownloadImage(request, metadata=self._metadata)

    def _connect(self) -> grpc.Channel:
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 64 * 1024),
        ]
        return self._stack.enter_context(grpc.insecure_channel(self._target, options))


def chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks of a picture."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def require_memory_back(gauge: Gauge, before: int) -> None:
    """Wait until the server has given back what the attack took."""
    wait_until(
        lambda: gauge.server_bytes() - before < MAX_KEPT_BYTES,
        message=lambda: f"the server kept {(gauge.server_bytes() - before) // MIB} MiB",
    )


def test_sixty_uploads_at_once(
    service: Deployment, witness: Witness, attacker: Attacker, large_picture: bytes
) -> None:
    quiet, alone = witness.quiet_median(), witness.upload_seconds(large_picture)
    gauge = Gauge(service)
    before, threads_before = gauge.server_bytes(), gauge.threads()

    with Threads(60) as threads, gauge.sampling(), witness.reading() as reads:
        uploads = [threads.submit(attacker.upload, chunks(large_picture)) for _ in range(60)]
        wait_until(lambda: any(upload.done() for upload in uploads), 60.0)
        among_many = witness.upload_seconds(large_picture)
        reasons = Counter(upload.result() for upload in uploads)

    assert set(reasons) <= {"OK", "TRANSFER_LIMIT"}
    assert reasons["OK"] >= UPLOADS_AT_ONCE_PER_USER
    assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
    assert gauge.peak_children_bytes < MAX_CHILDREN_BYTES
    reads.assert_hardly_slower(quiet)
    # Two cores decode for the attacker, and one more client competes for them.
    assert among_many < 8 * alone
    require_memory_back(gauge, before)
    wait_until(lambda: gauge.threads() <= threads_before + 10)


def test_two_hundred_stalled_uploads(
    service: Deployment, witness: Witness, attacker: Attacker, large_picture: bytes
) -> None:
    quiet = witness.quiet_median()
    gauge = Gauge(service)
    before = gauge.server_bytes()
    leave = threading.Event()
    most = list(chunks(large_picture))[:-2]

    def stalled() -> Iterator[bytes]:
        yield from most
        leave.wait()

    with Threads(200) as threads, gauge.sampling(), witness.reading() as reads:
        try:
            uploads = [threads.submit(attacker.upload, stalled()) for _ in range(200)]
            wait_until(lambda: all(upload.done() for upload in uploads), 90.0)
        finally:
            leave.set()
        reasons = Counter(upload.result() for upload in uploads)

    assert set(reasons) == {"TRANSFER_LIMIT", "TRANSFER_TOO_SLOW"}
    assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
    reads.assert_hardly_slower(quiet)
    require_memory_back(gauge, before)


def test_two_hundred_downloads_that_no_client_reads(
    service: Deployment, witness: Witness, attacker: Attacker, large_picture: bytes
) -> None:
    quiet = witness.quiet_median()
    with service.client("attacker") as client:
        avatar_id = client.avatars.upload(attacker.project_id, large_picture, name="Face").id
    gauge = Gauge(service)
    before = gauge.server_bytes()

    with gauge.sampling(), witness.reading() as reads:
        streams = [attacker.begin_download(avatar_id) for _ in range(200)]
        wait_until(lambda: open_pictures(service) > 0)
        wait_until(lambda: open_pictures(service) == 0, 120.0)
    del streams

    assert gauge.peak_server_bytes - before < MAX_GROWTH_BYTES
    reads.assert_hardly_slower(quiet)
    attacker.close()
    require_memory_back(gauge, before)


def open_pictures(service: Deployment) -> int:
    """Return the number of stored pictures that the server has open."""
    opened = Gauge(service).server.open_files()
    return sum(file.path.startswith(str(service.upload_path)) for file in opened)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (lambda: pictures.webp(Image.new("RGB", (7071, 7071), "red"), lossless=True), "IMAGE_TOO_EXPENSIVE"),
        (lambda: pictures.many_scans_jpeg(97, Image.new("RGB", (7000, 7000), "red")), "IMAGE_TOO_EXPENSIVE"),
        (
            lambda: pictures.png_with_metadata(Image.new("RGBA", (7071, 7071), "red"), orientation=6),
            "OK",
        ),
        (lambda: pictures.png(Image.new("RGB", (7071, 7071), "red")), "OK"),
        (lambda: pictures.jpeg(Image.new("RGB", (8000, 6000), "red"), progressive=True), "OK"),
    ],
    ids=["46-byte WebP", "97 scans", "turned RGBA", "RGB", "48 megapixels of a phone"],
)
def test_pictures_that_cost_more_than_they_weigh(
    service: Deployment, witness: Witness, attacker: Attacker, picture: Callable[[], bytes], reason: str
) -> None:
    data = picture()
    assert len(data) < MIB
    quiet = witness.quiet_median()
    gauge = Gauge(service)
    before = gauge.server_bytes()

    with Threads(8) as threads, gauge.sampling(), witness.reading() as reads:
        started = time.perf_counter()
        reasons = Counter(threads.map(lambda _: attacker.upload(chunks(data)), range(8)))
        seconds = time.perf_counter() - started
        among_many = witness.upload_seconds(pictures.jpeg())

    assert set(reasons) == {reason}
    assert gauge.peak_server_bytes - before < 100 * MIB
    assert gauge.peak_children_bytes < MAX_CHILDREN_BYTES
    reads.assert_hardly_slower(quiet)
    assert among_many < 10
    if reason != "OK":
        assert seconds < 5, "eight refusals must cost no decoding"


def test_chunks_without_bytes(witness: Witness, attacker: Attacker) -> None:
    def empty() -> Iterator[bytes]:
        while True:
            yield b""

    quiet = witness.quiet_median()
    with Threads(8) as threads, witness.reading() as reads:
        reasons = Counter(threads.map(lambda _: attacker.upload(empty()), range(8)))

    assert set(reasons) == {"UPLOAD_OUT_OF_ORDER"}
    reads.assert_hardly_slower(quiet)


def test_chunks_of_a_single_byte(witness: Witness, attacker: Attacker) -> None:
    leave = threading.Event()

    def single() -> Iterator[bytes]:
        while not leave.is_set():
            yield b"x"

    quiet = witness.quiet_median()
    with Threads(2) as threads, witness.reading() as reads:
        try:
            reasons = Counter(threads.map(lambda _: attacker.upload(single()), range(2)))
        finally:
            leave.set()

    assert set(reasons) <= {"INVALID_FIELD", "TRANSFER_TOO_SLOW"}
    reads.assert_hardly_slower(quiet)


def test_decoders_that_are_killed_again_and_again(service: Deployment, witness: Witness) -> None:
    stop = threading.Event()
    killed = 0

    def kill() -> None:
        nonlocal killed
        server = Gauge(service).server
        while not stop.wait(3.0):  # long enough for a new child on a busy machine
            for child in server.children():
                child.kill()
                killed += 1

    with Threads(1) as threads:
        killing = threads.submit(kill)
        try:
            wait_until(lambda: witness.upload_seconds(pictures.jpeg()) > 0 and killed >= 3, 60.0)
        finally:
            stop.set()
        killing.result()

    assert witness.upload_seconds(pictures.jpeg()) < 10
