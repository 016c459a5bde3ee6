"""Authentication and isolation of users, for every RPC of the contract.

The RPCs are those of the descriptors, so a new RPC must be added to one of the tables here.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from avatar_creator.v1 import (
    avatar_project_service_pb2 as projects_pb,
)
from avatar_creator.v1 import (
    avatar_service_pb2 as avatars_pb,
)
from avatar_creator.v1 import (
    generation_service_pb2 as generations_pb,
)
from avatar_creator.v1 import (
    operations_service_pb2 as operations_pb,
)
from avatar_creator.v1 import (
    usage_service_pb2 as usage_pb,
)
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.operations_pb2 import GenerationFilter
from avatar_creator_server.api.server import SERVICE_NAMES
from tests import pictures
from tests.contract.calls import TIMEOUT_SECONDS, Calls, Refusal, refusal, refusal_of, rows_of
from tests.contract.conftest import ONE_STACK
from tests.support.service import Deployment
from tests.support.waiting import wait_until

RPCS: dict[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method
    for service in map(descriptor_pool.Default().FindServiceByName, SERVICE_NAMES)
    for method in service.methods
}
"""All RPCs of the contract, by `Service.Method`."""


@dataclass(frozen=True)
class Belongings:
    """Ids of a user's resources, one of each type."""

    project_id: str
    avatar_id: str
    generation_id: str


ABOUT_A_RESOURCE: dict[str, tuple[str, Callable[[Belongings], Message]]] = {
    "AvatarProjectService.GetProject": (
        "project",
        lambda has: projects_pb.GetProjectRequest(project_id=has.project_id, include_avatars=True),
    ),
    "AvatarProjectService.UpdateProject": (
        "project",
        lambda has: projects_pb.UpdateProjectRequest(
            project=AvatarProject(id=has.project_id, name="Mine now")
        ),
    ),
    "AvatarProjectService.DeleteProject": (
        "project",
        lambda has: projects_pb.DeleteProjectRequest(project_id=has.project_id),
    ),
    "AvatarService.UploadAvatar": (
        "project",
        lambda has: avatars_pb.UploadAvatarRequest(
            metadata=avatars_pb.UploadAvatarMetadata(project_id=has.project_id, name="Sarah")
        ),
    ),
    "AvatarService.GetAvatar": (
        "avatar",
        lambda has: avatars_pb.GetAvatarRequest(avatar_id=has.avatar_id),
    ),
    "AvatarService.ListAvatars": (
        "project",
        lambda has: avatars_pb.ListAvatarsRequest(project_id=has.project_id),
    ),
    "AvatarService.DeleteAvatar": (
        "avatar",
        lambda has: avatars_pb.DeleteAvatarRequest(avatar_id=has.avatar_id),
    ),
    "AvatarService.UpdateAvatar": (
        "avatar",
        lambda has: avatars_pb.UpdateAvatarRequest(avatar=Avatar(id=has.avatar_id, name="Mine now")),
    ),
    "AvatarService.DownloadImage": (
        "avatar",
        lambda has: avatars_pb.DownloadImageRequest(avatar_id=has.avatar_id),
    ),
    "GenerationService.CreateGeneration": (
        "project",
        lambda has: generations_pb.CreateGenerationRequest(project_id=has.project_id, prompt="a portrait"),
    ),
    "GenerationService.EstimateGeneration": (
        "project",
        lambda has: generations_pb.EstimateGenerationRequest(
            generation=generations_pb.CreateGenerationRequest(project_id=has.project_id, prompt="a portrait")
        ),
    ),
    "GenerationService.GetGeneration": (
        "generation",
        lambda has: generations_pb.GetGenerationRequest(generation_id=has.generation_id),
    ),
    "GenerationService.ListGenerations": (
        "project",
        lambda has: generations_pb.ListGenerationsRequest(project_id=has.project_id),
    ),
    "GenerationService.WatchGeneration": (
        "generation",
        lambda has: generations_pb.WatchGenerationRequest(generation_id=has.generation_id),
    ),
    "GenerationService.WatchGenerations": (
        "generation",
        lambda has: generations_pb.WatchGenerationsRequest(
            targets=generations_pb.WatchTargets(
                targets=[generations_pb.WatchTarget(generation_id=has.generation_id)]
            )
        ),
    ),
    "GenerationService.CancelGeneration": (
        "generation",
        lambda has: generations_pb.CancelGenerationRequest(generation_id=has.generation_id),
    ),
    "GenerationService.RetryGeneration": (
        "generation",
        lambda has: generations_pb.RetryGenerationRequest(generation_id=has.generation_id),
    ),
    "UsageService.RecordUsage": (
        "avatar",
        lambda has: usage_pb.RecordUsageRequest(avatar_id=has.avatar_id, app_id="spy", action="look"),
    ),
    "UsageService.ListUsage": (
        "avatar",
        lambda has: usage_pb.ListUsageRequest(avatar_id=has.avatar_id),
    ),
    "UsageService.SummarizeUsage": (
        "avatar",
        lambda has: usage_pb.SummarizeUsageRequest(avatar_id=has.avatar_id),
    ),
}
"""RPCs that name a resource of a user: the type of the resource, and a request that names it."""

