"""Arguments of every method: None is not given, and all wrong ones are named before anything is sent."""

from __future__ import annotations

import inspect
import math
import re
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from google.protobuf.descriptor import Descriptor

from avatar_creator import (
    AvatarCreatorError,
    Backoff,
    FieldViolation,
    Gender,
    GenerationParameters,
    InvalidArgumentError,
    rpcs,
)
from avatar_creator._requests.argument_names import name_arguments
from tests.client.both_clients import Connector
from tests.client.scripted_server import ScriptedServer
from tests.client.test_surface import CONTRACT, METHOD_BY_RPC, NAMESPACES, public

SLOW = Backoff(initial=5.0, random=lambda: 1.0)
"""Delays with which a watch that cannot connect soon gives up."""
ID = "01a204c5-0000-7000-8000-000000000000"
REQUIRED: dict[str, Any] = {
    "name": "Sarah",
    "project": ID,
    "picture": b"picture",
    "pictures": {"Sarah": b"picture"},
    "avatar": ID,
    "avatars": [ID],
    "prompt": "a portrait",
    "count": 2,
    "generation": ID,
    "action": "generate_poses",
    "preset": ID,
    "persona_example": ID,
    "worker": "a-worker",
    "user_id": "sarah",
}
"""Arguments of the parameters without a default."""

REQUIRED_TEXTS = {("projects.create", "name")}
"""Arguments that are required although their name is that of an optional one elsewhere."""
NEEDED = {("projects.update", "name"), ("avatars.update", "name"), ("avatars.upload", "name")}
"""Optional arguments of which one is needed, or which only a picture with a file name can do without."""

ODD: tuple[Any, ...] = (
    "",
    "x" * 5_000,
    "\0",
    "\ud800",
    "😀\u202e",
    b"bytes",
    -1,
    0,
    2**31,
    2**64,
    10**400,
    10**5000,
    math.nan,
    math.inf,
    -math.inf,
    1.5,
    True,
    datetime(2026, 1, 2),
    datetime.min.replace(tzinfo=UTC),
    date(2026, 1, 2),
    [],
    [None],
    ["\ud800"],
    {},
    {1: 2},
    {"name": {}},
    {"age": -1, "personality": 7, "gender": []},
    (each for each in (1, "two")),
    object(),
    Gender.FEMALE,
    int,
    uuid.UUID(ID),
    lambda: 1 / 0,
)


