"""Reference of the contract: Markdown pages made from the comments in `protos/`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

OVERVIEW = "index.md"
MESSAGES = "messages.md"
ENUMS = "enums.md"
REASONS = "error-reasons.md"
OTHER_PROTOS = "../third-party-protos.md"
_WELL_KNOWN = "https://protobuf.dev/reference/protobuf/google.protobuf/"

_PACKAGE = "avatar_creator.v1"
_REASONS_ENUM = "ErrorReason"
_REASON_PREFIX = "ERROR_REASON_"

# Numbers of the fields in google/protobuf/descriptor.proto that lead to a comment.
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE = 4, 5, 6
_MESSAGE_FIELD, _ENUM_VALUE, _SERVICE_METHOD = 2, 2, 2

_REPEATED = "LABEL_REPEATED"
_WORD = re.compile(r"`([^`]+)`|(?<![\w.`])([A-Z][A-Za-z0-9_]+)(?![\w`])")
_LIST_AFTER_TEXT = re.compile(r"^(?![ -])(.+)\n(?=- )", re.MULTILINE)
# In a comment this word means the gRPC status and not the reason of the same name.
_STATUSES = frozenset({"INTERNAL"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    type_name: str
    """Type as the contract writes it, for example `string` or `Avatar`."""
    label: str
    """`repeated`, `optional`, `map`, `oneof NAME`, or empty."""
    comment: str
    deprecated: bool


@dataclass(frozen=True, slots=True)
class Message:
    """One message and its fields."""

    name: str
    module: str
    """Python module of the message in the client."""
    comment: str
    fields: Sequence[Field]


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an enum."""

    name: str
    number: int
    comment: str
    deprecated: bool


@dataclass(frozen=True, slots=True)
class Enum:
    """One enum and its values."""

    name: str
    module: str
    comment: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of a service."""

    name: str
    comment: str
    request: str
    response: str
    streams_request: bool
    streams_response: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service and its RPCs."""

    name: str
    file: str
    """Path of the file that defines the service, below `protos/`."""
    comment: str
    rpcs: Sequence[Rpc]

    @property
    def page(self) -> str:
        """Name of the service's page: `UsageService` is on `usage-service.md`."""
        return f"{_in_words(self.name)}.md"


@dataclass(frozen=True, slots=True)
class Contract:
    """Everything that `protos/` defines, in the order of its files."""

    services: Sequence[Service]
    messages: Mapping[str, Message]
    enums: Mapping[str, Enum]

    @classmethod
    def read(cls, image: Path) -> Contract:
        """Read what `buf build --exclude-imports` has written as JSON."""
        services: list[Service] = []
        messages: dict[str, Message] = {}
        enums: dict[str, Enum] = {}
        for file in json.loads(image.read_text())["file"]:
            comments = {
                tuple(location.get("path", ())): _text(location.get("leadingComments", ""))
                for location in file["sourceCodeInfo"]["location"]
            }
            module = file["name"].removesuffix(".proto").replace("/", ".") + "_pb2"
            for index, message in enumerate(file.get("messageType", ())):
                messages[message["name"]] = _message(message, module, comments, (_FILE_MESSAGE, index))
            for index, enum in enumerate(file.get("enumType", ())):
                enums[enum["name"]] = _enum(enum, module, comments, (_FILE_ENUM, index))
            for index, service in enumerate(file.get("service", ())):
                services.append(_service(service, file["name"], comments, (_FILE_SERVICE, index)))
        return cls(services, messages, enums)

    def pages(self) -> dict[str, str]:
        """Return the Markdown of every page by its name."""
        return _Pages(self).all()