ABOUT_SEVERAL = {"AvatarService.BatchGetAvatars"}
"""RPCs that name resources of a user, and answer without those that are not the caller's."""

ABOUT_NOTHING = {
    "AvatarProjectService.CreateProject",
    "AvatarProjectService.ListProjects",
    "UsageService.GetStats",
    "PresetService.ListPresets",
    "PresetService.GetPreset",
    "PresetService.ListPersonaExamples",
    "PresetService.GetPersonaExample",
}
"""RPCs that name no resource of a user. All users share the gallery."""

BY_FILTER = {"OperationsService.BulkCancelGenerations", "OperationsService.BulkRetryGenerations"}
"""RPCs that change the generations that match a filter, whose user only an operator may name."""

OF_OPERATORS = [rpc for rpc in RPCS if rpc.startswith("OperationsService.") and rpc not in BY_FILTER]
"""RPCs that only a token with `role: ops` may call; see `tests/integration/test_operations.py`."""

FOR_OPERATORS = {
    "AvatarProjectService.GetProject",
    "AvatarService.GetAvatar",
    "AvatarService.ListAvatars",
    "AvatarService.DownloadImage",
    "GenerationService.GetGeneration",
    "GenerationService.ListGenerations",
    "GenerationService.WatchGeneration",
    "GenerationService.WatchGenerations",
    "GenerationService.CancelGeneration",
    "GenerationService.RetryGeneration",
    "UsageService.ListUsage",
    "UsageService.SummarizeUsage",
}
"""RPCs of `ABOUT_A_RESOURCE` that a token with `role: ops` may call for the resources of any user."""


def answer(
    channel: grpc.Channel, rpc: str, request: Message | None = None, authorization: str | None = None
) -> list[Any]:
    """Call an RPC with this request, or an empty one, and return all messages of the answer."""
    method = RPCS[rpc]
    request = request or message_factory.GetMessageClass(method.input_type)()
    return _answer(
        channel, method, request, iter(_upload(request)), authorization, lambda sent: sent.SerializeToString()
    )


