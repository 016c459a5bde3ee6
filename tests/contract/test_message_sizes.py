"""Sizes of tokens, messages and errors: what the contract allows always passes, more is always refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.avatar_project_service_pb2 import (
    CreateProjectRequest,
    ListProjectsRequest,
    UpdateProjectRequest,
)
from avatar_creator.v1.avatar_project_service_pb2_grpc import AvatarProjectServiceStub
from avatar_creator.v1.avatar_service_pb2 import UploadAvatarMetadata, UploadAvatarRequest
from avatar_creator.v1.generation_pb2 import GenerationOptions
from avatar_creator.v1.generation_service_pb2 import CreateGenerationRequest
from avatar_creator.v1.persona_pb2 import Persona
from tests import pictures
from tests.contract.calls import TIMEOUT_SECONDS, Calls, refusal
from tests.contract.conftest import ONE_STACK
from tests.support.service import Deployment

MIB = 1024 * 1024
MAX_TOKEN_BYTES = 16 * 1024
REPETITIONS = 20
"""Calls of one size. gRPC's own limits refuse some of them at random."""

Metadata = list[tuple[str, str]]


@pytest.fixture
def projects(shared_deployment: Deployment) -> Iterator[AvatarProjectServiceStub]:
    """Projects over a connection with gRPC's default limits, without a token."""
    with grpc.insecure_channel(shared_deployment.target) as channel:
        yield AvatarProjectServiceStub(channel)


