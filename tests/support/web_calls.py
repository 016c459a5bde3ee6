"""Calls of the web port as browsers make them: Connect and gRPC-Web, without their libraries."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote

import grpc
import httpx
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.rpc import status_pb2

from avatar_creator_server.api.server import SERVICE_NAMES

Protocol = Literal["connect+json", "connect+proto", "grpc-web+json", "grpc-web+proto"]
PROTOCOLS: tuple[Protocol, ...] = ("connect+json", "connect+proto", "grpc-web+json", "grpc-web+proto")

_SECONDS = 30.0
_COMPRESSED, _END_OF_CONNECT, _END_OF_GRPC_WEB = 1, 2, 128
_HEAD = struct.Struct(">BI")


def rpcs() -> dict[str, MethodDescriptor]:
    """Return every RPC of the contract by its name."""
    return {
        method.name: method
        for service in SERVICE_NAMES
        for method in Default().FindServiceByName(service).methods
    }


@dataclass(frozen=True)
class Outcome:
    """The end of a call, and its answers."""

    code: str
    """Name of the status, as gRPC has it."""
    message: str = ""
    details: tuple[tuple[str, bytes], ...] = ()
    """Type and encoded value of each detail of the error."""
    answers: list[Any] = field(default_factory=list, compare=False)


def envelope(message: bytes, flags: int = 0) -> bytes:
    """Return a message with its head, as streams have it."""
    return _HEAD.pack(flags, len(message)) + message


def envelopes(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the flags and the content of each message in a body."""
    while body:
        flags, size = _HEAD.unpack(body[: _HEAD.size])
        yield flags, body[_HEAD.size : _HEAD.size + size]
        body = body[_HEAD.size + size :]


class WebCalls:
    """Calls of one user to one web port. Use it as a context manager."""

    def __init__(self, target: str, token: str = "", protocol: Protocol = "connect+json") -> None:
        self._protocol = protocol
        self._is_json = protocol.endswith("json")
        self.http = httpx.Client(
            base_url=f"http://{target}",
            timeout=_SECONDS,
            headers={"authorization": f"Bearer {token}"} if token else {},
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.http.close()

    def call(
        self, method: MethodDescriptor, requests: Sequence[Message], headers: dict[str, str] | None = None
    ) -> Outcome:
        """Make a call, and return its outcome."""
        is_stream = method.client_streaming or method.server_streaming
        has_envelopes = is_stream or self._protocol.startswith("grpc-web")
        encoded = [self.encode(request) for request in requests]
        answer = self.http.post(
            path_of(method),
            content=b"".join(map(envelope, encoded)) if has_envelopes else encoded[0],
            headers={"content-type": self.content_type(method), **(headers or {})},
        )
        if not has_envelopes:
            return self._plain(method, answer)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return self.outcome(method, answer.content)

    def content_type(self, method: MethodDescriptor) -> str:
        """Return the content type of a call."""
        is_stream = method.client_streaming or method.server_streaming
        if self._protocol.startswith("connect") and not is_stream:
            return f"application/{self._protocol.removeprefix('connect+')}"
        return f"application/{self._protocol}"

    def encode(self, message: Message) -> bytes:
        """Return a message in the form of this protocol."""
        return json_format.MessageToJson(message).encode() if self._is_json else message.SerializeToString()

    def decode(self, method: MethodDescriptor, content: bytes) -> Message:
        """Return an answer of an RPC."""
        answer = message_factory.GetMessageClass(method.output_type)()
        if self._is_json:
            return json_format.Parse(content, answer)
        answer.ParseFromString(content)
        return answer

    def outcome(self, method: MethodDescriptor, body: bytes) -> Outcome:
        """Return the outcome in a body of messages with heads."""
        answers: list[Any] = []
        for flags, content in envelopes(body):
            if flags & _END_OF_CONNECT:
                return _of_connect(json.loads(content).get("error"), answers)
            if flags & _END_OF_GRPC_WEB:
                return _of_grpc_web(content.decode(), answers)
            answers.append(self.decode(method, content))
        raise AssertionError("the body has no end")

    def _plain(self, method: MethodDescriptor, answer: httpx.Response) -> Outcome:
        if answer.status_code == 200:
            return Outcome("OK", answers=[self.decode(method, answer.content)])
        assert answer.headers["content-type"] == "application/json", (answer.status_code, answer.text)
        return _of_connect(answer.json(), [])


def path_of(method: MethodDescriptor) -> str:
    """Return the path of an RPC."""
    return f"/{method.containing_service.full_name}/{method.name}"


def grpc_outcome(
    channel: grpc.Channel, method: MethodDescriptor, requests: Sequence[Message], token: str = ""
) -> Outcome:
    """Make the same call over gRPC, and return its outcome."""
    call: Any = channel.stream_stream(
        path_of(method),
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    metadata = [("authorization", f"Bearer {token}")] if token else []
    answers: list[Any] = []
    try:
        answers.extend(call(iter(requests), metadata=metadata, timeout=_SECONDS))
    except grpc.RpcError as raised:
        error: Any = raised
        packed = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        status = status_pb2.Status.FromString(packed)
        return Outcome(error.code().name, error.details(), _details_of(status), answers)
    return Outcome("OK", answers=answers)


def _of_connect(error: Any, answers: list[Any]) -> Outcome:
    if not error:
        return Outcome("OK", answers=answers)
    details = tuple((each["type"], _unpadded(each["value"])) for each in error.get("details", ()))
    code = error["code"].upper().replace("CANCELED", "CANCELLED")
    return Outcome(code, error.get("message", ""), details, answers)


def _of_grpc_web(trailers: str, answers: list[Any]) -> Outcome:
    found = dict(line.split(": ", 1) for line in trailers.splitlines())
    code = next(each.name for each in grpc.StatusCode if each.value[0] == int(found["grpc-status"]))
    status = status_pb2.Status.FromString(_unpadded(found.get("grpc-status-details-bin", "")))
    return Outcome(code, unquote(found.get("grpc-message", "")), _details_of(status), answers)


def _details_of(status: Any) -> tuple[tuple[str, bytes], ...]:
    return tuple((each.type_url.removeprefix("type.googleapis.com/"), each.value) for each in status.details)


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
