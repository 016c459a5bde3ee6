"""The handlers of a server: every servicer that is added has its methods."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc

from avatar_creator_server.api.handlers import Handlers


class OldServer:
    """A server as the code of an old `grpcio-tools` sees it: that code adds no methods one by one."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Pass the services on."""
        self._handlers.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Do nothing."""


def test_generated_code_adds_all_methods_of_its_service() -> None:
    handlers = Handlers(cast(Any, None))

    health_pb2_grpc.add_HealthServicer_to_server(
        health_pb2_grpc.HealthServicer(), cast(grpc.aio.Server, handlers)
    )

    handlers.require_all()


def test_a_server_refuses_a_service_whose_methods_were_not_added() -> None:
    handlers = Handlers(cast(Any, None))

    health_pb2_grpc.add_HealthServicer_to_server(
        health_pb2_grpc.HealthServicer(), cast(grpc.aio.Server, OldServer(handlers))
    )

    with pytest.raises(RuntimeError, match=r"no methods of grpc\.health\.v1\.Health"):
        handlers.require_all()