class _Pages:
    """The pages of one contract, and where each name in it is documented."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._places = {
            **{name: f"{MESSAGES}#{name}" for name in contract.messages},
            **{name: f"{ENUMS}#{name}" for name in contract.enums},
            _REASONS_ENUM: REASONS,
        }
        self._messages_of: dict[str, list[str]] = {}
        """Requests and responses by the RPC that shows them."""
        for service in contract.services:
            self._places[service.name] = service.page
            for rpc in service.rpcs:
                own = [name for name in (rpc.request, rpc.response) if name not in self._shown()]
                self._messages_of[rpc.name] = own
                self._places |= {name: f"{service.page}#{name}" for name in (rpc.name, *own)}
        for value in contract.enums[_REASONS_ENUM].values[1:]:
            reason = value.name.removeprefix(_REASON_PREFIX)
            if reason not in _STATUSES:
                self._places[reason] = self._places[value.name] = f"{REASONS}#{reason}"

    def all(self) -> dict[str, str]:
        shown = self._shown()
        messages = [message for message in self._contract.messages.values() if message.name not in shown]
        enums = [enum for enum in self._contract.enums.values() if enum.name != _REASONS_ENUM]
        sections = {
            OVERVIEW: self._overview(messages, enums),
            MESSAGES: ["# Messages", *(self._message(message, "##") for message in messages)],
            ENUMS: ["# Enums", *map(self._enum, enums)],
            REASONS: self._reasons(self._contract.enums[_REASONS_ENUM]),
            **{service.page: self._service(service) for service in self._contract.services},
        }
        return {name: "\n\n".join(parts) + "\n" for name, parts in sections.items()}

    def _shown(self) -> set[str]:
        """Return the messages that are documented with an RPC."""
        return {name for names in self._messages_of.values() for name in names}

    def _overview(self, messages: Sequence[Message], enums: Sequence[Enum]) -> list[str]:
        services = [
            f"| [`{service.name}`]({service.page}) | "
            + ", ".join(f"[{rpc.name}]({self._places[rpc.name]})" for rpc in service.rpcs)
            + " |"
            for service in self._contract.services
        ]
        return [
            "# Contract",
            f"The package `{_PACKAGE}`, made from the comments in its `.proto` files. "
            f"A refused call carries one of the [error reasons]({REASONS}).",
            "\n".join(["| Service | RPCs |", "|---|---|", *services]),
            "Messages: " + self._names(messages),
            "Enums: " + self._names(enums),
        ]

    def _names(self, types: Sequence[Message] | Sequence[Enum]) -> str:
        return ", ".join(f"[`{each.name}`]({self._places[each.name]})" for each in types) + "."

    def _service(self, service: Service) -> list[str]:
        parts = [f"# {service.name}", self._linked(service.comment), f"Defined in `{service.file}`."]
        for rpc in service.rpcs:
            request, response = self._type(rpc.request), self._type(rpc.response)
            parts += [
                f"## {rpc.name} {{ #{rpc.name} }}",
                self._linked(rpc.comment),
                f"{'A stream of ' * rpc.streams_request}{request} → "
                f"{'a stream of ' * rpc.streams_response}{response}",
            ]
            for name in self._messages_of[rpc.name]:
                parts.append(self._message(self._contract.messages[name], "###"))
        return parts

    def _message(self, message: Message, heading: str) -> str:
        parts = [
            _anchor(f"{message.module}.{message.name}"),
            f"{heading} {message.name} {{ #{message.name} }}",
            self._linked(message.comment),
        ]
        if message.fields:
            rows = [
                f"| {_code(field.name, field.deprecated)}{{ #{message.name}.{field.name} }} "
                f"| {self._field_type(field)} | {_cell(self._linked(field.comment))} |"
                for field in message.fields
            ]
            parts.append("\n".join(["| Field | Type | Meaning |", "|---|---|---|", *rows]))
        else:
            parts.append("It has no fields.")
        return "\n\n".join(parts)

    def _enum(self, enum: Enum) -> str:
        name = f"{enum.module}.{enum.name}"
        rows = [
            f"| {_code(value.name, value.deprecated)}{{ #{value.name} }} | {value.number} "
            f"| {_cell(self._linked(value.comment))} |"
            for value in enum.values
        ]
        return "\n\n".join(
            [
                _anchor(name) + _anchor(f"{name}.ValueType"),
                f"## {enum.name} {{ #{enum.name} }}",
                self._linked(enum.comment),
                "\n".join(["| Value | Number | Meaning |", "|---|---|---|", *rows]),
            ]
        )

    def _reasons(self, enum: Enum) -> list[str]:
        parts = [_anchor(f"{enum.module}.{enum.name}"), "# Error reasons", self._linked(enum.comment)]
        for value in enum.values[1:]:
            reason = value.name.removeprefix(_REASON_PREFIX)
            heading = f"## {reason}{' (deprecated)' * value.deprecated} {{ #{reason} }}"
            parts += [heading, self._linked(value.comment)]
        return parts

    def _field_type(self, field: Field) -> str:
        if field.label == "map":
            return f"`{field.type_name}`"
        return f"{field.label} {self._type(field.type_name)}".strip()

    def _type(self, name: str) -> str:
        place = self._places.get(name) or _place_elsewhere(name)
        return f"[`{name}`]({place})" if place else f"`{name}`"

    def _linked(self, comment: str) -> str:
        """Return the comment with a link on each message, field, RPC and reason that it names."""

        def link(found: re.Match[str]) -> str:
            quoted, bare = found.groups()
            name, _, field = (quoted or bare).partition(".")
            place = self._places.get(name)
            if place is None or (bare and _is_ordinary(bare)):
                return found[0]
            if field:
                message = self._contract.messages.get(name)
                if message is None or field not in {each.name for each in message.fields}:
                    return found[0]
                place += f".{field}"
            return f"[{found[0]}]({place})"

        return _WORD.sub(link, comment)


def _text(comment: str) -> str:
    """Return the comment as Markdown, with the blank line that a list needs before it."""
    text = "\n".join(line.removeprefix(" ").rstrip() for line in comment.splitlines()).strip()
    return _LIST_AFTER_TEXT.sub(r"\1\n\n", text)


def _message(
    message: dict[str, Any], module: str, comments: Mapping[tuple[int, ...], str], path: tuple[int, ...]
) -> Message:
    entries = {
        f".{_PACKAGE}.{message['name']}.{nested['name']}": nested for nested in message.get("nestedType", ())
    }
    oneofs = [oneof["name"] for oneof in message.get("oneofDecl", ())]
    fields = []
    for index, field in enumerate(message.get("field", ())):
        type_name = _type_name(field)
        if field.get("proto3Optional"):
            label = "optional"
        elif "oneofIndex" in field:
            label = f"oneof {oneofs[field['oneofIndex']]}"
        elif field.get("typeName") in entries:
            label = "map"
            key, value = (_type_name(each) for each in entries[field["typeName"]]["field"])
            type_name = f"map<{key}, {value}>"
        else:
            label = "repeated" if field["label"] == _REPEATED else ""
        comment = comments[*path, _MESSAGE_FIELD, index]
        fields.append(Field(field["name"], type_name, label, comment, _is_deprecated(field)))
    return Message(message["name"], module, comments[path], fields)


def _enum(
    enum: dict[str, Any], module: str, comments: Mapping[tuple[int, ...], str], path: tuple[int, ...]
) -> Enum:
    values = [
        Value(
            value["name"], value.get("number", 0), comments[*path, _ENUM_VALUE, index], _is_deprecated(value)
        )
        for index, value in enumerate(enum["value"])
    ]
    return Enum(enum["name"], module, comments[path], values)


def _service(
    service: dict[str, Any], file: str, comments: Mapping[tuple[int, ...], str], path: tuple[int, ...]
) -> Service:
    rpcs = [
        Rpc(
            method["name"],
            comments[*path, _SERVICE_METHOD, index],
            method["inputType"].removeprefix(f".{_PACKAGE}."),
            method["outputType"].removeprefix(f".{_PACKAGE}."),
            method.get("clientStreaming", False),
            method.get("serverStreaming", False),
        )
        for index, method in enumerate(service["method"])
    ]
    return Service(service["name"], f"protos/{PurePosixPath(file)}", comments[path], rpcs)


def _type_name(field: dict[str, Any]) -> str:
    if "typeName" in field:
        return str(field["typeName"]).removeprefix(f".{_PACKAGE}.").removeprefix(".")
    return str(field["type"]).removeprefix("TYPE_").lower()


def _place_elsewhere(name: str) -> str:
    """Return where a type of another project is documented; empty for a type of proto3 itself."""
    package, _, message = name.rpartition(".")
    if package == "google.protobuf":
        return f"{_WELL_KNOWN}#{_in_words(message)}"
    return OTHER_PROTOS if package else ""


def _in_words(name: str) -> str:
    """Return `FieldMask` as `field-mask`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _is_deprecated(described: dict[str, Any]) -> bool:
    return bool(described.get("options", {}).get("deprecated"))


def _is_ordinary(word: str) -> bool:
    """Return whether a word without quotes may be meant as a word: Style, but not ListAvatars."""
    return word[1:].islower()


def _anchor(name: str) -> str:
    """Return an invisible anchor, to which the types in the client's signatures link."""
    return f"[](){{ #{name} }}"


def _code(name: str, deprecated: bool) -> str:
    return f"deprecated: `{name}`" if deprecated else f"`{name}`"


def _cell(text: str) -> str:
    """Return the text as one cell of a table."""
    text = text.replace("|", "\\|").replace("\n- ", "<br>• ").replace("\n\n", "<br>")
    return text.replace("\n", " ")
