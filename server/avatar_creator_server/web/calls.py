"""The calls of the API over Connect, gRPC-Web and JSON, by the handlers of the gRPC port.

connectrpc knows the protocols, and `api/handlers.py` has the way of a call. A handler reads the request of
a call only when the call is let in, so connectrpc must not read it before. For that, `_Connect` replaces the
two parts of connectrpc that read a request and send its answers.

The services and their messages come from descriptors: a new RPC needs no line here. RPCs that stream in both
directions, which is reflection only, stay on the gRPC port: they need HTTP/2.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, NoReturn, cast

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from grpc.aio import EOF, AbortError
from protobuf.wkt import Any as PackedDetail

from avatar_creator_server.api.access import set_web_protocol
from avatar_creator_server.api.backlog import Backlog
from avatar_creator_server.api.context import Context
from avatar_creator_server.api.handlers import MethodHandler
from avatar_creator_server.api.statuses import DETAILS_KEY
from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.web.messages import Receive, Request, Response, Scope, Send, send_response, text

_LARGE_BYTES = 64 * 1024
"""Size of a message from which it is converted to or from JSON in a thread: that takes many milliseconds."""

_GRPC_TIMEOUT = re.compile("[0-9]{1,8}[HMSmun]", re.ASCII)
"""Form of the header `grpc-timeout`.
Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md"""
_GRPC_WEB_TYPES = ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json")
_UNARY_TYPES = frozenset(("application/json", "application/proto", *_GRPC_WEB_TYPES))
_STREAM_TYPES = frozenset(("application/connect+json", "application/connect+proto", *_GRPC_WEB_TYPES))

Read = Callable[[], Awaitable[bytes | None]]
"""Returns the next request of a call; None after the last one."""
Write = Callable[[bytes], Awaitable[None]]


class WebCalls:
    """The ASGI application that answers the calls of the API."""

    def __init__(
        self,
        handlers: Mapping[str, MethodHandler],
        backlog: Backlog,
        *,
        max_request_bytes: int,
        behind_proxy: bool,
    ) -> None:
        """Create the application.

        Args:
            handlers: The handler of each RPC by its name, `/package.Service/Method`.
            backlog: Counts the calls.
            max_request_bytes: Maximum size of one message of a request.
            behind_proxy: Whether a proxy says who calls, in the header `x-forwarded-for`.
        """
        self._backlog = backlog
        self._behind_proxy = behind_proxy
        methods = {name: _Method(name, each) for name, each in handlers.items() if not _needs_http2(each)}
        self._methods = methods
        self._connect = _Connect(methods, max_request_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        refusal = self._refusal(Request(scope))
        if refusal is not None:
            await send_response(refusal, send)
            return
        self._backlog.begin()
        set_web_protocol(_protocol_of(scope))
        await self._connect({**scope, "client": self._client_of(scope)}, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is no call, which connectrpc would refuse without a reason."""
        method = self._methods.get(request.path)
        if method is None:
            return text(404, "There is no such call: a call is a POST to /<package>.<Service>/<Method>.")
        headers = request.headers
        if not all(value.isascii() for value in headers.values()):
            return text(400, "A header has characters that are not ASCII.")
        timeout = headers.get("grpc-timeout")
        if timeout is not None and not _GRPC_TIMEOUT.fullmatch(timeout):
            return text(
                400, "The header grpc-timeout must have 1 to 8 digits and one of H, M, S, m, u and n."
            )
        handler = method.handler
        types = _STREAM_TYPES if handler.streams_requests or handler.streams_responses else _UNARY_TYPES
        if headers.get("content-type", "").partition(";")[0].strip().lower() not in types:
            return text(
                415,
                f"The content-type of this call must be one of {', '.join(sorted(types))}. "
                "gRPC has a port of its own.",
            )
        return None

    def _client_of(self, scope: Scope) -> Any:
        """Return host and port of the client."""
        if self._behind_proxy:
            forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if forwarded:
                # The proxy itself has added the last one. The client may have sent the others.
                host = _forwarded_host(forwarded[-1].decode("latin-1").rpartition(",")[2].strip())
                return (host, 0) if host else scope["client"]
        return scope["client"]


def _forwarded_host(text: str) -> str:
    """Return the IP address in an entry of `x-forwarded-for`, to which some proxies add the port.

    Empty if the entry is no IP address, such as `unknown`.
    """
    # An IPv6 address without brackets has no port, although its last part may look like one.
    for host in (text, text.rpartition(":")[0].removeprefix("[").removesuffix("]")):
        with suppress(ValueError):
            return str(ip_address(host))
    return ""


def _protocol_of(scope: Scope) -> str:
    """Return the name of a call's protocol, for logs and metrics."""
    content_type = dict(scope["headers"]).get(b"content-type", b"")
    if content_type.startswith(b"application/grpc-web"):
        return "grpc-web"
    return "json" if content_type.partition(b";")[0].endswith(b"json") else "connect"


