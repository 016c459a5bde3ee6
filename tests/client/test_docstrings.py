"""The docs of values and enums are the comments of the contract, in the words of Python."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from avatar_creator import enums, values
from tests.client.test_values import ENUMS, MESSAGES, RENAMED, VALUES, descriptor_of

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "server" / "avatar_creator_server" / "contract" / "contract.binpb"

OWN_WORDS = {
    "DailySpend.day": "a date, not a message with year, month and day",
}
"""Fields of values that have other words than the contract, and why."""


def comments() -> dict[str, str]:
    """Return the comment of each message, field, enum and enum value of the contract, each in one line."""
    found = {}
    for file in FileDescriptorSet.FromString(CONTRACT.read_bytes()).file:
        if file.package != "avatar_creator.v1":
            continue
        for location in file.source_code_info.location:
            if not location.leading_comments:
                continue
            described: Any = file
            names = []
            for number, index in zip(location.path[::2], location.path[1::2], strict=False):
                described = getattr(described, described.DESCRIPTOR.fields_by_number[number].name)[index]
                names.append(described.name)
            found[".".join(names)] = one_line(location.leading_comments)
    return found


def docstrings(module: Any) -> dict[str, str]:
    """Return the docstring of each class and attribute of a module, each in one line."""
    found = {}
    for owner in ast.parse(inspect.getsource(module)).body:
        if not isinstance(owner, ast.ClassDef):
            continue
        found[owner.name] = one_line(ast.get_docstring(owner) or "")
        for attribute, after in zip(owner.body, owner.body[1:], strict=False):
            match attribute, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[f"{owner.name}.{name}"] = one_line(text)
    return found


def one_line(text: str) -> str:
    return " ".join(text.split())


COMMENTS = comments()
DOCSTRINGS = docstrings(values) | docstrings(enums)
VALUE_NAMES = {name.rpartition(".")[2]: value for name, value in MESSAGES.items()}


def in_words_of_python(comment: str, *, is_optional: bool = False, zero_is_none: bool = False) -> str:
    """Return the comment with None for what is absent, and with the names of the values.

    Args:
        comment: Comment of the contract.
        is_optional: Whether the field of the value can be None.
        zero_is_none: Whether the value has None in place of 0.
    """
    none = ["absent", *(["empty"] if is_optional else []), *(["0(?= means| if)"] if zero_is_none else [])]
    words = re.sub(rf"\b({'|'.join(none)})\b", "None", comment, flags=re.IGNORECASE)
    words = words.replace("All fields are present", "No field is None")
    words = re.sub(r"^Whether (?=to )", "True ", words)
    words = re.sub(r"^Whether ", "True if ", words)
    return re.sub(r"`(\w+)(?=[.`])", lambda name: f"`{VALUE_NAMES.get(name[1], name[1])}", words)


def of_fields() -> Iterator[tuple[str, str]]:
    """Yield the name of each field of each value, and the docs that it must have."""
    for owner, value in VALUES.items():
        descriptor = descriptor_of(value)
        contract_names = {
            own: path.partition(".")[2]
            for path, own in RENAMED.items()
            if path.partition(".")[0] == descriptor.name
        }
        hints = get_type_hints(value)
        for each in fields(value):
            field = descriptor.fields_by_name[contract_names.get(each.name, each.name)]
            is_optional = type(None) in get_args(hints[each.name])
            yield (
                f"{owner}.{each.name}",
                in_words_of_python(
                    COMMENTS[f"{descriptor.name}.{field.name}"],
                    is_optional=is_optional,
                    zero_is_none=is_optional and not field.has_presence,
                ),
            )


def of_classes_and_members() -> Iterator[tuple[str, str]]:
    """Yield each value and each enum with its members, and the comment whose beginning is its docs."""
    for owner, value in VALUES.items():
        name = descriptor_of(value).name
        if not name.endswith("Response"):  # the contract says that this is a response to a call
            yield owner, COMMENTS[name]
    for owner in ENUMS:
        yield owner, COMMENTS[owner]
        if owner.endswith("Order"):  # the contract says by what field a list is ordered
            continue
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", owner).upper()
        for member in ENUMS[owner]:
            yield f"{owner}.{member.name}", COMMENTS[f"{owner}.{prefix}_{member.name}"]


def test_a_field_is_described_as_in_the_contract() -> None:
    for name, expected in of_fields():
        assert (DOCSTRINGS[name] == expected) == (name not in OWN_WORDS), (name, expected)


def test_classes_and_members_are_described_as_the_contract_begins() -> None:
    for name, comment in of_classes_and_members():
        assert DOCSTRINGS[name].endswith("."), name
        assert f"{comment} ".startswith(f"{DOCSTRINGS[name]} "), name