@pytest.fixture
def unreachable(connect: Connector) -> Iterator[Any]:
    """Create a client whose calls all fail, because nothing listens at its target."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield connect(f"127.0.0.1:{bound.getsockname()[1]}", retries=0, backoff=SLOW)


def required(method: Any) -> dict[str, Any]:
    """Return arguments with which a call is complete."""
    parameters = inspect.signature(method).parameters.values()
    names = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    given = {name: REQUIRED[name] for name in names if name not in ("self", "parameters")}
    return given | {"name": "Sarah"} if method.__name__ in ("update", "upload") else given


def use(method: Any, **arguments: Any) -> None:
    """Call a method, and read what it returns if that is a list or a watch."""
    result = method(**arguments)
    if isinstance(result, Iterator) and not hasattr(result, "refresh"):
        list(result)


def error_of(method: Any, **arguments: Any) -> Exception | None:
    try:
        use(method, **arguments)
    except Exception as error:
        return error
    return None


def names_of(method: Any) -> list[str]:
    """Return the names of all arguments, also those that `GenerationParameters` has."""
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    if "parameters" in names:
        names.remove("parameters")
        names.extend(sorted(GenerationParameters.__optional_keys__))
    return names


ARGUMENTS = {
    f"{namespace}.{name}": names_of(method)
    for namespace, (blocking, _) in NAMESPACES.items()
    for name, method in public(blocking).items()
}
"""Names of the arguments of each method."""


def method_of(client: Any, path: str) -> tuple[Any, dict[str, Any]]:
    """Return a method of a client, and arguments with which its call is complete."""
    namespace, name = path.split(".")
    return getattr(getattr(client, namespace), name), required(public(NAMESPACES[namespace][0])[name])


@pytest.mark.parametrize("path", ARGUMENTS)
def test_an_odd_argument_is_named_and_never_a_raw_error(
    path: str, unreachable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for argument in ARGUMENTS[path]:
        method, arguments = method_of(unreachable, path)
        if argument == "reconnect_for":
            arguments["timeout"] = 1.0
        for odd in ODD:
            if argument.startswith("on_") and callable(odd):
                continue  # its own errors are those of the app
            error = error_of(method, **arguments | {argument: odd})
            if isinstance(error, InvalidArgumentError):
                fields = {re.split(r"[.\[]", violation.field)[0] for violation in error.field_violations}
                # A given field that `paths` does not name is at fault too.
                is_named = fields == {argument} or (argument == "paths" and fields == {"name"})
                assert is_named, (argument, error.message)
                assert len(error.message.encode()) < 1000, argument
            else:
                # The call was made, or a file was opened.
                assert error is None or isinstance(error, AvatarCreatorError | OSError), (argument, error)


@pytest.mark.parametrize("path", ARGUMENTS)
def test_none_means_not_given(
    path: str, unreachable: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocking = public(NAMESPACES[path.split(".")[0]][0])[path.split(".")[1]]
    hints = get_type_hints(blocking) | get_type_hints(GenerationParameters)
    for argument in ARGUMENTS[path]:
        method, arguments = method_of(unreachable, path)
        error = error_of(method, **arguments | {argument: None})
        if argument in arguments and argument not in ("prompt", "name"):
            assert isinstance(error, InvalidArgumentError), (argument, error)
        elif (path, argument) not in REQUIRED_TEXTS:
            assert type(None) in get_args(hints[argument]), f"{argument} of {path} has no None in its type"
            is_refused = isinstance(error, InvalidArgumentError)
            assert is_refused is ((path, argument) in NEEDED), (argument, error)


WRAPPED = {"avatar", "project", "metadata", "generation", "options", "filter", "limits", "all"}
"""Messages in requests whose fields are arguments of their own."""
OTHER = {
    "GenerationService.CreateGeneration": {
        # Arguments of `create_variations` and `reproduce`, and a field that the client does not use.
        "count",
        "generation",
        "reference_avatar_id",
    },
    "GenerationService.EstimateGeneration": {"request_id", "generation", "reference_avatar_id"},
    # The client writes the paths of this update.
    "AvatarProjectService.UpdateProject": {"paths"},
    "AvatarService.ListAvatars": {"query", "source_types", "gender", "age_range", "ethnicity", "style"},
    # Arguments of `open`.
    "AvatarProjectService.GetProject": {"include_avatars", "include_links", "page_size", "page_token"},
    "UsageService.SummarizeUsage": {"page_size", "page_token"},
    "UsageService.GetStats": {"page_size", "page_token"},
}
"""Fields that are no arguments of the method of the RPC in `METHOD_BY_RPC`."""


def fields_of(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the fields of a request that a caller can set."""
    outputs = {"avatar": {"id", "name", "persona", "attributes"}, "project": {"id", "name", "description"}}
    for field in message.fields:
        if prefix and field.name not in outputs.get(prefix.rstrip("."), {field.name}):
            continue
        inner = field.message_type
        if field.name in WRAPPED and inner is not None and inner.name != "Struct":
            yield from fields_of(inner, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


@pytest.mark.parametrize("path", METHOD_BY_RPC)
def test_every_field_of_a_request_has_the_name_of_an_argument(path: str) -> None:
    namespace, name = METHOD_BY_RPC[path].split(".")
    service, method = path.split(".")
    [rpc] = [
        each
        for each in vars(rpcs).values()
        if isinstance(each, rpcs.Rpc) and each.path.endswith(f".{service}/{method}")
    ]
    fields = list(fields_of(CONTRACT[path].input_type))
    error = InvalidArgumentError("", field_violations=[FieldViolation(field, "is bad") for field in fields])

    named = {each.field for each in name_arguments(error, rpc).field_violations}

    assert named <= {*names_of(public(NAMESPACES[namespace][0])[name]), *OTHER.get(path, ())}


def test_all_wrong_arguments_are_named_at_once(client: Any, server: ScriptedServer) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        client.generations.create(
            None,
            7,
            width="wide",
            seed=-1,
            priority="high",
            persona={"age": "old", "nam": "Sarah"},
            attributes={"gender": "femal", "style": "casul"},
            reference=["a.jpg", 7],
        )
    assert [(each.field, each.description) for each in caught.value.field_violations] == [
        ("project", "must be an id or a Project (got None)"),
        ("prompt", "must be a text (got an int)"),
        ("persona.nam", "is unknown; use name, age, personality, background"),
        ("persona.age", "must be a whole number (got a text)"),
        ("attributes.gender", "must be one of female, male, non_binary (got femal)"),
        (
            "attributes.style",
            "must be one of professional, casual, formal, traditional, sporty, creative, elegant, streetwear "
            "(got casul)",
        ),
        ("width", "must be a whole number (got a text)"),
        ("seed", "must be 0 or more (got -1)"),
        ("priority", "must be one of interactive, normal, bulk (got high)"),
        ("reference[1]", "must be an avatar, an id or a picture to upload (got an int)"),
    ]
    assert caught.value.message.startswith("project must be an id or a Project (got None); prompt must be")
    assert server.calls == []


def test_a_word_of_a_long_list_is_refused_with_those_that_are_near(client: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"list\(ErrorReason\), such as PROVIDER_TIMEOUT"):
        client.generations.list(error_reasons="provider_timeoud")


@pytest.mark.parametrize(
    ("metadata", "field", "problem"),
    [
        ({"at": datetime(2026, 1, 2)}, "metadata.at", "got a datetime"),
        ({"poses": [1, {"x": math.nan}]}, "metadata.poses[1].x", "finite number"),
        ({1: 2}, "metadata", "texts as keys"),
        ([1], "metadata", "must be a mapping"),
    ],
)
def test_metadata_that_json_cannot_hold_is_named_by_its_place(
    metadata: Any, field: str, problem: str, client: Any, server: ScriptedServer
) -> None:
    with pytest.raises(InvalidArgumentError, match=problem) as caught:
        client.usage.record(ID, action="x", metadata=metadata)
    assert [each.field for each in caught.value.field_violations] == [field]
    nested: dict[str, Any] = {}
    nested["again"] = nested
    with pytest.raises(InvalidArgumentError, match="levels deep"):
        client.usage.record(ID, action="x", metadata=nested)
    assert server.calls == []


def test_a_surrogate_in_a_mapping_key_is_refused(client: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="not valid Unicode"):
        client.usage.record(ID, action="x", metadata={"\ud800": 1})