def _needs_http2(handler: MethodHandler) -> bool:
    return handler.streams_requests and handler.streams_responses


class _Method:
    """An RPC: its handler, and its messages as JSON."""

    def __init__(self, name: str, handler: MethodHandler) -> None:
        service, _, method = name.removeprefix("/").partition("/")
        found = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(method)
        self.handler = handler
        self.service, self.method = service, method
        self._request_type = found.input_type
        self._request = message_factory.GetMessageClass(found.input_type)
        self._answer = message_factory.GetMessageClass(found.output_type)

    async def request_of_json(self, text: bytes) -> bytes:
        """Return the request of a call, encoded.

        Raises:
            InvalidArgumentError: The text is not the JSON of the request.
        """
        return await _converted(self._parse, text)

    async def answer_as_json(self, answer: bytes) -> bytes:
        """Return the JSON of an encoded answer."""
        return await _converted(self._print, answer)

    def _parse(self, text: bytes) -> bytes:
        try:
            try:
                return self._parsed(text or b"{}", ignore_unknown=False)
            except json_format.ParseError:
                # Fields that a newer client knows are ignored, as in the binary form.
                request = self._parsed(text, ignore_unknown=True)
                fields = json.loads(text)
        except (json_format.ParseError, DecodeError, ValueError, RecursionError) as error:
            raise InvalidArgumentError.of_field(
                "request", "cannot be decoded: send the request message of this RPC as JSON, in UTF-8"
            ) from error
        _require_known_values(fields, self._request_type)
        return request

    def _parsed(self, text: bytes, *, ignore_unknown: bool) -> bytes:
        request = self._request()
        json_format.Parse(text, request, ignore_unknown_fields=ignore_unknown)
        return request.SerializeToString()

    def _print(self, answer: bytes) -> bytes:
        message: Message = self._answer.FromString(answer)
        return json_format.MessageToJson(message, indent=None).encode()


def _require_known_values(given: Any, kind: Descriptor, place: str = "") -> None:
    """Refuse values that their enum does not have.

    protobuf ignores them together with unknown fields. A filter with a misspelled state would then be none.

    Raises:
        InvalidArgumentError: There is such a value.
    """
    if not isinstance(given, dict):
        return
    for name, value in given.items():
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        for each in value if isinstance(value, list) else [value]:
            if field is None:
                continue
            if field.message_type is not None:
                _require_known_values(each, field.message_type, f"{place}{field.name}.")
            elif field.enum_type is not None and isinstance(each, str) and not _has(field.enum_type, each):
                words = ", ".join(field.enum_type.values_by_name)
                raise InvalidArgumentError.of_field(f"{place}{field.name}", f"must be one of {words}")


def _has(enum: EnumDescriptor, word: str) -> bool:
    # A number may be a text too, and one that no enum has is refused like in the binary form.
    return word in enum.values_by_name or word.lstrip("-").isdecimal()


async def _converted(convert: Callable[[bytes], bytes], message: bytes) -> bytes:
    return convert(message) if len(message) < _LARGE_BYTES else await asyncio.to_thread(convert, message)


