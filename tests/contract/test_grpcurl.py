"""grpcurl needs no proto files for the main use case, shows the comments, and prints readable errors."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from google.protobuf import descriptor_pool

from avatar_creator_server.api.server import SERVICE_NAMES
from tests.support.grpcurl import GrpcurlError, grpcurl
from tests.support.service import Deployment

PACKAGE = "avatar_creator.v1"


class Curl:
    """Runs grpcurl as one user."""

    def __init__(self, target: str, token: str) -> None:
        self._target = target
        self._authorization = ("-H", f"authorization: Bearer {token}")

    def call(self, rpc: str, **request: Any) -> list[Any]:
        """Call an RPC and return its response messages."""
        printed = grpcurl(*self._authorization, "-d", json.dumps(request), self._target, f"{PACKAGE}.{rpc}")
        messages = []
        decoder = json.JSONDecoder()
        while printed := printed.lstrip():
            message, end = decoder.raw_decode(printed)
            messages.append(message)
            printed = printed[end:]
        return messages

    def error(self, rpc: str, **request: Any) -> str:
        """Call an RPC that fails, and return what grpcurl prints."""
        with pytest.raises(GrpcurlError) as raised:
            self.call(rpc, **request)
        return str(raised.value)


@pytest.fixture
def curl(shared_deployment: Deployment, user: str) -> Curl:
    """Calls of `user`."""
    return Curl(shared_deployment.target, shared_deployment.token(user))


def test_all_services_are_listed(shared_deployment: Deployment) -> None:
    listed = set(grpcurl(shared_deployment.target, "list").split())

    assert listed == {
        *SERVICE_NAMES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize("service", SERVICE_NAMES)
def test_a_service_and_its_methods_are_described(shared_deployment: Deployment, service: str) -> None:
    described = grpcurl(shared_deployment.target, "describe", service)

    methods = descriptor_pool.Default().FindServiceByName(service).methods
    assert methods
    for method in methods:
        kinds = [
            f"stream .{kind.full_name}" if streams else f".{kind.full_name}"
            for kind, streams in (
                (method.input_type, method.client_streaming),
                (method.output_type, method.server_streaming),
            )
        ]
        assert f"rpc {method.name} ( {kinds[0]} ) returns ( {kinds[1]} ) {{" in described


def test_a_method_is_described_with_its_comment_and_facts(shared_deployment: Deployment) -> None:
    described = grpcurl(shared_deployment.target, "describe", f"{PACKAGE}.GenerationService.CancelGeneration")

    assert described.splitlines()[1].startswith("// Cancel a generation")
    assert "option (.avatar_creator.v1.call_facts) = { deadline_seconds:10 retryable:true };" in described


def test_a_message_is_described_with_comments_and_limits(shared_deployment: Deployment) -> None:
    described = grpcurl(shared_deployment.target, "describe", f"{PACKAGE}.GenerationOptions")

    assert "  // Width in pixels" in described
    assert "int32 width = 1" in described
    assert "(.google.api.field_behavior) = OPTIONAL" in described


@pytest.mark.parametrize(
    "symbol",
    ["google.rpc.ErrorInfo", "google.protobuf.Timestamp", "google.type.Date", "grpc.health.v1.Health"],
)
def test_protos_of_other_projects_are_described_with_comments(
    shared_deployment: Deployment, symbol: str
) -> None:
    first, second, *_ = grpcurl(shared_deployment.target, "describe", symbol).splitlines()

    assert first.startswith(f"{symbol} is a ")
    assert second.startswith("// ")


def test_an_unknown_symbol_is_not_described(shared_deployment: Deployment) -> None:
    with pytest.raises(GrpcurlError, match="Symbol not found"):
        grpcurl(shared_deployment.target, "describe", f"{PACKAGE}.Unknown")


def test_health_is_checked_without_a_token(shared_deployment: Deployment) -> None:
    checked = grpcurl(shared_deployment.target, "grpc.health.v1.Health/Check")

    assert json.loads(checked) == {"status": "SERVING"}


def test_the_health_of_everything_is_listed_without_a_token(shared_deployment: Deployment) -> None:
    listed = json.loads(grpcurl(shared_deployment.target, "grpc.health.v1.Health/List"))

    assert {"", "queue", "claims", "provider", "worker", *SERVICE_NAMES} == listed["statuses"].keys()
    assert listed["statuses"]["queue"] == {"status": "SERVING"}


def test_a_portrait_is_generated_watched_and_read(curl: Curl) -> None:
    (created,) = curl.call("AvatarProjectService/CreateProject", name="Spring", request_id=str(uuid.uuid4()))
    project_id = created["project"]["id"]
    (started,) = curl.call(
        "GenerationService/CreateGeneration",
        project_id=project_id,
        prompt="confident business woman",
        attributes={"gender": "GENDER_FEMALE", "headwear": "HEADWEAR_HIJAB"},
        options={"width": 256, "height": 256, "seed": 11},
    )

    states = [
        message["generation"]
        for message in curl.call(
            "GenerationService/WatchGeneration", generation_id=started["generation"]["id"]
        )
    ]

    assert states[-1]["state"] == "GENERATION_STATE_COMPLETED"
    assert states[-1]["progress_percent"] == 100
    (read,) = curl.call("AvatarService/GetAvatar", avatar_id=states[-1]["avatar_id"])
    assert read["avatar"]["seed_used"] == 11
    assert read["avatar"]["image"]["width"] == 256
    (listed,) = curl.call("AvatarService/ListAvatars", project_id=project_id, include_thumbnails=True)
    assert [avatar["id"] for avatar in listed["avatars"]] == [states[-1]["avatar_id"]]
    assert listed["avatars"][0]["thumbnail_data"]


def test_violations_are_printed_with_their_fields(curl: Curl) -> None:
    printed = curl.error("AvatarProjectService/CreateProject", name="", request_id="x")

    assert "Code: InvalidArgument" in printed
    assert '"@type":"type.googleapis.com/google.rpc.ErrorInfo"' in printed
    assert '"reason":"INVALID_FIELD"' in printed
    assert '"domain":"avatar-creator"' in printed
    assert '"@type":"type.googleapis.com/google.rpc.BadRequest"' in printed
    assert '{"field":"name","description":"must not be empty"}' in printed
    assert '"field":"request_id","description":"must be a UUID' in printed


def test_a_missing_resource_is_printed_with_its_type_and_id(curl: Curl) -> None:
    unknown = str(uuid.uuid4())

    printed = curl.error("GenerationService/GetGeneration", generation_id=unknown)

    assert "Code: NotFound" in printed
    assert '"reason":"RESOURCE_NOT_FOUND"' in printed
    assert '"@type":"type.googleapis.com/google.rpc.ResourceInfo"' in printed
    assert '"resource_type":"generation"' in printed
    assert f'"resource_name":"{unknown}"' in printed


def test_a_missing_token_is_printed_with_its_reason(shared_deployment: Deployment) -> None:
    with pytest.raises(GrpcurlError) as raised:
        grpcurl(shared_deployment.target, f"{PACKAGE}.AvatarProjectService/ListProjects")

    assert "Code: Unauthenticated" in str(raised.value)
    assert '"reason":"TOKEN_MISSING"' in str(raised.value)
