"""Options of the contract's fields and methods: every one is there, and none contradicts another."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions

from avatar_creator import rpcs
from avatar_creator.v1.options_pb2 import CallFacts, call_facts
from avatar_creator_server.api.server import SERVICE_NAMES
from avatar_creator_server.contract.field_options import contract_files, field_options

SERVICES = [descriptor_pool.Default().FindServiceByName(name) for name in SERVICE_NAMES]


def reachable(kind: Any, found: dict[str, Any]) -> None:
    """Collect a message and all messages of the contract in its fields, by name."""
    if kind.file.package == "avatar_creator.v1" and kind.name not in found:
        found[kind.name] = kind
        for field in kind.fields:
            if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                reachable(field.message_type, found)


def fields_of(side: str) -> list[Any]:
    """Return every field of the requests, or of the responses, with those of the messages in them."""
    found: dict[str, Any] = {}
    for service in SERVICES:
        for method in service.methods:
            reachable(getattr(method, side), found)
    return [field for kind in found.values() for field in kind.fields]


def place(field: Any) -> str:
    """Return message and field, as `field_options` names them."""
    return f"{field.containing_type.name}.{field.name}"


REQUESTS, RESPONSES = fields_of("input_type"), fields_of("output_type")
FIELDS = {place(field): field for field in (*REQUESTS, *RESPONSES)}


def behaviors(field: Any) -> frozenset[str]:
    """Return the behaviors of a field."""
    return field_options()[place(field)].behaviors


def test_every_field_says_who_sets_it() -> None:
    known = {"REQUIRED", "OPTIONAL", "OUTPUT_ONLY", "IMMUTABLE", "IDENTIFIER"}

    assert len(FIELDS) > 200
    assert [name for name, field in FIELDS.items() if len(behaviors(field) & known) != 1] == []


def test_every_text_list_and_blob_has_a_limit() -> None:
    unlimited = []
    for name, field in FIELDS.items():
        limits = field_options()[name].limits
        is_struct = field.message_type is not None and field.message_type.name == "Struct"
        if (
            (field.is_repeated and not limits.max_entries)
            or (field.type == field.TYPE_STRING and not (limits.max_length or limits.format))
            or ((field.type == field.TYPE_BYTES or is_struct) and not limits.max_bytes)
        ):
            unlimited.append(name)

    assert unlimited == []


def test_responses_are_output_only_and_requests_are_not() -> None:
    allowed = {"Response": {"OUTPUT_ONLY"}, "Request": {"REQUIRED", "OPTIONAL"}}
    wrong = [
        name
        for name, field in FIELDS.items()
        for kind, expected in allowed.items()
        if field.containing_type.name.endswith(kind) and not behaviors(field) <= expected
    ]

    assert wrong == []


def facts() -> dict[str, tuple[int, CallFacts]]:
    """Return idempotency level and facts of every RPC."""
    return {
        f"{service.name}.{method.name}": (
            method.options.idempotency_level,
            method.options.Extensions[call_facts],
        )
        for file in contract_files().file
        if file.package == "avatar_creator.v1"
        for service in file.service
        for method in service.method
    }


def test_the_clients_have_the_facts_of_every_rpc() -> None:
    described = {f"{rpc.service}.{rpc.method}": (rpc.retryable, rpc.transfer) for rpc in rpcs.ALL}

    assert described == {
        name: (fact.retryable, fact.deadline_seconds == rpcs.TRANSFER_SECONDS)
        for name, (_, fact) in facts().items()
    }


def test_only_watches_have_no_deadline() -> None:
    endless = {name for name, (_, fact) in facts().items() if not fact.deadline_seconds}

    assert endless == {"GenerationService.WatchGeneration", "GenerationService.WatchGenerations"}


def test_every_rpc_that_may_be_retried_is_idempotent() -> None:
    for name, (level, fact) in facts().items():
        assert level != MethodOptions.IDEMPOTENCY_UNKNOWN or not fact.retryable, name
        if level == MethodOptions.NO_SIDE_EFFECTS:
            assert fact.retryable, name


def test_a_call_that_creates_has_a_request_id() -> None:
    """Check that a repeated call is recognized wherever a second one would do something again."""
    repeatable = {
        *("DeleteProject", "DeleteAvatar", "CancelGeneration"),
        *("DrainWorker", "ResumeWorker", "PauseQueue", "ResumeQueue", "RetryNow"),
        *("SetUserLimits", "ClearUserLimits"),
    }
    for service in SERVICES:
        for method in service.methods:
            level, _ = facts()[f"{service.name}.{method.name}"]
            if level == MethodOptions.IDEMPOTENT and method.name not in repeatable:
                kinds = (method.input_type, *(f.message_type for f in method.input_type.fields))
                assert any(kind and "request_id" in kind.fields_by_name for kind in kinds), method.name