def _answer(
    channel: grpc.Channel,
    method: MethodDescriptor,
    request: Any,
    requests: Iterator[Any],
    authorization: str | None,
    serializer: Callable[[Any], bytes],
) -> list[Any]:
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
        (True, True): channel.stream_stream,
    }
    multicallable = kinds[method.client_streaming, method.server_streaming](
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=serializer,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    answered = multicallable(
        requests if method.client_streaming else request,
        metadata=None if authorization is None else (("authorization", authorization),),
        timeout=TIMEOUT_SECONDS,
    )
    return list(answered) if method.server_streaming else [answered]


def _upload(metadata: Message) -> list[Message]:
    return [metadata, avatars_pb.UploadAvatarRequest(chunk=pictures.png())]


@pytest.fixture
def channel(shared_deployment: Deployment) -> Iterator[grpc.Channel]:
    """A connection without a token."""
    with grpc.insecure_channel(shared_deployment.target) as opened:
        yield opened


def test_every_rpc_of_the_contract_is_in_exactly_one_table() -> None:
    tables = [*ABOUT_A_RESOURCE, *ABOUT_SEVERAL, *ABOUT_NOTHING, *BY_FILTER, *OF_OPERATORS]

    assert sorted(tables) == sorted(RPCS)


@ONE_STACK
@pytest.mark.parametrize("rpc", OF_OPERATORS)
def test_an_rpc_of_operators_refuses_a_user_before_it_reads_the_request(
    shared_deployment: Deployment, channel: grpc.Channel, user: str, rpc: str
) -> None:
    refused = refusal(lambda: answer(channel, rpc, None, f"Bearer {shared_deployment.token(user)}"))

    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert refused.metadata == {"role": "ops"}


# Authentication

TokenMaker = Callable[[Deployment, str], str | None]


def _signed(
    deployment: Deployment, claims: dict[str, Any], algorithm: str = "HS256", secret: str = ""
) -> str:
    token = jwt.encode(claims, secret or deployment.settings["JWT_SECRET"], algorithm=algorithm)
    return f"Bearer {token}"


def _claims(user: Any, **others: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": user, "iat": now, "exp": now + 600, **others}


def _unsigned(_: Deployment, user: str) -> str:
    """Make a token with `alg: none` in its header and no signature."""
    parts = ({"alg": "none", "typ": "JWT"}, _claims(user))
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return f"Bearer {'.'.join(encoded)}."


def _tampered(deployment: Deployment, user: str) -> str:
    """Make a token with the payload of one token and the signature of another."""
    mine, theirs = (_signed(deployment, _claims(name)).split(".") for name in (user, f"{user}2"))
    return ".".join((mine[0], theirs[1], mine[2]))


def _without(claim: str) -> TokenMaker:
    def make(deployment: Deployment, user: str) -> str:
        claims = _claims(user)
        del claims[claim]
        return _signed(deployment, claims)

    return make


def _naming(user: Any) -> TokenMaker:
    return lambda deployment, _: _signed(deployment, _claims(user))


BAD_TOKENS: dict[str, tuple[str, TokenMaker]] = {
    "no metadata": ("TOKEN_MISSING", lambda *_: None),
    "an empty bearer": ("TOKEN_MISSING", lambda *_: "Bearer "),
    "another scheme": ("TOKEN_MISSING", lambda *_: "Basic c2FyYWg6c2VjcmV0"),
    "garbage": ("TOKEN_INVALID", lambda *_: "Bearer garbage"),
    "three parts of garbage": ("TOKEN_INVALID", lambda *_: "Bearer e30.e30.e30"),
    "another secret": (
        "TOKEN_INVALID",
        lambda deployment, user: _signed(deployment, _claims(user), secret="x" * 64),
    ),
    "another token's claims": ("TOKEN_INVALID", _tampered),
    "alg none": ("TOKEN_INVALID", _unsigned),
    "HS512": (
        "TOKEN_INVALID",
        lambda deployment, user: _signed(deployment, _claims(user), algorithm="HS512"),
    ),
    "expired": (
        "TOKEN_EXPIRED",
        lambda deployment, user: _signed(deployment, _claims(user, exp=int(time.time()) - 1)),
    ),
    "not yet valid": (
        "TOKEN_INVALID",
        lambda deployment, user: _signed(deployment, _claims(user, nbf=int(time.time()) + 600)),
    ),
    "without exp": ("TOKEN_INVALID", _without("exp")),
    "without sub": ("TOKEN_INVALID", _without("sub")),
    "sub that is a number": ("TOKEN_INVALID", _naming(7)),
    "sub with a parent folder": ("TOKEN_INVALID", _naming("../x")),
    "sub with a slash": ("TOKEN_INVALID", _naming("a/b")),
    "sub with a backslash": ("TOKEN_INVALID", _naming("a\\b")),
    "sub with a leading dot": ("TOKEN_INVALID", _naming(".x")),
    "sub with a line break": ("TOKEN_INVALID", _naming("x\n")),
    "sub with a zero": ("TOKEN_INVALID", _naming("x\0")),
    "empty sub": ("TOKEN_INVALID", _naming("")),
    "sub of 129 characters": ("TOKEN_INVALID", _naming("x" * 129)),
    "sub of 200 characters": ("TOKEN_INVALID", _naming("x" * 200)),
}


@ONE_STACK
@pytest.mark.parametrize(("reason", "make"), BAD_TOKENS.values(), ids=list(BAD_TOKENS))
def test_every_rpc_refuses_the_token(
    shared_deployment: Deployment, channel: grpc.Channel, user: str, reason: str, make: TokenMaker
) -> None:
    authorization = make(shared_deployment, user)

    refusals = {rpc: refusal(lambda rpc=rpc: answer(channel, rpc, None, authorization)) for rpc in RPCS}  # type: ignore[misc]

    assert {
        rpc: (refused.code, refused.reason, refused.domain) for rpc, refused in refusals.items()
    } == dict.fromkeys(RPCS, (grpc.StatusCode.UNAUTHENTICATED, reason, "avatar-creator"))


@ONE_STACK
@pytest.mark.parametrize(
    "raw", [b"\xff\xff\xff", b"\x0a\x7fa", b"\x0a\x02\xff\xfe"], ids=["garbage", "cut short", "not UTF-8"]
)
def test_every_rpc_checks_the_token_and_then_refuses_bytes_that_are_not_a_request(
    shared_deployment: Deployment, channel: grpc.Channel, user: str, raw: bytes
) -> None:
    def refused(rpc: str, authorization: str | None) -> tuple[grpc.StatusCode, str, list[str]]:
        method = RPCS[rpc]
        answered = refusal(
            lambda: _answer(channel, method, raw, iter([raw]), authorization, lambda sent: sent)
        )
        return answered.code, answered.reason, answered.fields

    # The first field of a list request is not a text, so the last of these is a valid list request.
    rpcs = [rpc for rpc in RPCS if raw[1] != 2 or _begins_with_text(RPCS[rpc])]
    bearer = f"Bearer {shared_deployment.token(user)}"

    assert {rpc: refused(rpc, None) for rpc in rpcs} == dict.fromkeys(
        rpcs, (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING", [])
    )
    assert {rpc: refused(rpc, bearer) for rpc in rpcs} == dict.fromkeys(
        rpcs, (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["request"])
    )


def _begins_with_text(method: MethodDescriptor) -> bool:
    first = method.input_type.fields_by_number.get(1)
    return first is not None and first.type == first.TYPE_STRING


@ONE_STACK
@pytest.mark.parametrize(
    "sub", ["sarah", "a", "7", "x" * 128, "sarah@example.org", "auth0|5f7c8ec7c33c6c004bbafe82"]
)
def test_a_valid_token_is_accepted(shared_deployment: Deployment, channel: grpc.Channel, sub: str) -> None:
    authorization = _signed(shared_deployment, _claims(sub))

    (listed,) = answer(channel, "AvatarProjectService.ListProjects", None, authorization)

    assert isinstance(listed, projects_pb.ListProjectsResponse)


@ONE_STACK
def test_an_accepted_token_is_refused_after_it_has_expired(
    shared_deployment: Deployment, channel: grpc.Channel, user: str
) -> None:
    authorization = _signed(shared_deployment, _claims(user, exp=int(time.time()) + 2))
    answer(channel, "AvatarProjectService.ListProjects", None, authorization)

    def refused() -> Refusal | None:
        try:
            answer(channel, "AvatarProjectService.ListProjects", None, authorization)
        except grpc.RpcError as error:
            return refusal_of(error)
        return None

    assert wait_until(refused).reason == "TOKEN_EXPIRED"


@ONE_STACK
def test_health_and_reflection_need_no_token(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", *SERVICE_NAMES):
        checked = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_SECONDS)
        assert checked.status == health_pb2.HealthCheckResponse.SERVING
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    (listed,) = stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_SECONDS)

    assert {service.name for service in listed.list_services_response.service} >= set(SERVICE_NAMES)


@ONE_STACK
@pytest.mark.parametrize("name", ["provider of nothing", "x" * 100_000])
def test_the_health_of_an_unknown_name_is_not_found(channel: grpc.Channel, name: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)

    refused = refusal(
        lambda: health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_SECONDS)
    )

    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


# Isolation

PICTURE = pictures.png()


@pytest.fixture
def belongings(calls: Calls) -> Belongings:
    """Resources of `user`: a project with a used, uploaded avatar, and an ended generation."""
    project = calls.create_project()
    avatar = calls.upload(project.id, PICTURE)
    generation = calls.wait_for_end(calls.create_generation(project.id).id)
    calls.record_usage(avatar.id)
    return Belongings(project.id, avatar.id, generation.id)


def test_no_rpc_finds_another_users_resources(
    shared_deployment: Deployment,
    channel: grpc.Channel,
    user: str,
    stranger: str,
    belongings: Belongings,
) -> None:
    """Compare the answer with that for a resource that never existed: they must not differ."""
    authorization = f"Bearer {shared_deployment.token(stranger)}"
    never_existed = Belongings(*(str(uuid.uuid4()) for _ in range(3)))
    before = rows_of(shared_deployment, user)

    for rpc, (kind, request) in ABOUT_A_RESOURCE.items():
        theirs, missing = (
            refusal(lambda: answer(channel, rpc, request(ids), authorization))  # noqa: B023 - called at once
            for ids in (belongings, never_existed)
        )
        resource_id: str = getattr(belongings, f"{kind}_id")
        assert (theirs.code, theirs.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"), rpc
        assert theirs.domain == "avatar-creator", rpc
        assert theirs.metadata == {"resource_type": kind, "resource_id": resource_id}, rpc
        assert theirs.resource == (kind, resource_id), rpc
        assert _without_id(theirs, resource_id) == _without_id(
            missing, getattr(never_existed, f"{kind}_id")
        ), rpc

    assert rows_of(shared_deployment, user) == before
    assert not any(rows_of(shared_deployment, stranger).values())


def test_the_owner_can_make_every_call_that_was_refused(
    channel: grpc.Channel, calls: Calls, belongings: Belongings
) -> None:
    """Show that the requests of the table are valid, so that only the caller was the reason of a refusal."""
    ((_, authorization),) = calls.metadata
    refused_for_another_reason = {"GenerationService.CancelGeneration", "GenerationService.RetryGeneration"}
    last = ["AvatarService.DeleteAvatar", "AvatarProjectService.DeleteProject"]

    for rpc in [*(ABOUT_A_RESOURCE.keys() - set(last) - refused_for_another_reason), *last]:
        assert answer(channel, rpc, ABOUT_A_RESOURCE[rpc][1](belongings), authorization), rpc


def _without_id(refused: Refusal, resource_id: str) -> Refusal:
    """Return the refusal without the id of the resource."""
    assert resource_id in refused.message
    return dataclasses.replace(
        refused,
        message=refused.message.replace(resource_id, "ID"),
        metadata=refused.metadata | {"resource_id": "ID"},
        resource=(refused.resource[0], "ID") if refused.resource else None,
    )


def test_lists_have_no_resources_of_another_user(
    calls: Calls, strangers_calls: Calls, belongings: Belongings, stranger: str
) -> None:
    own = strangers_calls.create_project("Mine")
    portrait = strangers_calls.upload(own.id, PICTURE)
    generation = strangers_calls.create_generation(own.id)

    projects = strangers_calls.projects.ListProjects(projects_pb.ListProjectsRequest()).projects
    avatars = strangers_calls.avatars.ListAvatars(
        avatars_pb.ListAvatarsRequest(include_thumbnails=True)
    ).avatars
    generations = strangers_calls.generations.ListGenerations(
        generations_pb.ListGenerationsRequest()
    ).generations

    assert [project.id for project in projects] == [own.id]
    assert {avatar.user_id for avatar in avatars} == {stranger}
    assert portrait.id in {avatar.id for avatar in avatars}
    assert [listed.id for listed in generations] == [generation.id]
    assert strangers_calls.usage.GetStats(usage_pb.GetStatsRequest()).avatar_count <= 2


def test_a_batch_reports_another_users_avatar_as_missing(
    calls: Calls, strangers_calls: Calls, belongings: Belongings
) -> None:
    own = strangers_calls.upload(strangers_calls.create_project().id, PICTURE)
    never_existed = str(uuid.uuid4())
    requested = [never_existed, own.id, belongings.avatar_id, own.id]

    answered = strangers_calls.avatars.BatchGetAvatars(
        avatars_pb.BatchGetAvatarsRequest(avatar_ids=requested)
    )

    assert [avatar.id for avatar in answered.avatars] == [own.id]
    assert list(answered.missing_avatar_ids) == [never_existed, belongings.avatar_id]


def test_another_users_avatar_is_not_found_as_a_reference(
    strangers_calls: Calls, stranger: str, shared_deployment: Deployment, belongings: Belongings
) -> None:
    project = strangers_calls.create_project()
    own = strangers_calls.upload(project.id, PICTURE)
    before = rows_of(shared_deployment, stranger)

    for theirs in (belongings.avatar_id, str(uuid.uuid4())):
        for fields in ({"reference_avatar_id": theirs}, {"reference_avatar_ids": [own.id, theirs]}):
            request = generations_pb.CreateGenerationRequest(
                project_id=project.id,
                prompt="a portrait",
                **fields,
            )
            estimate = generations_pb.EstimateGenerationRequest(generation=request)
            for answered in (
                refusal(lambda: strangers_calls.generations.CreateGeneration(request)),  # noqa: B023
                refusal(lambda: strangers_calls.generations.EstimateGeneration(estimate)),  # noqa: B023
            ):
                assert (answered.code, answered.resource) == (grpc.StatusCode.NOT_FOUND, ("avatar", theirs))

    assert rows_of(shared_deployment, stranger) == before


def test_a_watch_of_another_users_project_is_not_found(
    calls: Calls, strangers_calls: Calls, belongings: Belongings
) -> None:
    request = generations_pb.WatchGenerationsRequest(project_id=belongings.project_id)

    refused = refusal(lambda: strangers_calls.generations.WatchGenerations(request))

    assert (refused.code, refused.resource) == (
        grpc.StatusCode.NOT_FOUND,
        ("project", belongings.project_id),
    )


USER_LISTS: dict[str, Callable[[str], Message]] = {
    "AvatarProjectService.ListProjects": lambda user: projects_pb.ListProjectsRequest(user_id=user),
    "AvatarService.ListAvatars": lambda user: avatars_pb.ListAvatarsRequest(user_id=user),
    "GenerationService.ListGenerations": lambda user: generations_pb.ListGenerationsRequest(user_id=user),
    "UsageService.GetStats": lambda user: usage_pb.GetStatsRequest(user_id=user),
    "OperationsService.BulkCancelGenerations": lambda user: operations_pb.BulkCancelGenerationsRequest(
        filter=GenerationFilter(user_id=user), dry_run=True
    ),
    "OperationsService.BulkRetryGenerations": lambda user: operations_pb.BulkRetryGenerationsRequest(
        filter=GenerationFilter(user_id=user), dry_run=True
    ),
}
"""RPCs in which an operator may name a user."""


def test_the_table_of_lists_has_every_request_with_a_user() -> None:
    assert set(USER_LISTS) == {
        rpc
        for rpc, method in RPCS.items()
        if not {"user_id", "filter"}.isdisjoint(method.input_type.fields_by_name) and rpc not in OF_OPERATORS
    }


def test_a_watch_of_another_user_needs_the_role(
    shared_deployment: Deployment, strangers_calls: Calls, calls: Calls, belongings: Belongings, user: str
) -> None:
    request = generations_pb.WatchGenerationsRequest(all=generations_pb.WatchAll(user_id=user))
    request.changed_since.FromSeconds(0)

    refused = refusal(lambda: strangers_calls.generations.WatchGenerations(request))
    seen = []
    with Calls(shared_deployment.target, shared_deployment.token("operator", role="ops")) as ops_calls:
        for watching in (calls, ops_calls):
            watch = watching.generations.WatchGenerations(request)
            seen.append(next(watch).generation)
            watch.cancel()

    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert refused.metadata == {"role": "ops"}
    assert [state.user_id for state in seen] == [user, user]


@ONE_STACK
@pytest.mark.parametrize("rpc", USER_LISTS)
@pytest.mark.parametrize("claims", [{}, {"role": "admin"}, {"role": ["ops"]}, {"role": "OPS"}], ids=str)
def test_a_list_of_another_user_needs_the_role(
    shared_deployment: Deployment,
    channel: grpc.Channel,
    user: str,
    stranger: str,
    rpc: str,
    claims: dict[str, Any],
) -> None:
    authorization = f"Bearer {shared_deployment.token(stranger, **claims)}"

    for named in (user, "unknown-user", "-"):
        refused = refusal(lambda: answer(channel, rpc, USER_LISTS[rpc](named), authorization))  # noqa: B023
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
        assert refused.metadata == {"role": "ops"}
    assert answer(channel, rpc, USER_LISTS[rpc](stranger), authorization)


# Operators


@pytest.fixture
def operator() -> str:
    """A user of this test alone, with the role of operators in its tokens."""
    return f"operator-{uuid.uuid4().hex}"


@pytest.fixture
def ops_token(shared_deployment: Deployment, operator: str) -> str:
    """The `authorization` of `operator`."""
    return f"Bearer {shared_deployment.token(operator, role='ops')}"


def test_an_operator_can_make_only_the_calls_for_operators(
    shared_deployment: Deployment,
    channel: grpc.Channel,
    user: str,
    operator: str,
    ops_token: str,
    belongings: Belongings,
) -> None:
    refused_by_its_state = {"GenerationService.CancelGeneration", "GenerationService.RetryGeneration"}
    before = rows_of(shared_deployment, user)

    for rpc in ABOUT_A_RESOURCE.keys() - FOR_OPERATORS:
        kind, request = ABOUT_A_RESOURCE[rpc]
        refused = refusal(lambda: answer(channel, rpc, request(belongings), ops_token))  # noqa: B023
        assert refused.code == grpc.StatusCode.NOT_FOUND, rpc
        assert refused.resource == (kind, getattr(belongings, f"{kind}_id")), rpc
    for rpc in FOR_OPERATORS - refused_by_its_state:
        assert answer(channel, rpc, ABOUT_A_RESOURCE[rpc][1](belongings), ops_token), rpc
    for rpc in refused_by_its_state:
        refused = refusal(lambda: answer(channel, rpc, ABOUT_A_RESOURCE[rpc][1](belongings), ops_token))  # noqa: B023
        assert refused.code == grpc.StatusCode.FAILED_PRECONDITION, rpc

    assert rows_of(shared_deployment, user) == before
    assert not any(rows_of(shared_deployment, operator).values())


def test_an_operator_gets_the_answers_that_the_user_gets(
    shared_deployment: Deployment,
    channel: grpc.Channel,
    calls: Calls,
    user: str,
    ops_token: str,
    belongings: Belongings,
) -> None:
    ((_, users_token),) = calls.metadata
    batch = avatars_pb.BatchGetAvatarsRequest(avatar_ids=[belongings.avatar_id])
    requests = {
        **{
            rpc: ABOUT_A_RESOURCE[rpc][1](belongings)
            for rpc in FOR_OPERATORS
            if rpc.partition(".")[2].startswith(("Get", "List", "Summarize", "Watch", "Download"))
        },
        "AvatarService.BatchGetAvatars": batch,
    }
    assert len(requests) == len(FOR_OPERATORS) - 1

    for rpc, request in requests.items():
        assert answer(channel, rpc, request, ops_token) == answer(channel, rpc, request, users_token), rpc
    for rpc, request_for in USER_LISTS.items():
        own = answer(channel, rpc, request_for(""), users_token)
        assert answer(channel, rpc, request_for(user), ops_token) == own, rpc


def test_an_operators_lists_are_of_the_operator_without_a_user_and_of_all_users_with_a_dash(
    shared_deployment: Deployment,
    channel: grpc.Channel,
    user: str,
    operator: str,
    ops_token: str,
    belongings: Belongings,
) -> None:
    with Calls(shared_deployment.target, shared_deployment.token(operator)) as calls:
        own = calls.create_project("Of the operator")

    def projects(named: str) -> dict[str, str]:
        (listed,) = answer(
            channel,
            "AvatarProjectService.ListProjects",
            USER_LISTS["AvatarProjectService.ListProjects"](named),
            ops_token,
        )
        return {project.id: project.user_id for project in listed.projects}

    def avatars(named: str) -> int:
        (figures,) = answer(
            channel, "UsageService.GetStats", usage_pb.GetStatsRequest(user_id=named), ops_token
        )
        return int(figures.avatar_count)

    def avatars_of(project_id: str, named: str) -> list[Any]:
        request = avatars_pb.ListAvatarsRequest(project_id=project_id, user_id=named)
        return answer(channel, "AvatarService.ListAvatars", request, ops_token)

    assert avatars_of(belongings.project_id, "")[0].avatars
    for named in (operator, "another-user"):
        refused = refusal(lambda: avatars_of(belongings.project_id, named))  # noqa: B023
        assert refused.code == grpc.StatusCode.NOT_FOUND, "it is not that user's project"
    assert projects("") == {own.id: operator}
    assert projects("-").items() >= {own.id: operator, belongings.project_id: user}.items()
    assert avatars("") == 0
    assert avatars("-") >= avatars(user) == 2


def test_an_operator_cancels_and_retries_for_the_user(
    shared_deployment: Deployment, calls: Calls, user: str, operator: str
) -> None:
    project = calls.create_project()
    with Calls(shared_deployment.target, shared_deployment.token(operator, role="ops")) as ops:
        cancelled = calls.create_cancelled(project.id, by=ops)
        retry = generations_pb.RetryGenerationRequest(
            generation_id=cancelled.id, request_id=str(uuid.uuid4())
        )
        retried = ops.generations.RetryGeneration(retry).generation
        again = ops.generations.RetryGeneration(retry).generation

    assert cancelled.user_id == retried.user_id == user
    assert (retried.retry_of, again.id) == (cancelled.id, retried.id)
    assert calls.wait_for_end(retried.id).avatar_id
    assert not rows_of(shared_deployment, operator)["avatar_generations"]


def test_every_call_of_an_operator_for_users_resources_is_logged(
    shared_deployment: Deployment,
    channel: grpc.Channel,
    user: str,
    operator: str,
    ops_token: str,
    belongings: Belongings,
) -> None:
    for rpc in FOR_OPERATORS:
        with contextlib.suppress(grpc.RpcError):
            answer(channel, rpc, ABOUT_A_RESOURCE[rpc][1](belongings), ops_token)
    for rpc, request_for in USER_LISTS.items():
        answer(channel, rpc, request_for(user), ops_token)
    # A list of the operator's own projects is not logged.
    answer(channel, "AvatarProjectService.ListProjects", None, ops_token)

    [server] = shared_deployment.servers
    logged = [entry for entry in server.events("ops_role_used") if entry["user"] == operator]
    operations = [entry for entry in server.events("operation_requested") if entry["user"] == operator]
    assert sorted(f"OperationsService.{entry['operation']}" for entry in operations) == sorted(BY_FILTER)
    called = (*FOR_OPERATORS, *(USER_LISTS.keys() - BY_FILTER))
    expected = [RPCS[rpc].input_type.name for rpc in called]
    assert sorted(entry["request"] for entry in logged) == sorted(expected)
    named = {value for entry in logged for key, value in entry.items() if key.endswith("_id")}
    assert named >= {user, belongings.project_id, belongings.avatar_id, belongings.generation_id}


@ONE_STACK
@pytest.mark.parametrize("app_id", [7, "", " ", "x" * 121, "a\nb", ["pose-generator"]], ids=repr)
def test_a_token_with_an_invalid_app_is_refused_but_an_empty_app_is_accepted(
    shared_deployment: Deployment, channel: grpc.Channel, user: str, app_id: Any
) -> None:
    authorization = f"Bearer {shared_deployment.token(user, app_id=app_id)}"

    def call() -> list[Any]:
        return answer(channel, "AvatarProjectService.ListProjects", None, authorization)

    if app_id == "":
        assert call()
    else:
        refused = refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
