"""Uploads are sent in chunks; downloads are verified and written completely or not at all."""

from __future__ import annotations

import hashlib
import uuid
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image as Pillow

from avatar_creator import DataLossError, InvalidArgumentError
from avatar_creator.pictures import CHUNK_BYTES
from avatar_creator.v1.attributes_pb2 import Gender
from avatar_creator.v1.avatar_pb2 import Avatar, Image
from avatar_creator.v1.avatar_service_pb2 import DownloadImageResponse, ImageVariant, UploadAvatarResponse
from avatar_creator.v1.generation_pb2 import Generation
from avatar_creator.v1.generation_service_pb2 import CreateGenerationResponse
from tests.client.scripted_server import LOST, Failure, ScriptedServer, Step, Unread

PICTURE = bytes(range(256)) * 1025  # two full chunks and a smaller one
CHUNKS = [CHUNK_BYTES, CHUNK_BYTES, len(PICTURE) - 2 * CHUNK_BYTES]
ANSWER = UploadAvatarResponse(avatar=Avatar(id="a1"))


def chunks_of(call: Any) -> list[bytes]:
    return [request.chunk for request in call.requests[1:]]


class Pipe(BytesIO):
    """A file that is not seekable."""

    def seekable(self) -> bool:
        return False


class Unreadable(BytesIO):
    """A file that fails after the first chunk."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise OSError("the disk is gone")
        return super().read(size)


class TestUpload:
    @pytest.mark.parametrize("kind", ["path", "string", "bytes", "file"])
    def test_a_picture_is_sent_in_chunks_after_its_metadata(
        self, kind: str, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "sarah.jpg"
        path.write_bytes(PICTURE)
        picture = {"path": path, "string": str(path), "bytes": PICTURE, "file": BytesIO(PICTURE)}[kind]
        server.script("UploadAvatar", [ANSWER])
        progress: list[tuple[int, int | None]] = []
        avatar = client.avatars.upload(
            "p1",
            picture,
            name="Sarah",
            persona={"age": 30},
            attributes={"gender": "female"},
            content_type="image/jpeg",
            on_progress=lambda sent, total: progress.append((sent, total)),
        )
        assert avatar.id == "a1"
        [call] = server.calls
        metadata = call.requests[0].metadata
        assert (metadata.project_id, metadata.name, metadata.content_type) == ("p1", "Sarah", "image/jpeg")
        assert (metadata.persona.age, metadata.attributes.gender) == (30, Gender.GENDER_FEMALE)
        assert [len(chunk) for chunk in chunks_of(call)] == CHUNKS
        assert b"".join(chunks_of(call)) == PICTURE
        assert progress == [(sum(CHUNKS[:n]), len(PICTURE)) for n in (1, 2, 3)]

    def test_a_file_object_is_sent_from_its_position_and_stays_open(
        self, client: Any, server: ScriptedServer
    ) -> None:
        file = BytesIO(b"header" + b"picture")
        file.seek(6)
        server.script("UploadAvatar", [ANSWER])
        progress: list[tuple[int, int | None]] = []
        client.avatars.upload("p1", file, name="S", on_progress=lambda *sent: progress.append(sent))
        assert chunks_of(server.calls[0]) == [b"picture"]
        assert progress == [(7, 7)]
        assert not file.closed

    def test_a_pipe_has_no_total_size(self, client: Any, server: ScriptedServer) -> None:
        server.script("UploadAvatar", [ANSWER])
        progress: list[tuple[int, int | None]] = []
        client.avatars.upload("p1", Pipe(b"picture"), name="S", on_progress=lambda *s: progress.append(s))
        assert progress == [(7, None)]

    def test_a_retry_reads_a_file_again(self, client: Any, server: ScriptedServer, tmp_path: Path) -> None:
        path = tmp_path / "sarah.jpg"
        path.write_bytes(PICTURE)
        server.script("UploadAvatar", [LOST], [ANSWER])
        client.avatars.upload("p1", path, name="S")
        assert [b"".join(chunks_of(call)) for call in server.calls] == [PICTURE, PICTURE]

    def test_a_read_error_reaches_the_caller(self, client: Any, server: ScriptedServer) -> None:
        server.script("UploadAvatar", [ANSWER])
        with pytest.raises(OSError, match="the disk is gone"):
            client.avatars.upload("p1", Unreadable(PICTURE), name="S")

    def test_a_missing_file_is_an_error(self, client: Any, server: ScriptedServer, tmp_path: Path) -> None:
        server.script("UploadAvatar", [ANSWER])
        with pytest.raises(FileNotFoundError):
            client.avatars.upload("p1", tmp_path / "sarah.jpg", name="S")

    def test_an_error_before_all_bytes_are_sent_is_raised(self, client: Any, server: ScriptedServer) -> None:
        # Many times, because the client's writes and the server's answer race.
        for size in [1, 4, 40] * 10:
            server.script("UploadAvatar", [Unread(Failure(grpc.StatusCode.INVALID_ARGUMENT))])
            with pytest.raises(InvalidArgumentError):
                client.avatars.upload("p1", PICTURE * size, name="S")

    def test_an_answer_before_all_bytes_are_sent_is_returned(
        self, client: Any, server: ScriptedServer
    ) -> None:
        for size in [1, 4, 40] * 10:
            server.script("UploadAvatar", [Unread(ANSWER)])
            assert client.avatars.upload("p1", PICTURE * size, name="S").id == "a1"

    def test_an_error_of_the_callback_reaches_the_caller(self, client: Any, server: ScriptedServer) -> None:
        def fail(sent: int, total: int | None) -> None:
            raise RuntimeError("error of the callback")

        server.script("UploadAvatar", [ANSWER])
        with pytest.raises(RuntimeError, match="of the callback"):
            client.avatars.upload("p1", PICTURE, name="S", on_progress=fail)


class TestReference:
    """A reference that is a picture is uploaded before the generation is created."""

    ID = "01a204c5-0000-7000-8000-000000000002"
    UPLOADED = "01a204c5-0000-7000-8000-000000000003"

    def script(self, server: ScriptedServer) -> None:
        server.script("UploadAvatar", [UploadAvatarResponse(avatar=Avatar(id=self.UPLOADED))])
        server.script("CreateGeneration", [CreateGenerationResponse(generation=Generation(id="g1"))])

    def test_it_is_uploaded_to_the_same_project_and_takes_its_place(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "sarah.jpg"
        path.write_bytes(PICTURE)
        self.script(server)

        client.generations.create("p1", "older", reference=[self.ID, str(path)])

        [upload] = server.received("UploadAvatar")
        assert (upload.requests[0].metadata.project_id, upload.requests[0].metadata.name) == ("p1", "sarah")
        assert b"".join(chunks_of(upload)) == PICTURE
        [creation] = server.received("CreateGeneration")
        assert creation.request.reference_avatar_ids == [self.ID, self.UPLOADED]

    def test_repeating_the_call_repeats_the_request_of_the_upload(
        self, client: Any, server: ScriptedServer
    ) -> None:
        for request_id in ("r1", "r1", "r2", None):
            self.script(server)
            client.generations.create("p1", "older", reference=PICTURE, request_id=request_id)
        ids = [call.requests[0].metadata.request_id for call in server.received("UploadAvatar")]
        assert ids[0] == ids[1]
        assert len({str(uuid.UUID(id)) for id in ids}) == 3

    def test_variations_share_one_upload(self, client: Any, server: ScriptedServer) -> None:
        self.script(server)
        client.generations.create_variations("p1", "older", 2, reference=BytesIO(PICTURE))
        [upload] = server.received("UploadAvatar")
        assert upload.requests[0].metadata.name == "Reference"
        assert server.received("CreateGeneration")[0].request.variation_count == 2

    @pytest.mark.parametrize("mode", ["RGB", "CMYK"])
    def test_an_image_of_pillow_is_sent_as_png(self, mode: str, client: Any, server: ScriptedServer) -> None:
        self.script(server)
        image = Pillow.new(mode, (20, 10))
        client.generations.create("p1", "older", reference=image)
        sent = Pillow.open(BytesIO(b"".join(chunks_of(server.received("UploadAvatar")[0]))))
        assert (sent.format, sent.size, sent.mode) == ("PNG", (20, 10), "RGB")

    def test_nothing_is_uploaded_for_a_call_that_is_wrong(self, client: Any, server: ScriptedServer) -> None:
        for arguments in ({"priority": "later"}, {"reference": [PICTURE, 7]}):
            with pytest.raises(InvalidArgumentError):
                client.generations.create("p1", "older", **{"reference": PICTURE} | arguments)
        with pytest.raises(InvalidArgumentError, match="1 or more"):
            client.generations.create_variations("p1", "older", 0, reference=PICTURE)
        assert server.calls == []

    def test_a_file_that_does_not_exist_creates_nothing(self, client: Any, server: ScriptedServer) -> None:
        self.script(server)
        with pytest.raises(FileNotFoundError, match="no such face"):
            client.generations.create("p1", "older", reference="no such face.jpg")
        assert server.received("CreateGeneration") == []

    def test_an_estimate_uploads_nothing(self, client: Any, server: ScriptedServer) -> None:
        with pytest.raises(InvalidArgumentError, match="an estimate uploads nothing"):
            client.generations.estimate("p1", "older", reference=PICTURE)
        assert server.calls == []


def metadata(data: bytes, **changes: Any) -> DownloadImageResponse:
    image = Image(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    image.MergeFrom(Image(**changes))
    return DownloadImageResponse(metadata=image)


def pieces(data: bytes) -> list[Step]:
    return [DownloadImageResponse(chunk=data[i : i + CHUNK_BYTES]) for i in range(0, len(data), CHUNK_BYTES)]


DAMAGED: dict[str, list[Step]] = {
    "other bytes": [metadata(PICTURE), *pieces(PICTURE[:-1] + b"?")],
    "too few bytes": [metadata(PICTURE), *pieces(PICTURE[:-1])],
    "too many bytes": [metadata(PICTURE), *pieces(PICTURE + b"?")],
    "other checksum": [metadata(PICTURE, sha256="0" * 64), *pieces(PICTURE)],
    "no metadata": pieces(PICTURE),
    "metadata twice": [metadata(PICTURE), metadata(PICTURE), *pieces(PICTURE)],
    "nothing": [],
}


class TestDownload:
    def test_a_download_returns_bytes(self, client: Any, server: ScriptedServer) -> None:
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        assert client.avatars.download("a1") == PICTURE
        request = server.calls[0].request
        assert (request.avatar_id, request.variant) == ("a1", ImageVariant.IMAGE_VARIANT_ORIGINAL)

    def test_a_download_replaces_an_existing_file(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "sarah.webp"
        path.write_bytes(b"older")
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        assert client.avatars.download("a1", variant="thumbnail", to=str(path)) == path
        assert path.read_bytes() == PICTURE
        assert list(tmp_path.iterdir()) == [path]
        assert server.calls[0].request.variant == ImageVariant.IMAGE_VARIANT_THUMBNAIL

    @pytest.mark.parametrize("steps", DAMAGED.values(), ids=DAMAGED)
    def test_a_damaged_picture_leaves_no_file(
        self, steps: list[Step], client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.script("DownloadImage", steps)
        with pytest.raises(DataLossError):
            client.avatars.download("a1", to=tmp_path / "sarah.jpg")
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_replacement_leaves_no_file(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        folder = tmp_path / "a-folder"
        folder.mkdir()
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        with pytest.raises(OSError, match="a-folder"):
            client.avatars.download("a1", to=folder)
        assert list(tmp_path.iterdir()) == [folder]

    def test_an_interrupted_download_starts_again(self, client: Any, server: ScriptedServer) -> None:
        server.script(
            "DownloadImage",
            [metadata(PICTURE), pieces(PICTURE)[0], LOST],
            [metadata(PICTURE), *pieces(PICTURE)],
        )
        assert client.avatars.download("a1") == PICTURE

    def test_an_error_leaves_no_file(self, client: Any, server: ScriptedServer, tmp_path: Path) -> None:
        server.script(
            "DownloadImage", [metadata(PICTURE), pieces(PICTURE)[0], Failure(grpc.StatusCode.INTERNAL)]
        )
        with pytest.raises(Exception, match="it failed"):
            client.avatars.download("a1", to=tmp_path / "sarah.jpg")
        assert list(tmp_path.iterdir()) == []
