"""Limits and behaviors of the contract's fields, as its options say.

The stubs of the client do not have the options, so they come from the descriptor set that `make protos`
writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from google.api.field_behavior_pb2 import FieldBehavior, field_behavior
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

from avatar_creator.v1.options_pb2 import FieldLimits, field_limits

_PACKAGE = "avatar_creator.v1"


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """The options of one field."""

    limits: FieldLimits
    """Limits of the value; empty if there are none."""
    behaviors: frozenset[str]
    """Names of `google.api.FieldBehavior`, for example `REQUIRED`."""

    @classmethod
    def of(cls, field: FieldDescriptorProto) -> FieldOptions:
        """Return the options of a field."""
        behaviors = frozenset(map(FieldBehavior.Name, field.options.Extensions[field_behavior]))
        return cls(field.options.Extensions[field_limits], behaviors)


def contract_files() -> FileDescriptorSet:
    """Return the descriptors of the contract and of all files that it imports, with options and comments."""
    data = files("avatar_creator_server.contract").joinpath("contract.binpb").read_bytes()
    return FileDescriptorSet.FromString(data)


@cache
def field_options() -> Mapping[str, FieldOptions]:
    """Return the options of every field of the contract, by message and field: `Avatar.name`."""
    return {
        f"{message.name}.{field.name}": FieldOptions.of(field)
        for file in contract_files().file
        if file.package == _PACKAGE
        for message in file.message_type
        for field in message.field
    }


def limits_of(place: str) -> FieldLimits:
    """Return the limits of a field, by message and field: `Avatar.name`."""
    return field_options()[place].limits
