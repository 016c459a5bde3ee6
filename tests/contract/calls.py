"""Raw gRPC calls without the client library, and everything that an error status contains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import grpc
import psycopg2
import psycopg2.extras
from google.rpc import error_details_pb2, status_pb2

from avatar_creator.v1 import avatar_service_pb2
from avatar_creator.v1.avatar_pb2 import Avatar, Image
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import CreateProjectRequest
from avatar_creator.v1.avatar_project_service_pb2_grpc import AvatarProjectServiceStub
from avatar_creator.v1.avatar_service_pb2_grpc import AvatarServiceStub
from avatar_creator.v1.generation_pb2 import Generation
from avatar_creator.v1.generation_service_pb2 import (
    CancelGenerationRequest,
    CreateGenerationRequest,
    GetGenerationRequest,
    WatchGenerationRequest,
)
from avatar_creator.v1.generation_service_pb2_grpc import GenerationServiceStub
from avatar_creator.v1.operations_service_pb2_grpc import OperationsServiceStub
from avatar_creator.v1.preset_service_pb2_grpc import PresetServiceStub
from avatar_creator.v1.usage_pb2 import UsageRecord
from avatar_creator.v1.usage_service_pb2 import RecordUsageRequest
from avatar_creator.v1.usage_service_pb2_grpc import UsageServiceStub
from tests.support.generations import LARGEST, SMALLEST
from tests.support.service import Deployment

TIMEOUT_SECONDS = 30.0
"""Deadline of every call. No call should need it."""

CHUNK_BYTES = 256 * 1024

_CONNECT_SECONDS = 10  # psycopg2 waits in C, where no timer of the tests can interrupt it
_TABLES_OF_A_USER = (
    "avatar_projects",
    "avatars",
    "avatar_generations",
    "avatar_usage_history",
    "user_statistics",
    "daily_uploads",
    "files",
    "idempotency_keys",
)


class Calls:
    """The stubs of one user. Use it as a context manager."""

    def __init__(self, target: str, token: str, *, own_connection: bool = False) -> None:
        """Connect with the first call.

        Args:
            target: the address of the server.
            token: the user's token.
            own_connection: True if no other calls of this process may use the same connection.
        """
        self.channel = grpc.insecure_channel(
            target, [("grpc.use_local_subchannel_pool", int(own_connection))]
        )
        self.metadata = (("authorization", f"Bearer {token}"),)
        authorized = cast(grpc.Channel, _AuthorizedChannel(self.channel, self.metadata))
        self.projects = AvatarProjectServiceStub(authorized)
        self.avatars = AvatarServiceStub(authorized)
        self.generations = GenerationServiceStub(authorized)
        self.usage = UsageServiceStub(authorized)
        self.presets = PresetServiceStub(authorized)
        self.operations = OperationsServiceStub(authorized)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.channel.close()

    def create_project(self, name: str = "Spring campaign") -> AvatarProject:
        """Create a project."""
        return self.projects.CreateProject(CreateProjectRequest(name=name)).project

    def upload(self, project_id: str, data: bytes, **metadata: Any) -> Avatar:
        """Upload a picture, with `metadata` as further fields of its metadata, and return the avatar."""
        messages = upload_messages({"project_id": project_id, "name": "Sarah", **metadata}, data)
        return self.avatars.UploadAvatar(messages).avatar

    def download(
        self,
        avatar_id: str,
        variant: avatar_service_pb2.ImageVariant.ValueType = avatar_service_pb2.IMAGE_VARIANT_ORIGINAL,
    ) -> tuple[Image, bytes]:
        """Return the metadata and the bytes of a picture."""
        stream = self.avatars.DownloadImage(
            avatar_service_pb2.DownloadImageRequest(avatar_id=avatar_id, variant=variant)
        )
        first, *others = list(stream)
        assert first.HasField("metadata")
        assert all(message.HasField("chunk") for message in others)
        return first.metadata, b"".join(message.chunk for message in others)

    def create_generation(self, project_id: str, **fields: Any) -> Generation:
        """Create a generation of a small picture."""
        request = CreateGenerationRequest(
            **{
                "project_id": project_id,
                "prompt": "a portrait",
                "options": {"width": 256, "height": 256},
                **fields,
            }
        )
        return self.generations.CreateGeneration(request).generation

    def wait_for_end(self, generation_id: str) -> Generation:
        """Wait until a generation has ended, and return its last state."""
        for _ in self.generations.WatchGeneration(WatchGenerationRequest(generation_id=generation_id)):
            pass
        return self.generations.GetGeneration(GetGenerationRequest(generation_id=generation_id)).generation

    def cancel_unless_finished(self, generation_id: str) -> Generation:
        """Cancel a generation, unless a worker was faster, and return its last state."""
        try:
            return self.generations.CancelGeneration(
                CancelGenerationRequest(generation_id=generation_id)
            ).generation
        except grpc.RpcError as error:
            if refusal_of(error).reason != "GENERATION_FINISHED":
                raise
        return self.generations.GetGeneration(GetGenerationRequest(generation_id=generation_id)).generation

    def create_cancelled(self, project_id: str, *, by: Calls | None = None) -> Generation:
        """Create a generation and cancel it, also by the calls of an operator."""
        while True:
            # A wide picture takes longer, so a worker rarely completes it before the cancellation.
            generation = self.create_generation(project_id, options={"width": LARGEST, "height": SMALLEST})
            try:
                request = CancelGenerationRequest(generation_id=generation.id)
                return (by or self).generations.CancelGeneration(request).generation
            except grpc.RpcError as error:
                if refusal_of(error).reason != "GENERATION_FINISHED":
                    raise

    def list_avatar_ids(
        self,
        filters: Mapping[str, Any],
        page_size: int,
        between: Callable[[list[str]], None] = lambda _: None,
    ) -> list[str]:
        """Return the ids of all pages. Call `between` with the ids so far after each page except the last."""
        found: list[str] = []
        request = avatar_service_pb2.ListAvatarsRequest(**filters, page_size=page_size)
        while True:
            answer = self.avatars.ListAvatars(request)
            found += [avatar.id for avatar in answer.avatars]
            if not answer.next_page_token:
                return found
            assert len(answer.avatars) == page_size
            between(found)
            request.page_token = answer.next_page_token

    def record_usage(self, avatar_id: str, **fields: Any) -> UsageRecord:
        """Record a use of an avatar."""
        request = RecordUsageRequest(
            **{"avatar_id": avatar_id, "app_id": "pose-generator", "action": "generate_poses", **fields}
        )
        return self.usage.RecordUsage(request).usage


def upload_messages(
    metadata: dict[str, Any], data: bytes
) -> Iterator[avatar_service_pb2.UploadAvatarRequest]:
    """Yield the messages of an upload."""
    yield avatar_service_pb2.UploadAvatarRequest(metadata=avatar_service_pb2.UploadAvatarMetadata(**metadata))
    for start in range(0, len(data), CHUNK_BYTES):
        yield avatar_service_pb2.UploadAvatarRequest(chunk=data[start : start + CHUNK_BYTES])


@dataclass(frozen=True)
class Refusal:
    """Everything that an error status contains."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    """Paths of the fields that violate a limit."""
    resource: tuple[str, str] | None = None
    """Type and id of the resource that was not found."""
    retry_after: float | None = None
    """Seconds."""
    quota: list[str] = field(default_factory=list)
    """Names of the limits that the call would exceed."""


def refusal(call: Callable[[], object]) -> Refusal:
    """Return the error of a call that must be refused. A stream is read to its end."""
    try:
        answer = call()
        if isinstance(answer, Iterator):
            for _ in answer:
                pass
    except grpc.RpcError as error:
        return refusal_of(error)
    raise AssertionError(f"the call was not refused: {answer}")


def refusal_of(error: Any) -> Refusal:
    """Return everything that a gRPC error contains."""
    status = status_pb2.Status()
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    resource = error_details_pb2.ResourceInfo()
    retry = error_details_pb2.RetryInfo()
    quota = error_details_pb2.QuotaFailure()
    unpacked = {
        detail.DESCRIPTOR.full_name
        for packed in status.details
        for detail in (info, bad, resource, retry, quota)
        if packed.Unpack(detail)
    }
    return Refusal(
        code=error.code(),
        message=error.details(),
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=[violation.field for violation in bad.field_violations],
        quota=[violation.subject for violation in quota.violations],
        resource=(resource.resource_type, resource.resource_name)
        if "google.rpc.ResourceInfo" in unpacked
        else None,
        retry_after=retry.retry_delay.ToTimedelta().total_seconds()
        if "google.rpc.RetryInfo" in unpacked
        else None,
    )


def rows_of(deployment: Deployment, user: str) -> dict[str, list[Any]]:
    """Return every row of this user in the database, by table."""
    return all_rows(deployment, dict.fromkeys(_TABLES_OF_A_USER, ("WHERE user_id = %s", (user,))))


def all_rows(
    deployment: Deployment, conditions: Mapping[str, tuple[str, tuple[Any, ...]]]
) -> dict[str, list[Any]]:
    """Return the rows of each table that meet its condition, in one connection to the database.

    Args:
        deployment: The service.
        conditions: By table, a `WHERE` clause and its parameters.
    """
    if deployment.is_embedded:
        return {
            table: sorted(deployment.execute(f"SELECT * FROM {table} {where}", *parameters), key=repr)
            for table, (where, parameters) in conditions.items()
        }
    found = {}
    url = deployment.settings["DATABASE_URL"]
    with closing(psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS)) as connection, connection:
        cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
        for table, (where, parameters) in conditions.items():
            cursor.execute(f"SELECT * FROM {table} {where}", parameters)
            found[table] = sorted(map(dict, cursor.fetchall()), key=repr)
    return found


def files_of(deployment: Deployment, user: str) -> dict[str, bytes]:
    """Return the bytes of every stored file of this user, by file name."""
    folder = deployment.upload_path / "avatar-creator" / user
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


class _AuthorizedChannel:
    """A channel that adds the token and a deadline to every call."""

    def __init__(self, channel: grpc.Channel, metadata: Sequence[tuple[str, str]]) -> None:
        self._channel = channel
        self._defaults: dict[str, Any] = {"metadata": metadata, "timeout": TIMEOUT_SECONDS}

    def unary_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.unary_unary(*arguments, **options), **self._defaults)

    def unary_stream(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.unary_stream(*arguments, **options), **self._defaults)

    def stream_unary(self, *arguments: Any, **options: Any) -> Callable[..., Any]:
        return partial(self._channel.stream_unary(*arguments, **options), **self._defaults)
