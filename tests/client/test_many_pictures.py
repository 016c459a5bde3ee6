"""Uploads and downloads of many pictures: an outcome for each, some at a time, and all can be stopped."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
import signal
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest

from avatar_creator import AsyncAvatarCreator, AvatarCreator, InvalidArgumentError, NotFoundError, Outcome
from avatar_creator.v1.avatar_pb2 import Avatar, Image
from avatar_creator.v1.avatar_service_pb2 import DownloadImageResponse, ImageVariant, UploadAvatarResponse
from tests.client.scripted_server import Failure, ScriptedServer, Step, UntilClientLeaves
from tests.support.waiting import wait_until

REFUSED = Failure(grpc.StatusCode.INVALID_ARGUMENT)
PICTURES = {f"face {number}": b"picture" for number in range(6)}
HELD: list[Step] = [UntilClientLeaves(), REFUSED]
GONE = Failure(grpc.StatusCode.NOT_FOUND)


def answer(id: str) -> UploadAvatarResponse:
    return UploadAvatarResponse(avatar=Avatar(id=id))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five picture files; the third does not exist."""
    paths = [tmp_path / f"face {number}.jpg" for number in range(5)]
    for path in (*paths[:2], *paths[3:]):
        path.write_bytes(path.name.encode())
    return paths


class TestUpload:
    def test_each_picture_has_an_outcome_in_the_order_given(
        self, files: list[Path], client: Any, server: ScriptedServer
    ) -> None:
        server.script("UploadAvatar", [answer("a0")], [answer("a1")])
        progress: list[tuple[int, int]] = []

        outcomes = client.avatars.upload_many(
            "p1", files[:2], concurrency=1, on_progress=lambda *counts: progress.append(counts)
        )

        assert [outcome.source for outcome in outcomes] == files[:2]
        assert [outcome.result.id for outcome in outcomes] == ["a0", "a1"]
        assert progress == [(1, 2), (2, 2)]
        sent = [call.requests[0].metadata for call in server.calls]
        assert [(each.project_id, each.name) for each in sent] == [("p1", "face 0"), ("p1", "face 1")]
        assert len({each.request_id for each in sent}) == 2

    def test_a_bad_picture_does_not_stop_the_others(self, client: Any, server: ScriptedServer) -> None:
        server.script("UploadAvatar", [answer("a0")], [REFUSED], [answer("a2")])
        pictures = {"first": b"1", "second": b"2", "third": BytesIO(b"3")}

        first, second, third = client.avatars.upload_many("p1", pictures, concurrency=1)

        assert (first.result.id, third.result.id) == ("a0", "a2")
        assert isinstance(second.error, InvalidArgumentError)
        with pytest.raises(InvalidArgumentError):
            second.result  # noqa: B018
        assert [call.requests[0].metadata.name for call in server.calls] == ["first", "second", "third"]

    def test_a_file_that_cannot_be_read_is_its_own_error(
        self, files: list[Path], client: Any, server: ScriptedServer
    ) -> None:
        server.script("UploadAvatar", *[[answer(f"a{number}")] for number in range(5)])
        outcomes = client.avatars.upload_many("p1", files)
        assert [type(outcome.error) for outcome in outcomes] == [
            type(None),
            type(None),
            FileNotFoundError,
            type(None),
            type(None),
        ]

    def test_as_many_as_allowed_are_sent_at_the_same_time(self, client: Any, server: ScriptedServer) -> None:
        together = threading.Barrier(3)
        lock = threading.Lock()
        open_now: set[int] = set()
        most: list[int] = []

        class Met(BytesIO):
            """A file whose first read waits until three files are being read."""

            waited = False

            def read(self, size: int | None = -1, /) -> bytes:
                with lock:
                    open_now.add(id(self))
                    most.append(len(open_now))
                if not self.waited:
                    self.waited = True
                    together.wait(10)
                data = super().read(size)
                if not data:
                    with lock:
                        open_now.discard(id(self))
                return data

        server.script("UploadAvatar", *[[answer("a1")]] * 6)
        pictures = {f"face {number}": Met(b"picture") for number in range(6)}
        outcomes = client.avatars.upload_many("p1", pictures, concurrency=3)
        assert [outcome.error for outcome in outcomes] == [None] * 6
        assert max(most) == 3

    def test_an_error_of_the_callback_stops_all(self, client: Any, server: ScriptedServer) -> None:
        def fail(ended: int, total: int) -> None:
            raise RuntimeError("error of the callback")

        server.script("UploadAvatar", [answer("a1")], *[HELD] * 5)
        with pytest.raises(RuntimeError, match="of the callback"):
            client.avatars.upload_many("p1", PICTURES, concurrency=2, on_progress=fail)
        wait_until(lambda: all(call.over.is_set() for call in server.calls))
        assert len(server.calls) <= 3

    @pytest.mark.parametrize(
        ("pictures", "problem"),
        [
            ("sarah.jpg", "pictures must be a list"),
            (b"picture", "pictures must be a list"),
            ([7], r"pictures\[0\] must be a path"),
            (["sarah.jpg", b"picture"], r"pictures\[1\] has no file name; give a mapping of names"),
        ],
    )
    def test_what_is_no_list_of_named_pictures_is_refused(
        self, pictures: Any, problem: str, client: Any, server: ScriptedServer
    ) -> None:
        with pytest.raises(InvalidArgumentError, match=problem):
            client.avatars.upload_many("p1", pictures)
        assert server.calls == []

    def test_no_pictures_have_no_outcomes(self, client: Any) -> None:
        assert client.avatars.upload_many("p1", []) == ()
        with pytest.raises(InvalidArgumentError, match="concurrency must be 1 or more"):
            client.avatars.upload_many("p1", [], concurrency=0)


