"""Agreement of the contract's comments and the code: phrases, ages and error reasons."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import grpc
import pytest

from avatar_creator.v1 import attributes_pb2
from avatar_creator.v1.error_reason_pb2 import ErrorReason
from avatar_creator_server import errors
from avatar_creator_server.api.statuses import STATUS_OF
from avatar_creator_server.contract.mapping import attributes_from_proto, attributes_to_proto
from avatar_creator_server.people import vocabulary
from avatar_creator_server.people.person import Attributes

REPOSITORY = Path(__file__).parents[2]
PROTOS = REPOSITORY / "protos" / "avatar_creator" / "v1"

TABLES: dict[str, dict[str, str]] = {
    "Gender": vocabulary.GENDER,
    "AgeRange": vocabulary.AGE_RANGE,
    "BodyType": vocabulary.BODY_TYPE,
    "HairStyle": vocabulary.HAIR_STYLE,
    "HairColor": vocabulary.HAIR_COLOR,
    "EyeColor": vocabulary.EYE_COLOR,
    "SkinTone": vocabulary.SKIN_TONE,
    "Style": vocabulary.STYLE,
    "Headwear": vocabulary.HEADWEAR,
}


def comments(file: str, enum: str) -> dict[str, str]:
    """Return the comment of each enum value, on one line, by the name of the value without its prefix."""
    text = (PROTOS / file).read_text()
    match = re.search(rf"^enum {enum} \{{\n(.*?)^\}}", text, re.DOTALL | re.MULTILINE)
    assert match, f"{file} has no enum {enum}"
    found: dict[str, str] = {}
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum).upper() + "_"
    lines: list[str] = []
    for line in map(str.strip, match[1].splitlines()):
        if line.startswith("//"):
            lines.append(line.removeprefix("//").strip())
        elif value := re.match(r"(\w+) = \d+( \[deprecated = true\])?;", line):
            found[value[1].removeprefix(prefix)] = " ".join(filter(None, lines))
            lines = []
    return found


# Attributes


def test_every_enum_of_attributes_has_a_table_of_phrases() -> None:
    assert set(attributes_pb2.DESCRIPTOR.enum_types_by_name) == set(TABLES)


@pytest.mark.parametrize("enum", TABLES)
def test_the_contract_has_the_phrase_of_every_value(enum: str) -> None:
    said = comments("attributes.proto", enum)
    phrases = {name.lower(): re.findall(r"Prompt: `([^`]*)`", comment) for name, comment in said.items()}
    values = attributes_pb2.DESCRIPTOR.enum_types_by_name[enum].values

    assert len(said) == len(values)
    assert phrases.pop("unspecified") == []
    assert phrases == {word: [phrase] for word, phrase in TABLES[enum].items()}


@pytest.mark.parametrize("field", [field.name for field in fields(Attributes)])
def test_every_attribute_has_a_field_in_the_contract(field: str) -> None:
    enum = attributes_pb2.Attributes.DESCRIPTOR.fields_by_name[field].enum_type

    for word in TABLES[enum.name] if enum else ["Indonesian"]:
        attributes = Attributes(**{field: word})
        message = attributes_to_proto(attributes)
        assert [set_field.name for set_field, _ in message.ListFields()] == [field]
        assert attributes_from_proto(message) == attributes


def test_every_field_of_attributes_in_the_contract_has_an_attribute() -> None:
    assert {field.name for field in fields(Attributes)} == set(
        attributes_pb2.Attributes.DESCRIPTOR.fields_by_name
    )


def test_the_age_ranges_are_those_of_the_contract() -> None:
    said = comments("attributes.proto", "AgeRange")
    ranges: dict[int, str] = {}
    for name, comment in said.items():
        if bounds := re.match(r"Ages (\d+) (?:to (\d+)|and over)\.", comment):
            for age in range(int(bounds[1]), int(bounds[2] or 120) + 1):
                assert age not in ranges
                ranges[age] = name.lower()

    assert ranges == {age: vocabulary.age_range_of(age) for age in range(1, 121)}


# Error reasons


def raised() -> Iterator[tuple[str, str, str]]:
    """Yield each reason literal in the code: the class or function that takes it, the reason, the place."""
    for directory in ("server", "tasks"):
        for path in sorted((REPOSITORY / directory).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    for literal in _reason_literals(node):
                        yield _owner(node.func), literal, f"{path.relative_to(REPOSITORY)}:{node.lineno}"


def _reason_literals(call: ast.Call) -> Iterator[str]:
    takes_reason_first = _owner(call.func).endswith(("Error", "Failure", "_error_info", "super"))
    given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    if takes_reason_first and not _is_of_field(call.func):
        given += call.args[:1]
    for value in given:
        # Sentences are messages, and lower-case words are other names.
        if isinstance(value, ast.Constant) and re.fullmatch(r"[A-Z][A-Z_]{3,}", str(value.value)):
            yield str(value.value)


def _owner(function: ast.expr) -> str:
    """Return `NotFoundError` for both `NotFoundError(…)` and `errors.NotFoundError.of_field(…)`."""
    if isinstance(function, ast.Attribute):
        return _owner(function.value) if function.attr in ("of_field", "__init__") else function.attr
    if isinstance(function, ast.Call):
        return _owner(function.func)
    return function.id if isinstance(function, ast.Name) else ""


def _is_of_field(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "of_field"


RAISED = list(raised())
DOCUMENTED = comments("error_reason.proto", "ErrorReason")
SHAPE = re.compile(
    r"(?P<event>\S.*\.) - Status: (?P<status>\S.*\.) - Metadata: (?P<metadata>\S.*\.)"
    r" - Retry: (?P<retry>\S.*\.) - Example: (?P<example>\S.*\.)"
)
"""Parts of the comment of a reason, in the sequence that the comment of the enum describes."""
NO_STATUS = "none; the error of a failed generation or attempt."
"""Status of a reason that no call returns."""


def test_every_reason_in_the_code_is_in_the_contract() -> None:
    unknown = [(reason, where) for _, reason, where in RAISED if reason not in DOCUMENTED]

    assert unknown == []
    # The search finds literals that are passed in each of the possible ways.
    assert {reason for _, reason, _ in RAISED} >= {
        "RESOURCE_NOT_FOUND",
        "PAGE_TOKEN_INVALID",
        "IMAGE_CORRUPT",
        "TOKEN_EXPIRED",
        "REQUEST_ID_REUSED",
        "INTERNAL",
    }


def test_every_reason_has_the_status_of_the_contract() -> None:
    statuses = {kind.__name__: status.name for kind, status in STATUS_OF.items()}
    checked = [
        (reason, statuses[owner], _documented_statuses(reason), where)
        for owner, reason, where in RAISED
        if owner in statuses
    ]

    assert len(checked) > 10
    assert [found for found in checked if found[1] not in found[2]] == []


def _documented_statuses(reason: str) -> set[str]:
    parts = SHAPE.fullmatch(DOCUMENTED[reason])
    assert parts, DOCUMENTED[reason]
    return {status.name for status in grpc.StatusCode if re.search(rf"\b{status.name}\b", parts["status"])}


@pytest.mark.parametrize("reason", sorted(set(DOCUMENTED) - {"UNSPECIFIED"}))
def test_every_reason_is_documented_in_the_same_shape_with_at_most_one_status(reason: str) -> None:
    parts = SHAPE.fullmatch(DOCUMENTED[reason])

    assert parts, DOCUMENTED[reason]
    assert len(_documented_statuses(reason)) == (0 if parts["status"] == NO_STATUS else 1), parts["status"]


def test_the_documented_reasons_are_those_of_the_enum() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - not a dict

    assert names == set(DOCUMENTED)


def test_every_kind_of_error_has_a_status() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.AvatarCreatorError)
        and kind is not errors.AvatarCreatorError
    }

    assert kinds == set(STATUS_OF)
