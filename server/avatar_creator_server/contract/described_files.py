"""The proto files that reflection describes, with their options and comments.

The stubs have no comments, so the files come from the descriptor set that `make protos` writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from avatar_creator_server.contract.field_options import contract_files


class DescribedFiles:
    """Encoded `FileDescriptorProto`s, which are found by their names and by what they define.

    Every method raises `KeyError` if no file has what it looks for.
    """

    def __init__(self) -> None:
        self._encoded: dict[str, bytes] = {}
        self._imports: dict[str, Sequence[str]] = {}
        self._file_of_symbol: dict[str, str] = {}
        self._file_of_extension: dict[str, dict[int, str]] = {}
        for file in contract_files().file:
            for _, message in _messages_with_names(file.package, file.message_type):
                for field in message.field:
                    # Each is the default. Without it, grpcurl prints the names of the contract.
                    field.ClearField("json_name")
            self._encoded[file.name] = file.SerializeToString()
            self._imports[file.name] = tuple(file.dependency)
            self._file_of_symbol.update(dict.fromkeys(_symbols(file), file.name))
            for name, _ in _messages_with_names(file.package, file.message_type):
                self._file_of_extension.setdefault(name, {})
            for extension in _extensions(file):
                extended = self._file_of_extension.setdefault(extension.extendee.removeprefix("."), {})
                extended[extension.number] = file.name

    def named(self, name: str, known: Collection[str] = ()) -> dict[str, bytes]:
        """Return a file, and all files that it needs except the known ones, by their names.

        Args:
            name: Name of the file, for example `avatar_creator/v1/avatar.proto`.
            known: Names of the files to leave out.
        """
        files = {name: self._encoded[name]}
        for imported in self._imports[name]:
            if imported not in known:
                files |= self.named(imported, known)
        return files

    def name_by_symbol(self, symbol: str) -> str:
        """Return the name of the file that defines, for example, `avatar_creator.v1.AvatarService`."""
        return self._file_of_symbol[symbol]

    def name_by_extension(self, message: str, number: int) -> str:
        """Return the name of the file that defines an extension of a message."""
        return self._file_of_extension[message][number]

    def extension_numbers(self, message: str) -> Sequence[int]:
        """Return the numbers of all extensions of a message, in ascending order."""
        return sorted(self._file_of_extension[message])


@cache
def described_files() -> DescribedFiles:
    """Return the files. The first call reads them."""
    return DescribedFiles()


def _symbols(file: FileDescriptorProto) -> Iterator[str]:
    """Yield the full names of everything that a file defines."""
    yield from _names_of_enums(file.package, file.enum_type)
    yield from _names_of_fields(file.package, file.extension)
    for name, message in _messages_with_names(file.package, file.message_type):
        yield name
        yield from _names_of_fields(name, message.field)
        yield from _names_of_fields(name, message.extension)
        yield from _names_of_enums(name, message.enum_type)
        yield from (f"{name}.{oneof.name}" for oneof in message.oneof_decl)
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)


def _messages_with_names(
    scope: str, messages: Iterable[DescriptorProto]
) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        name = f"{scope}.{message.name}"
        yield name, message
        yield from _messages_with_names(name, message.nested_type)


def _extensions(file: FileDescriptorProto) -> Iterator[FieldDescriptorProto]:
    yield from file.extension
    for _, message in _messages_with_names(file.package, file.message_type):
        yield from message.extension


def _names_of_enums(scope: str, enums: Iterable[EnumDescriptorProto]) -> Iterator[str]:
    for enum in enums:
        yield f"{scope}.{enum.name}"
        # A value has the scope of its enum, as in C++.
        yield from (f"{scope}.{value.name}" for value in enum.value)


def _names_of_fields(scope: str, fields: Iterable[FieldDescriptorProto]) -> Iterator[str]:
    return (f"{scope}.{field.name}" for field in fields)