class TestStopping:
    """Ctrl-C, or the cancellation of the task, ends all uploads, also those that wait for their answer."""

    def test_ctrl_c_stops_the_threads(self, server: ScriptedServer) -> None:
        server.script("UploadAvatar", *[HELD] * 6)
        main = threading.get_ident()

        def press_ctrl_c() -> None:
            wait_until(lambda: len(server.calls) == 2)
            signal.pthread_kill(main, signal.SIGINT)

        with AvatarCreator(server.target, token="a-token") as client:
            pressing = threading.Thread(target=press_ctrl_c)
            pressing.start()
            with pytest.raises(KeyboardInterrupt):
                client.avatars.upload_many("p1", PICTURES, concurrency=2)
            pressing.join()
            wait_until(lambda: all(call.over.is_set() for call in server.calls))
            assert len(server.calls) == 2
            # The client itself goes on.
            server.script("DownloadImage", [GONE])
            with pytest.raises(NotFoundError):
                client.avatars.download("a1")

    async def test_cancelling_the_task_stops_the_others(self, server: ScriptedServer) -> None:
        server.script("UploadAvatar", *[HELD] * 6)
        async with AsyncAvatarCreator(server.target, token="a-token") as client:
            task = asyncio.create_task(client.avatars.upload_many("p1", PICTURES, concurrency=2))
            await asyncio.to_thread(wait_until, lambda: len(server.calls) == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(wait_until, lambda: all(call.over.is_set() for call in server.calls))
            assert len(server.calls) == 2


def download(data: bytes, content_type: str) -> list[Step]:
    image = Image(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), content_type=content_type)
    return [DownloadImageResponse(metadata=image), DownloadImageResponse(chunk=data)]


class TestDownload:
    def test_each_avatar_has_its_bytes_or_its_error(self, client: Any, server: ScriptedServer) -> None:
        server.script("DownloadImage", download(b"1", "image/png"), [GONE], download(b"3", "image/png"))
        progress: list[tuple[int, int]] = []

        first, second, third = client.avatars.download_many(
            ["a1", "a2", "a3"], concurrency=1, on_progress=lambda *counts: progress.append(counts)
        )

        assert (first.source, first.result, third.result) == ("a1", b"1", b"3")
        assert isinstance(second.error, NotFoundError)
        assert progress == [(1, 3), (2, 3), (3, 3)]

    @pytest.mark.parametrize(("variant", "end"), [("original", ""), ("thumbnail", "-thumbnail")])
    def test_files_are_named_after_their_avatars(
        self, variant: str, end: str, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        types = ("image/png", "image/jpeg", "image/webp", "image/avif")
        server.script("DownloadImage", *[download(kind.encode(), kind) for kind in types])
        folder = tmp_path / "faces" / "today"
        outcomes = client.avatars.download_many(
            [f"a{number}" for number in range(4)], to=folder, variant=variant, concurrency=1
        )
        assert [outcome.result for outcome in outcomes] == [
            folder / f"a0{end}.png",
            folder / f"a1{end}.jpg",
            folder / f"a2{end}.webp",
            folder / f"a3{end}",
        ]
        assert [outcome.result.read_text() for outcome in outcomes] == list(types)
        sent = {call.request.variant for call in server.calls}
        assert sent == {getattr(ImageVariant, f"IMAGE_VARIANT_{variant.upper()}")}

    def test_a_repeated_avatar_and_an_existing_file_are_no_problem(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        (tmp_path / "a1.png").write_bytes(b"older")
        server.script("DownloadImage", *[download(b"1", "image/png")] * 2)
        outcomes = client.avatars.download_many(["a1", "a1"], to=tmp_path)
        assert [outcome.result for outcome in outcomes] == [tmp_path / "a1.png"] * 2
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"1"]
        assert client.avatars.download_many([], to=tmp_path / "new") == ()

    @pytest.mark.parametrize(
        ("use", "problem"),
        [
            (lambda c: c.avatars.download_many("a1"), "avatars must be a list"),
            (lambda c: c.avatars.download_many([7]), r"avatars\[0\] must be an id or an Avatar"),
            (lambda c: c.avatars.download_many(["a1"], variant="big"), "variant must be one of"),
        ],
    )
    def test_wrong_arguments_are_refused_before_anything_is_sent(
        self, use: Callable[[Any], Any], problem: str, client: Any, server: ScriptedServer
    ) -> None:
        with pytest.raises(InvalidArgumentError, match=problem):
            use(client)
        assert server.calls == []


def test_an_outcome_prints_in_one_line_and_can_be_pickled() -> None:
    done: Outcome[bytes, bytes] = Outcome(b"12345", None, b"123")
    failed: Outcome[str, bytes] = Outcome("a1", OSError("the disk is gone"))
    assert repr(done) == "Outcome(<5 bytes>, result=<3 bytes>)"
    assert repr(failed) == "Outcome('a1', error=OSError('the disk is gone'))"
    assert pickle.loads(pickle.dumps(done)) == done
