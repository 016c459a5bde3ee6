"""Reflection, by both names of its protocol: what tools ask that are newer than the tests' grpcurl."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.reflection_pb2 import (
    ExtensionRequest,
    ServerReflectionRequest,
    ServerReflectionResponse,
)

from avatar_creator_server.api.server import SERVICE_NAMES
from tests.support.child_process import run
from tests.support.service import Deployment

Ask = Callable[..., list[ServerReflectionResponse]]
FIELD_OPTIONS = "google.protobuf.FieldOptions"


@pytest.fixture(params=["v1", "v1alpha"])
def ask(request: pytest.FixtureRequest, shared_deployment: Deployment) -> Iterator[Ask]:
    """Sends requests in one stream and returns the answers. Both versions have the same messages."""
    with grpc.insecure_channel(shared_deployment.target) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{request.param}.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        yield lambda *requests: list(call(iter(requests), timeout=10))


def files(answer: ServerReflectionResponse) -> dict[str, FileDescriptorProto]:
    """Return the files of an answer by their names."""
    encoded = answer.file_descriptor_response.file_descriptor_proto
    return {file.name: file for file in map(FileDescriptorProto.FromString, encoded)}


def test_every_listed_service_can_be_called_with_the_files_alone(ask: Ask) -> None:
    (listed,) = ask(ServerReflectionRequest(list_services=""))
    names = [service.name for service in listed.list_services_response.service]
    answers = ask(*(ServerReflectionRequest(file_containing_symbol=name) for name in names))

    pool, known = DescriptorPool(), set()
    for answer in answers:
        for file in _in_order_of_imports(files(answer)):
            if file.name not in known:
                known.add(file.name)
                pool.Add(file)
    assert set(SERVICE_NAMES) < set(names)
    for name in names:
        assert pool.FindServiceByName(name).methods


def test_symbols_of_all_kinds_are_found(ask: Ask) -> None:
    symbols = {
        "avatar_creator.v1.Avatar": "avatar.proto",
        "avatar_creator.v1.Avatar.name": "avatar.proto",
        "avatar_creator.v1.Gender": "attributes.proto",
        "avatar_creator.v1.GENDER_FEMALE": "attributes.proto",
        "avatar_creator.v1.AvatarService.GetAvatar": "avatar_service.proto",
        "avatar_creator.v1.WatchGenerationsRequest.selector": "generation_service.proto",
        "avatar_creator.v1.field_limits": "options.proto",
    }

    answers = ask(*(ServerReflectionRequest(file_containing_symbol=symbol) for symbol in symbols))

    firsts = [next(iter(files(answer))) for answer in answers]
    assert firsts == [f"avatar_creator/v1/{name}" for name in symbols.values()]


def test_a_stream_sends_an_import_once_and_a_wanted_file_each_time(ask: Ask) -> None:
    name = "avatar_creator/v1/usage.proto"

    first, second = ask(*[ServerReflectionRequest(file_by_filename=name)] * 2)

    assert "google/protobuf/struct.proto" in files(first)
    assert list(files(second)) == [name]


def test_extensions_are_found(ask: Ask) -> None:
    def extension(number: int) -> ServerReflectionRequest:
        return ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type=FIELD_OPTIONS, extension_number=number)
        )

    of_fields, of_avatars, ours, googles = ask(
        ServerReflectionRequest(all_extension_numbers_of_type=FIELD_OPTIONS),
        ServerReflectionRequest(all_extension_numbers_of_type="avatar_creator.v1.Avatar"),
        extension(50001),
        extension(1052),
    )

    numbers = of_fields.all_extension_numbers_response
    assert (numbers.base_type_name, list(numbers.extension_number)) == (FIELD_OPTIONS, [1052, 50001])
    assert of_avatars.WhichOneof("message_response") == "all_extension_numbers_response"
    assert not of_avatars.all_extension_numbers_response.extension_number
    assert next(iter(files(ours))) == "avatar_creator/v1/options.proto"
    assert next(iter(files(googles))) == "google/api/field_behavior.proto"


def test_an_error_names_what_is_missing_and_leaves_the_stream_open(ask: Ask) -> None:
    unknown = (
        ServerReflectionRequest(host="a.example", file_by_filename="x.proto"),
        ServerReflectionRequest(file_containing_symbol="x.Y"),
        ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type=FIELD_OPTIONS, extension_number=9)
        ),
        ServerReflectionRequest(all_extension_numbers_of_type="x.Y"),
        ServerReflectionRequest(),
    )

    *errors, listed = ask(*unknown, ServerReflectionRequest(list_services=""))

    assert [(each.error_response.error_code, each.error_response.error_message) for each in errors] == [
        (grpc.StatusCode.NOT_FOUND.value[0], "the server has no file x.proto"),
        (grpc.StatusCode.NOT_FOUND.value[0], "the server has no symbol x.Y"),
        (grpc.StatusCode.NOT_FOUND.value[0], "the server has no extension 9 of google.protobuf.FieldOptions"),
        (grpc.StatusCode.NOT_FOUND.value[0], "the server has no message x.Y"),
        (grpc.StatusCode.INVALID_ARGUMENT.value[0], "message_request must be set"),
    ]
    assert [each.original_request for each in errors] == list(unknown)
    assert errors[0].valid_host == "a.example"
    assert listed.list_services_response.service


@pytest.mark.parametrize("version", ["grpc-v1", "grpc-v1alpha"])
def test_buf_calls_the_service_without_proto_files(
    shared_deployment: Deployment, user: str, version: str
) -> None:
    finished = run(
        [
            Path(sys.executable).with_name("buf"),
            *("curl", "--http2-prior-knowledge", "--protocol", "grpc", "--reflect-protocol", version),
            *("--header", f"authorization: Bearer {shared_deployment.token(user)}"),
            *("--data", '{"name": "Spring"}'),
            f"http://{shared_deployment.target}/avatar_creator.v1.AvatarProjectService/CreateProject",
        ],
        timeout=30,
    )

    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["project"]["name"] == "Spring"


def _in_order_of_imports(found: dict[str, FileDescriptorProto]) -> Iterator[FileDescriptorProto]:
    """Yield the files of an answer so that each one follows the files that it imports."""
    done: set[str] = set()

    def visit(file: FileDescriptorProto) -> Iterator[FileDescriptorProto]:
        for name in file.dependency:
            if name in found and name not in done:
                yield from visit(found[name])
        done.add(file.name)
        yield file

    for each in found.values():
        if each.name not in done:
            yield from visit(each)
