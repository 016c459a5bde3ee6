"""Uploads are sent in chunks; downloads are verified and written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as rpc_details
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


def refused_fields(*fields: str) -> Failure:
    """Return the failure with which the service refuses fields of a request."""
    violations = [rpc_details.BadRequest.FieldViolation(field=each, description="is bad") for each in fields]
    return Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        (
            rpc_details.ErrorInfo(reason="INVALID_FIELD", domain="avatar-creator"),
            rpc_details.BadRequest(field_violations=violations),
        ),
        "; ".join(f"{each}: is bad" for each in fields),
    )


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

    @pytest.mark.parametrize(
        ("file_name", "name"),
        [
            ("sarah.jpg", "sarah"),
            ("Sarah.PNG", "Sarah"),
            ("Dr. Sarah.jpeg", "Dr. Sarah"),
            ("Sarah v1.2", "Sarah v1.2"),
            (".webp", ".webp"),
            ("Jose\u0301.jpg", "José"),
            ("a\nb\x1b.jpg", "a b"),
            ("x" * 200 + ".jpg", "x" * 120),
        ],
    )
    @pytest.mark.parametrize("kind", ["path", "file", "image"])
    def test_without_a_name_the_avatar_has_that_of_the_file(
        self, kind: str, file_name: str, name: str, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / file_name
        Pillow.new("RGB", (2, 2)).save(path, "PNG")
        server.script("UploadAvatar", [ANSWER])
        with path.open("rb") as file, Pillow.open(path) as image:
            client.avatars.upload("p1", {"path": str(path), "file": file, "image": image}[kind])
        assert server.calls[0].requests[0].metadata.name == name

    @pytest.mark.parametrize("kind", ["bytes", "memory", "pipe", "drawn"])
    def test_a_picture_without_a_file_needs_a_name(
        self, kind: str, client: Any, server: ScriptedServer
    ) -> None:
        reading, writing = os.pipe()
        os.close(writing)
        with open(reading, "rb") as pipe:  # noqa: PTH123 (a pipe has no path)
            pictures = {
                "bytes": b"picture",
                "memory": BytesIO(b"picture"),
                "pipe": pipe,
                "drawn": Pillow.new("RGB", (2, 2)),
            }
            with pytest.raises(InvalidArgumentError, match="name must be given, because the picture has no"):
                client.avatars.upload("p1", pictures[kind])
        assert server.calls == []

    @pytest.mark.parametrize(
        ("picture", "problem"),
        [
            (b"", "picture has no bytes"),
            (BytesIO(), "picture has no bytes"),
            (StringIO("picture"), "picture must be a file in binary mode"),
            (SimpleNamespace(read=lambda size: "text"), r"returns bytes when it is read \(got a text\)"),
            (Pillow.new("RGB", (0, 0)), "picture cannot be converted to PNG"),
            (SimpleNamespace(read=lambda size: None), r"returns bytes when it is read \(got None\)"),
            (7, r"picture must be a path, bytes, an open file or an image of Pillow \(got an int\)"),
        ],
    )
    def test_what_is_no_picture_is_named(
        self, picture: Any, problem: str, client: Any, server: ScriptedServer
    ) -> None:
        server.script("UploadAvatar", [ANSWER])
        with pytest.raises(InvalidArgumentError, match=problem) as error:
            client.avatars.upload("p1", picture, name="Sarah")
        assert [each.field for each in error.value.field_violations] == ["picture"]

    def test_a_closed_file_is_refused(self, client: Any, server: ScriptedServer) -> None:
        file = BytesIO(b"picture")
        file.close()
        with pytest.raises(InvalidArgumentError, match="picture is a closed file"):
            client.avatars.upload("p1", file, name="Sarah")
        assert server.calls == []

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_other_kinds_of_bytes_are_sent(self, kind: Any, client: Any, server: ScriptedServer) -> None:
        server.script("UploadAvatar", [ANSWER])
        client.avatars.upload("p1", kind(b"picture"), name="Sarah")
        assert chunks_of(server.calls[0]) == [b"picture"]

    def test_an_error_of_the_service_names_the_argument(self, client: Any, server: ScriptedServer) -> None:
        server.script("UploadAvatar", [refused_fields("chunk", "metadata.name", "metadata.persona.age")])
        with pytest.raises(InvalidArgumentError) as error:
            client.avatars.upload("p1", b"picture", name="Sarah")
        assert [each.field for each in error.value.field_violations] == ["picture", "name", "persona.age"]
        assert error.value.message == "picture: is bad; name: is bad; persona.age: is bad"

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

    @pytest.mark.parametrize(
        ("reference", "argument"), [(b"picture", "reference"), ([b"picture"], "reference[0]")]
    )
    def test_an_error_of_its_upload_names_the_reference(
        self, reference: Any, argument: str, client: Any, server: ScriptedServer
    ) -> None:
        server.script("UploadAvatar", [refused_fields("chunk", "metadata.name")])
        with pytest.raises(InvalidArgumentError) as error:
            client.generations.create("p1", "a portrait", reference=reference)
        assert [each.field for each in error.value.field_violations] == [argument, argument]
        assert error.value.message == f"{argument}: is bad; {argument}: its name is bad"

    def test_an_error_of_the_generation_names_its_arguments(
        self, client: Any, server: ScriptedServer
    ) -> None:
        server.script("CreateGeneration", [refused_fields("options.width", "reference_avatar_ids", "prompt")])
        with pytest.raises(InvalidArgumentError) as error:
            client.generations.create("p1", "a portrait")
        assert [each.field for each in error.value.field_violations] == ["width", "reference", "prompt"]

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

    def test_a_pipe_receives_the_picture_and_stays(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        with ThreadPoolExecutor() as executor:
            received = executor.submit(pipe.read_bytes)
            assert client.avatars.download("a1", to=pipe) == pipe
            assert received.result() == PICTURE
        assert pipe.is_fifo()

    def test_an_open_file_receives_the_picture_after_what_it_has(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        """`/dev/stdout` is a link to such a path."""
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        with (tmp_path / "output").open("wb", buffering=0) as file:
            file.write(b"before")
            client.avatars.download("a1", to=f"/dev/fd/{file.fileno()}")
        assert (tmp_path / "output").read_bytes() == b"before" + PICTURE

    def test_a_file_in_a_folder_called_fd_is_replaced(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        path = tmp_path / "fd" / "sarah.jpg"
        path.parent.mkdir()
        path.write_bytes(b"before")
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        client.avatars.download("a1", to=path)
        assert path.read_bytes() == PICTURE

    def test_a_link_stays_and_its_file_is_replaced(
        self, client: Any, server: ScriptedServer, tmp_path: Path
    ) -> None:
        (tmp_path / "current.jpg").symlink_to("sarah.jpg")
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        client.avatars.download("a1", to=tmp_path / "current.jpg")
        assert (tmp_path / "current.jpg").is_symlink()
        assert (tmp_path / "sarah.jpg").read_bytes() == PICTURE

    def test_a_missing_folder_is_named(self, client: Any, server: ScriptedServer, tmp_path: Path) -> None:
        server.script("DownloadImage", [metadata(PICTURE), *pieces(PICTURE)])
        with pytest.raises(FileNotFoundError) as error:
            client.avatars.download("a1", to=tmp_path / "missing" / "sarah.jpg")
        assert error.value.filename == str(tmp_path / "missing" / "sarah.jpg")

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
