"""A real gRPC server on a real socket that answers each call as the test has scripted it."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import status_pb2

from avatar_creator.conversion import Value
from avatar_creator.v1 import (
    avatar_project_service_pb2,
    avatar_project_service_pb2_grpc,
    avatar_service_pb2,
    avatar_service_pb2_grpc,
    generation_service_pb2,
    generation_service_pb2_grpc,
    operations_service_pb2,
    operations_service_pb2_grpc,
    preset_service_pb2,
    preset_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from tests.support.ports import free_port

GENERATED = (
    (avatar_project_service_pb2, avatar_project_service_pb2_grpc),
    (avatar_service_pb2, avatar_service_pb2_grpc),
    (generation_service_pb2, generation_service_pb2_grpc),
    (operations_service_pb2, operations_service_pb2_grpc),
    (preset_service_pb2, preset_service_pb2_grpc),
    (usage_service_pb2, usage_service_pb2_grpc),
)


@dataclass(frozen=True)
class Failure:
    """The call fails with this status and these `google.rpc` details."""

    code: grpc.StatusCode
    details: tuple[Message, ...] = ()
    message: str = "it failed"


@dataclass(frozen=True)
class UntilClientLeaves:
    """The call stays open until the client cancels it or its deadline passes."""


@dataclass(frozen=True)
class Unread:
    """The server answers an upload with this step before it reads any of it."""

    step: Message | Failure


Step: TypeAlias = Message | Failure | UntilClientLeaves | Unread

_STOP_SECONDS = 15.0

LOST = Failure(grpc.StatusCode.UNAVAILABLE)


@dataclass
class Received:
    """A call as the server received it."""

    method: str
    metadata: dict[str, str]
    seconds_left: float
    peer: str
    """Address of the client's end of the connection."""
    requests: list[Any] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the call has ended, from either side."""

    @property
    def request(self) -> Any:
        """Return the request of a call that has exactly one."""
        [request] = self.requests
        return request


class ScriptedServer:
    """A server that answers the n-th call of a method with the n-th script for it."""

    def __init__(
        self,
        credentials: grpc.ServerCredentials | None = None,
        port: int | None = None,
        host: str = "localhost",
    ) -> None:
        """Start it on `port`, or on a free one.

        The kernel would choose a port that is free on ::1, and another process may have it on 127.0.0.1. A
        client then reaches either server.
        """
        self.calls: list[Received] = []
        self.called = threading.Event()
        """Set once a call has arrived."""
        self._scripts: defaultdict[str, deque[tuple[Step, ...]]] = defaultdict(deque)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
        for messages, services in GENERATED:
            for service in messages.DESCRIPTOR.services_by_name.values():
                register = getattr(services, f"add_{service.name}Servicer_to_server")
                register(self._servicer(service, getattr(services, f"{service.name}Servicer")), self._server)
        self.port = free_port() if port is None else port
        self.target = f"{host}:{self.port}"
        if credentials is None:
            self._server.add_insecure_port(self.target)
        else:
            self._server.add_secure_port(self.target, credentials)
        self._server.start()

    def script(self, method: str, *calls: Sequence[Step]) -> None:
        """Add the answers to the next calls of a method: for each call, its steps."""
        self._scripts[method].extend(tuple(steps) for steps in calls)

    def received(self, method: str) -> list[Received]:
        """Return all calls of a method so far."""
        return [call for call in self.calls if call.method == method]

    def stop(self) -> None:
        assert self._server.stop(grace=None).wait(_STOP_SECONDS), "a call still runs"

    def _servicer(self, service: ServiceDescriptor, base: type[Any]) -> Any:
        methods = {method.name: self._handler(method) for method in service.methods}
        return type(f"Scripted{base.__name__}", (base,), methods)()

    def _handler(self, method: MethodDescriptor) -> Any:
        def answer(_servicer: Any, incoming: Any, context: Any) -> Iterator[Message]:
            over = threading.Event()
            if not context.add_callback(over.set):
                over.set()
            call = Received(
                method.name,
                dict(context.invocation_metadata()),
                context.time_remaining(),
                context.peer(),
                over=over,
            )
            self.calls.append(call)
            self.called.set()
            steps = self._scripts[method.name].popleft()
            if not any(isinstance(step, Unread) for step in steps):
                call.requests.extend(incoming if method.client_streaming else [incoming])
            for step in (step.step if isinstance(step, Unread) else step for step in steps):
                if isinstance(step, Failure):
                    context.abort_with_status(_status(step))
                elif isinstance(step, UntilClientLeaves):
                    assert over.wait(10), "the client did not leave"
                else:
                    yield step

        def answer_once(servicer: Any, incoming: Any, context: Any) -> Message:
            [message] = answer(servicer, incoming, context)
            return message

        return answer if method.server_streaming else answer_once


def _status(failure: Failure) -> Any:
    status = status_pb2.Status(code=failure.code.value[0], message=failure.message)
    for detail in failure.details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return SimpleNamespace(
        code=failure.code,
        details=failure.message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )


def messages_of(result: Any) -> Any:
    """Return the messages that a result of the client came from."""
    if result is None or isinstance(result, Message):
        return result
    if isinstance(result, Value):
        return result.message
    if hasattr(result, "generation"):
        return result.generation.message
    return list(map(messages_of, result))
