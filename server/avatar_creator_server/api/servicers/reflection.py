"""Servicer of gRPC reflection, which lets tools such as grpcurl work without proto files.

It replaces the servicer of grpcio, which serves `grpc.reflection.v1alpha` only, and files without comments.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
from grpc_reflection.v1alpha import reflection_pb2

from avatar_creator_server.api.context import Context
from avatar_creator_server.contract.described_files import described_files

SERVICE_NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""The two names of the protocol. Their messages have the same fields, so one servicer serves both."""

_MAX_NAME_CHARACTERS_IN_ERROR = 200


class ReflectionService:
    """Descriptions of the services of a server, by the protocol of `grpc/reflection/v1/reflection.proto`."""

    def __init__(self, service_names: Sequence[str]) -> None:
        """Create the servicer.

        Args:
            service_names: Full names of the services to list.
        """
        self._service_names = sorted(service_names)

    def add_to_server(self, server: grpc.aio.Server) -> None:
        """Add the methods of both names to a server."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for name in SERVICE_NAMES:
            server.add_registered_method_handlers(name, {"ServerReflectionInfo": handler})

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], context: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer each request. An error is an answer too, and does not end the stream."""
        sent: set[str] = set()
        async for request in requests:
            answer = self._answer(request, sent)
            answer.valid_host = request.host
            answer.original_request.CopyFrom(request)
            yield answer

    def _answer(
        self, request: reflection_pb2.ServerReflectionRequest, sent: set[str]
    ) -> reflection_pb2.ServerReflectionResponse:
        """Return the answer to a request.

        Args:
            request: The request.
            sent: Names of the files that this stream has sent. A file is sent again only on request, and not
                as the import of another one. The files of this answer are added.
        """
        files, wanted = described_files(), ""
        try:
            match request.WhichOneof("message_request"):
                case "file_by_filename":
                    wanted = f"file {request.file_by_filename}"
                    return _files(request.file_by_filename, sent)
                case "file_containing_symbol":
                    wanted = f"symbol {request.file_containing_symbol}"
                    return _files(files.name_by_symbol(request.file_containing_symbol), sent)
                case "file_containing_extension":
                    message = request.file_containing_extension.containing_type
                    number = request.file_containing_extension.extension_number
                    wanted = f"extension {number} of {message}"
                    return _files(files.name_by_extension(message, number), sent)
                case "all_extension_numbers_of_type":
                    message = request.all_extension_numbers_of_type
                    wanted = f"message {message}"
                    return reflection_pb2.ServerReflectionResponse(
                        all_extension_numbers_response=reflection_pb2.ExtensionNumberResponse(
                            base_type_name=message, extension_number=files.extension_numbers(message)
                        )
                    )
                case "list_services":
                    return reflection_pb2.ServerReflectionResponse(
                        list_services_response=reflection_pb2.ListServiceResponse(
                            service=[
                                reflection_pb2.ServiceResponse(name=name) for name in self._service_names
                            ]
                        )
                    )
        except KeyError:
            wanted = wanted[:_MAX_NAME_CHARACTERS_IN_ERROR]
            return _error(grpc.StatusCode.NOT_FOUND, f"the server has no {wanted}")
        return _error(grpc.StatusCode.INVALID_ARGUMENT, "message_request must be set")


def _files(name: str, sent: set[str]) -> reflection_pb2.ServerReflectionResponse:
    encoded = described_files().named(name, known=sent)
    sent.update(encoded)
    return reflection_pb2.ServerReflectionResponse(
        file_descriptor_response=reflection_pb2.FileDescriptorResponse(file_descriptor_proto=encoded.values())
    )


def _error(code: grpc.StatusCode, message: str) -> reflection_pb2.ServerReflectionResponse:
    return reflection_pb2.ServerReflectionResponse(
        error_response=reflection_pb2.ErrorResponse(error_code=code.value[0], error_message=message)
    )