def token_of(size: int, deployment: Deployment, user: str) -> str:
    """Return a token of this many bytes, or of one byte less if base64 cannot make it."""
    empty = len(deployment.token(user, groups=""))
    token = deployment.token(user, groups="x" * ((size - empty) * 3 // 4))
    assert size - 2 <= len(token) <= size
    return token


def listed(projects: AvatarProjectServiceStub, metadata: Metadata) -> Any:
    return projects.ListProjects(ListProjectsRequest(), metadata=tuple(metadata), timeout=TIMEOUT_SECONDS)


@ONE_STACK
@pytest.mark.parametrize("size", [8_400, 12_000, MAX_TOKEN_BYTES])
def test_a_token_of_at_most_16_kib_always_passes(
    shared_deployment: Deployment, projects: AvatarProjectServiceStub, user: str, size: int
) -> None:
    bearer = f"Bearer {token_of(size, shared_deployment, user)}"

    for _ in range(REPETITIONS):
        # Proxies add metadata of their own.
        listed(projects, [("authorization", bearer), ("x-forwarded-client-cert", "x" * 4_000)])


@ONE_STACK
@pytest.mark.parametrize("size", [MAX_TOKEN_BYTES + 4, 24_000, 60_000])
def test_a_larger_token_is_always_refused_with_a_reason(
    shared_deployment: Deployment, projects: AvatarProjectServiceStub, user: str, size: int
) -> None:
    bearer = f"Bearer {token_of(size, shared_deployment, user)}"

    refusals = {
        (refused.code, refused.reason, refused.metadata["limit_bytes"])
        for refused in (
            refusal(lambda: listed(projects, [("authorization", bearer)])) for _ in range(REPETITIONS)
        )
    }

    assert refusals == {(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID", str(MAX_TOKEN_BYTES))}


@ONE_STACK
def test_metadata_over_64_kib_is_always_refused(
    shared_deployment: Deployment, projects: AvatarProjectServiceStub, user: str
) -> None:
    bearer = f"Bearer {token_of(70_000, shared_deployment, user)}"

    codes = {refusal(lambda: listed(projects, [("authorization", bearer)])).code for _ in range(REPETITIONS)}

    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}


@ONE_STACK
@pytest.mark.parametrize("first", ["", "Basic c2FyYWg6c2VjcmV0", "Bearer", "Bearer garbage", "own"])
@pytest.mark.parametrize("own_is_first", [False, True])
def test_two_authorizations_in_one_call_are_refused(
    shared_deployment: Deployment,
    projects: AvatarProjectServiceStub,
    user: str,
    first: str,
    own_is_first: bool,
) -> None:
    own = f"Bearer {shared_deployment.token(user)}"
    values = [own if first == "own" else first, own]

    refused = refusal(
        lambda: listed(
            projects, [("authorization", value) for value in (values[::-1] if own_is_first else values)]
        )
    )

    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


@pytest.mark.parametrize("user_id", ["-8xq2l0VYh", "_8xq2l0VYh", "--"])
def test_an_id_that_begins_with_a_dash_or_an_underscore_is_a_user(
    shared_deployment: Deployment, user: str, user_id: str
) -> None:
    own = f"{user_id}{user}"
    with (
        Calls(shared_deployment.target, shared_deployment.token(own)) as calls,
        Calls(shared_deployment.target, shared_deployment.token(user, role="ops")) as ops,
    ):
        project = calls.create_project()
        avatar = calls.upload(project.id, pictures.png())
        calls.wait_for_end(calls.create_generation(project.id).id)

        assert calls.download(avatar.id)[1]
        (found,) = ops.projects.ListProjects(ListProjectsRequest(user_id=own)).projects
        assert (found.id, found.user_id) == (project.id, own)
    assert (shared_deployment.upload_path / "avatar-creator" / own).is_dir()


def uploaded(calls: Calls, data: bytes, *sizes: int) -> Any:
    metadata = UploadAvatarMetadata(project_id=calls.create_project().id, name="Sarah")
    messages = [UploadAvatarRequest(metadata=metadata)]
    start = 0
    for size in sizes:
        messages.append(UploadAvatarRequest(chunk=data[start : start + size]))
        start += size
    return calls.avatars.UploadAvatar(iter(messages))


def test_a_chunk_of_1_mib_less_one_byte_is_accepted(calls: Calls) -> None:
    data = pictures.padded_jpeg(2 * MIB)

    assert uploaded(calls, data, MIB - 1, MIB - 1, 2).avatar.image.width == 48


@ONE_STACK
@pytest.mark.parametrize("size", [MIB, 2 * MIB, 4 * MIB - 100])
def test_a_larger_chunk_is_refused_by_its_name(calls: Calls, size: int) -> None:
    data = pictures.padded_jpeg(5 * MIB)

    refused = refusal(lambda: uploaded(calls, data, size))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused.fields == ["chunk"]
    assert refused.message == (
        f"chunk: must have at most {MIB - 1:,} bytes (got {size:,}); send the file in several messages"
    )


@ONE_STACK
def test_a_field_of_megabytes_is_refused_by_its_name(calls: Calls) -> None:
    refused = refusal(lambda: calls.projects.CreateProject(CreateProjectRequest(name="x" * 3 * MIB)))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused.fields == ["name"]


@ONE_STACK
@pytest.mark.parametrize("character", ["x", "\N{GRINNING FACE}", "\0"])
def test_an_error_with_long_violations_always_fits_into_the_headers_of_any_client(
    calls: Calls, character: str
) -> None:
    long = character * 4001
    generation = CreateGenerationRequest(
        project_id=character * 101,
        prompt=long,
        avatar_name=long,
        request_id=long,
        persona=Persona(name=long, background=long, personality=[long] * 12),
        options=GenerationOptions(negative_prompt=long, width=1, height=1, steps=-1, guidance_scale=-1),
    )
    project = UpdateProjectRequest(project=AvatarProject(id=character * 100, name=long))
    project.update_mask.paths.extend([f"name{character * 60}{number}" for number in range(100)])

    for _ in range(REPETITIONS):
        refused = refusal(lambda: calls.generations.CreateGeneration(generation))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert len(refused.fields) >= 15
        refused = refusal(lambda: calls.projects.UpdateProject(project))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert refused.fields