class _Codec:
    """A form of messages that connectrpc passes on as they are."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """Return the name that content types have."""
        return self._name

    def encode(self, message: bytes) -> bytes:
        """Return the message."""
        return message

    def decode(self, data: bytes | bytearray, message_class: Any) -> bytes:  # noqa: ARG002 - connectrpc calls it
        """Return the message."""
        return bytes(data)


class _EndedError(AbortError):
    """The end of a call with an error that the client receives."""

    def __init__(self, error: ConnectError) -> None:
        super().__init__(error.message)
        self.error = error


class _WebContext:
    """The context of a call: the methods of gRPC's context that the service uses."""

    def __init__(
        self, method: _Method, request: RequestContext[Any, Any], *, is_json: bool, read: Read, write: Write
    ) -> None:
        self._method = method
        self._request = request
        self._is_json = is_json
        self._read = read
        self._write = write
        self._code: grpc.StatusCode | None = None

    def invocation_metadata(self) -> Iterable[tuple[str, str]]:
        """Return the headers of the request."""
        return self._request.request_headers.allitems()

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None without one."""
        milliseconds = self._request.timeout_ms
        return None if milliseconds is None else max(milliseconds / 1000, 0.0)

    def peer(self) -> str:
        """Return the address of the client in the form of gRPC."""
        host, _, port = (self._request.client_address or "").rpartition(":")
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def code(self) -> grpc.StatusCode | None:
        """Return the status of the call; None while it is OK."""
        return self._code

    async def read(self) -> Any:
        """Return the next request, encoded; EOF after the last one."""
        try:
            request = await self._read()
        except ConnectError as error:
            self._code = _STATUS_OF.get(error.code, grpc.StatusCode.UNKNOWN)
            raise _EndedError(error) from None
        if request is None:
            return EOF
        return await self._method.request_of_json(request) if self._is_json else request

    async def requests(self) -> AsyncIterator[bytes]:
        """Yield the requests that `read` returns."""
        while (request := await self.read()) is not EOF:
            yield request

    async def write(self, message: bytes) -> None:
        """Send an encoded answer; wait until the client has made room for it."""
        await self._write(await self.encoded(message))

    async def encoded(self, answer: bytes) -> bytes:
        """Return an answer in the form that the client wants."""
        return await self._method.answer_as_json(answer) if self._is_json else answer

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, Any]] = ()
    ) -> NoReturn:
        """End the call with an error."""
        self._code = code
        packed = dict(trailing_metadata).get(DETAILS_KEY, b"")
        status = status_pb2.Status.FromString(packed)
        raise _EndedError(
            ConnectError(
                _CODE_OF[code],
                details,
                [
                    ErrorDetail(PackedDetail(type_url=each.type_url, value=each.value))
                    for each in status.details
                ],
            )
        )


_CODE_OF: dict[grpc.StatusCode, Code] = {
    status: Code("canceled" if status is grpc.StatusCode.CANCELLED else status.name.lower())
    for status in grpc.StatusCode
    if status is not grpc.StatusCode.OK
}
_STATUS_OF = {code: status for status, code in _CODE_OF.items()}


def _endpoint(method: _Method) -> Any:
    """Return what connectrpc must know of an RPC. `_Connect` calls the handler itself."""
    handler = method.handler
    kind, endpoint = {
        (False, False): (StreamType.UNARY, Endpoint.unary),
        (False, True): (StreamType.SERVER_STREAM, Endpoint.server_stream),
        (True, False): (StreamType.CLIENT_STREAM, Endpoint.client_stream),
    }[handler.streams_requests, handler.streams_responses]
    info = MethodInfo(
        name=method.method,
        service_name=method.service,
        input=bytes,
        output=bytes,
        # No call is a GET: its address, which is in logs and caches, would have the request.
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=kind,
    )
    make: Any = endpoint
    return make(info, None)


class _Connect(ConnectASGIApplication[None]):
    """The application of connectrpc, for handlers that read and write themselves."""

    path = "/"

    def __init__(self, methods: Mapping[str, _Method], max_request_bytes: int) -> None:
        self._methods = methods
        endpoints = {name: _endpoint(each) for name, each in methods.items()}
        super().__init__(
            service=None,
            endpoints=lambda _: endpoints,
            read_max_bytes=max_request_bytes,
            codecs=(_Codec("proto"), _Codec("json")),
            # Nothing is compressed. Most bytes of answers are pictures. A request of many tiny gzip files
            # would hold up the event loop for many seconds: connectrpc copies the rest for each of them.
            compressions=(),
        )

    async def _call_unary(
        self,
        endpoint: Any,
        _http_method: str,
        headers: Any,
        codec: Any,
        _query_params: Any,
        receive: Any,
        loop: Any,
        scope: Any,
        ctx: RequestContext[Any, Any],
    ) -> Any:
        """Answer a call of Connect with one request and one answer."""
        is_read = False

        async def read() -> bytes | None:
            nonlocal is_read
            if is_read:
                return None
            is_read = True
            request: bytes = await self._read_post_request(endpoint, receive, codec, headers)
            return request

        context = self._context(ctx, codec, read, _refuse_to_write)
        async with loop.watch_for_disconnect(receive, scope, cancel=True):
            return await context.encoded(await self._handle(context, ctx))

    async def _stream_responses(
        self,
        _endpoint: Any,
        request_stream: AsyncGenerator[Any],
        stream: Any,
        _metadata_run: Any,
        _disconnected: Any,
        send: Any,
        _loop: Any,
        ctx: RequestContext[Any, Any],
    ) -> None:
        """Answer a call whose messages have envelopes: a stream, or any call of gRPC-Web."""

        async def read() -> bytes | None:
            return await anext(request_stream, None)

        async def write(message: bytes) -> None:
            if not send.started:
                await stream.send_headers(send, ctx)
            await send(
                {"type": "http.response.body", "body": stream.writer.write(message), "more_body": True}
            )

        context = self._context(ctx, stream.codec, read, write)
        answer = await self._handle(context, ctx)
        if not self._method(ctx).handler.streams_responses:
            await context.write(answer)

    def _method(self, ctx: RequestContext[Any, Any]) -> _Method:
        return self._methods[f"/{ctx.method.service_name}/{ctx.method.name}"]

    def _context(self, ctx: RequestContext[Any, Any], codec: Any, read: Read, write: Write) -> _WebContext:
        return _WebContext(self._method(ctx), ctx, is_json=codec.name() == "json", read=read, write=write)

    async def _handle(self, context: _WebContext, ctx: RequestContext[Any, Any]) -> bytes:
        try:
            return await self._method(ctx).handler.handle(context.requests(), cast(Context, context))
        except _EndedError as ended:
            raise ended.error from None


async def _refuse_to_write(_message: bytes) -> None:
    raise AssertionError("a call with one answer returns it")
