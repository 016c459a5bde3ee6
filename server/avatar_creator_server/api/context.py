"""The gRPC context of a call."""

from __future__ import annotations

from typing import Any, TypeAlias

from grpc.aio import ServicerContext

Context: TypeAlias = ServicerContext[Any, Any]
"""The gRPC context of a call, with any types of messages."""
