"""Bad input: a request that breaks the contract is refused with its fields and changes nothing."""

from __future__ import annotations

import contextlib
import json
import math
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1 import avatar_service_pb2 as avatars_pb
from avatar_creator.v1 import generation_service_pb2 as generations_pb
from avatar_creator.v1 import operations_service_pb2 as operations_pb
from avatar_creator.v1 import preset_service_pb2 as presets_pb
from avatar_creator.v1 import usage_service_pb2 as usage_pb
from avatar_creator.v1.attributes_pb2 import Attributes
from avatar_creator.v1.avatar_pb2 import Avatar
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from avatar_creator.v1.persona_pb2 import Persona
from avatar_creator_server.api.server import SERVICE_NAMES
from tests import pictures
from tests.contract.calls import TIMEOUT_SECONDS, Calls, files_of, refusal, refusal_of, rows_of
from tests.contract.conftest import ONE_STACK
from tests.support.service import Deployment
from tests.support.waiting import wait_until

Fields = dict[str, Any]

BASES: dict[str, tuple[Callable[..., Message], Fields]] = {
    "CreateProject": (projects_pb.CreateProjectRequest, {"name": "Spring"}),
    "GetProject": (projects_pb.GetProjectRequest, {"project_id": "PROJECT"}),
    "ListProjects": (projects_pb.ListProjectsRequest, {}),
    "UpdateProject": (projects_pb.UpdateProjectRequest, {"project": {"id": "PROJECT", "name": "Autumn"}}),
    "DeleteProject": (projects_pb.DeleteProjectRequest, {"project_id": "PROJECT"}),
    "UploadAvatar": (
        avatars_pb.UploadAvatarRequest,
        {"metadata": {"project_id": "PROJECT", "name": "Sarah"}},
    ),
    "GetAvatar": (avatars_pb.GetAvatarRequest, {"avatar_id": "AVATAR"}),
    "BatchGetAvatars": (avatars_pb.BatchGetAvatarsRequest, {"avatar_ids": ["AVATAR"]}),
    "ListAvatars": (avatars_pb.ListAvatarsRequest, {}),
    "UpdateAvatar": (avatars_pb.UpdateAvatarRequest, {"avatar": {"id": "AVATAR", "name": "Eve"}}),
    "DeleteAvatar": (avatars_pb.DeleteAvatarRequest, {"avatar_id": "AVATAR"}),
    "DownloadImage": (avatars_pb.DownloadImageRequest, {"avatar_id": "AVATAR"}),
    "CreateGeneration": (
        generations_pb.CreateGenerationRequest,
        {"project_id": "PROJECT", "prompt": "a portrait", "options": {"width": 256, "height": 256}},
    ),
    "EstimateGeneration": (
        generations_pb.EstimateGenerationRequest,
        {"generation": {"project_id": "PROJECT", "prompt": "a portrait"}},
    ),
    "GetGeneration": (generations_pb.GetGenerationRequest, {"generation_id": "GENERATION"}),
    "ListGenerations": (generations_pb.ListGenerationsRequest, {}),
    "WatchGeneration": (generations_pb.WatchGenerationRequest, {"generation_id": "GENERATION"}),
    "WatchGenerations": (
        generations_pb.WatchGenerationsRequest,
        {"targets": {"targets": [{"generation_id": "GENERATION"}]}},
    ),
    "CancelGeneration": (generations_pb.CancelGenerationRequest, {"generation_id": "GENERATION"}),
    "RetryGeneration": (generations_pb.RetryGenerationRequest, {"generation_id": "CANCELLED"}),
    "RecordUsage": (
        usage_pb.RecordUsageRequest,
        {"avatar_id": "AVATAR", "app_id": "pose-generator", "action": "generate_poses"},
    ),
    "ListUsage": (usage_pb.ListUsageRequest, {"avatar_id": "AVATAR"}),
    "SummarizeUsage": (usage_pb.SummarizeUsageRequest, {"avatar_id": "AVATAR"}),
    "GetStats": (usage_pb.GetStatsRequest, {}),
    "ListPresets": (presets_pb.ListPresetsRequest, {}),
    "GetPreset": (presets_pb.GetPresetRequest, {"preset_id": "PRESET"}),
    "ListPersonaExamples": (presets_pb.ListPersonaExamplesRequest, {}),
    "GetPersonaExample": (presets_pb.GetPersonaExampleRequest, {"persona_example_id": "EXAMPLE"}),
    "ListWorkers": (operations_pb.ListWorkersRequest, {}),
    "DrainWorker": (operations_pb.DrainWorkerRequest, {}),
    "ResumeWorker": (operations_pb.ResumeWorkerRequest, {}),
    "GetQueue": (operations_pb.GetQueueRequest, {}),
    "PauseQueue": (operations_pb.PauseQueueRequest, {"route": "local"}),
    "ResumeQueue": (operations_pb.ResumeQueueRequest, {"route": "local"}),
    "RetryNow": (operations_pb.RetryNowRequest, {}),
    "BulkCancelGenerations": (
        operations_pb.BulkCancelGenerationsRequest,
        {"filter": {"user_id": "USER"}, "dry_run": True},
    ),
    "BulkRetryGenerations": (
        operations_pb.BulkRetryGenerationsRequest,
        {"filter": {"user_id": "USER"}, "dry_run": True},
    ),
    "ListUsers": (operations_pb.ListUsersRequest, {}),
    "GetUserLimits": (operations_pb.GetUserLimitsRequest, {"user_id": "USER"}),
    "SetUserLimits": (
        operations_pb.SetUserLimitsRequest,
        {"user_id": "USER", "limits": {"concurrent": 1_000}},
    ),
    "ClearUserLimits": (operations_pb.ClearUserLimitsRequest, {"user_id": "USER"}),
}
"""An accepted request for each RPC. Words in capitals are replaced by ids."""


@dataclass
class Owner:
    """A user who has one resource of each kind."""

    deployment: Deployment
    user: str
    calls: Calls
    ids: dict[str, str]

    def stored(self) -> dict[str, Any]:
        """Return everything that is stored for the user: rows by table, and files."""
        rows = rows_of(self.deployment, self.user)
        return {**rows, "bytes of files": files_of(self.deployment, self.user)}

    def send(self, rpc: str, changes: Fields) -> Any:
        """Call an RPC with its basic request and these changed fields, by path (such as `persona.age`)."""
        make, base = BASES[rpc]
        fields: Fields = json.loads(json.dumps(base))
        for path, value in changes.items():
            *parents, name = path.split(".")
            inner = fields
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = value
        request: Any = make(**self._with_ids(fields))
        calls = self.calls
        stubs = (
            *(calls.projects, calls.avatars, calls.generations, calls.usage, calls.presets),
            calls.operations,
        )
        stub = next(stub for stub in stubs if hasattr(stub, rpc))
        if stub is calls.operations:
            with Calls(self.deployment.target, self.deployment.token(self.user, role="ops")) as operator:
                return getattr(operator.operations, rpc)(request)
        if rpc == "UploadAvatar":
            return self.calls.avatars.UploadAvatar(
                iter([request, avatars_pb.UploadAvatarRequest(chunk=pictures.png())])
            )
        return getattr(stub, rpc)(request)

    def _with_ids(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._with_ids(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._with_ids(inner) for inner in value]
        return self.ids.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def owner(shared_deployment: Deployment) -> Iterator[Owner]:
    """An owner whose resources no test may change."""
    user = f"owner-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        yield _create_owner(shared_deployment, user, calls)


@pytest.fixture
def disposable(shared_deployment: Deployment, user: str, calls: Calls) -> Owner:
    """An owner of this test only."""
    return _create_owner(shared_deployment, user, calls)


def _create_owner(deployment: Deployment, user: str, calls: Calls) -> Owner:
    project = calls.create_project()
    avatar = calls.upload(project.id, pictures.png())
    calls.record_usage(avatar.id)
    generation = calls.wait_for_end(calls.create_generation(project.id).id)
    presets = calls.presets.ListPresets(presets_pb.ListPresetsRequest(page_size=1)).presets
    examples = calls.presets.ListPersonaExamples(
        presets_pb.ListPersonaExamplesRequest(page_size=1)
    ).persona_examples
    owner = Owner(
        deployment,
        user,
        calls,
        {
            "USER": user,
            "PROJECT": project.id,
            "AVATAR": avatar.id,
            "GENERATION": generation.id,
            "CANCELLED": calls.create_cancelled(project.id).id,
            "PRESET": presets[0].id,
            "EXAMPLE": examples[0].id,
        },
    )
    # A worker may still create the thumbnail, and that changes a row.
    wait_until(lambda: not owner.send("GetAvatar", {}).avatar.thumbnail_pending)
    return owner


# Limits: the last valid values and the first invalid ones

UUID = "123e4567-e89b-12d3-a456-426614174000"
TRAITS = [f"trait {number}" for number in range(13)]


def name_limits(path: str) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: "x" * 120}, {path: "é" * 120}, {path: "💃" * 120}, {path: " a "}],
        [
            {path: value}
            for value in ("", "x" * 121, "   ", "\u3000", "a\nb", "a\tb", "a\0b", "a\x7fb", "a\x85b")
        ],
    )


def optional_line_limits(path: str, max_length: int) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: ""}, {path: "é" * max_length}],
        [{path: value} for value in ("x" * (max_length + 1), "a\nb", "a\0b", "a\x1bb")],
    )


def search_limits(path: str) -> tuple[list[Fields], list[Fields]]:
    valid, invalid = optional_line_limits(path, 200)
    words = " ".join("abcdefghi")
    return (
        [*valid, {path: words[:-2]}, {path: f"  {words[:-2]}  "}, {path: f"{'x' * 184} {words[:-4]} "}],
        [*invalid, {path: words}, {path: " ".join("a" * 100)}, {path: "\u2003".join("abcdefghi")}],
    )


def text_limits(path: str, max_length: int) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: "é" * max_length}, {path: "one\r\ntwo\tthree"}],
        [{path: value} for value in ("x" * (max_length + 1), "a\0b", "a\x1bb")],
    )


def request_id_limits(path: str) -> tuple[list[Fields], list[Fields]]:
    bad = ("x", UUID[:-1], UUID.replace("-", ""), f"{{{UUID}}}", f"urn:uuid:{UUID}", f" {UUID}", UUID + "\0")
    return [{path: UUID}, {path: UUID.upper()}, {path: ""}], [{path: value} for value in bad]


def enum_limits(path: str, largest: int) -> tuple[list[Fields], list[Fields]]:
    return [{path: 0}, {path: largest}], [{path: largest + 1}, {path: -1}, {path: 2**31 - 1}]


def side_limits(path: str) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: value} for value in (0, 256, 272, 1440)],
        [{path: value} for value in (1, 240, 255, 257, 1432, 1441, 1456, -256, 2**31 - 1)],
    )


def number_limits(path: str, minimum: int, maximum: int) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: value} for value in (0, minimum, maximum)],
        [{path: value} for value in (-1, maximum + 1, -(2**31), 2**31 - 1)],
    )


def id_limits(path: str, max_length: int = 100) -> tuple[list[Fields], list[Fields]]:
    return [], [{path: value} for value in ("", " ", "a\0b", "x" * (max_length + 1))]


def page_size_limits() -> tuple[list[Fields], list[Fields]]:
    return [{"page_size": value} for value in (0, 1, 100, 500, 2**31 - 1)], [
        {"page_size": value} for value in (-1, -(2**31))
    ]


def user_id_limits() -> tuple[list[Fields], list[Fields]]:
    climbing = ("../x", "..", ".", "a/b", "/", "a\\b", ".x")
    bad = (*climbing, "x" * 129, "a\0b", "a\nb", "sarah\n", " ", "a b", "é", "*")
    return [{"user_id": value} for value in ("", "USER")], [{"user_id": value} for value in bad]


def optional_user_limits(path: str) -> tuple[list[Fields], list[Fields]]:
    good, bad = user_id_limits()
    return [{path: each["user_id"]} for each in good], [{path: each["user_id"]} for each in bad]


def user_limits_of(path: str) -> tuple[list[Fields], list[Fields]]:
    _, bad = optional_user_limits(path)
    return [], [*bad, {path: ""}]


def time_limits(path: str, **other_fields: Any) -> tuple[list[Fields], list[Fields]]:
    return (
        [{f"{path}.seconds": value, **other_fields} for value in (-62135596800, 0, 253402300799)],
        [
            {f"{path}.seconds": -62135596801, **other_fields},
            {f"{path}.seconds": 253402300800, **other_fields},
            {f"{path}.seconds": 2**63 - 1, **other_fields},
            {f"{path}.nanos": -1, **other_fields},
            {f"{path}.nanos": 1_000_000_000, **other_fields},
        ],
    )


def padded(content: Fields, length: int) -> Struct:
    """Return the content with one more text, so that it has `length` bytes as JSON without spaces."""
    shortest = json.dumps({**content, "fill": ""}, ensure_ascii=False, separators=(",", ":"))
    return struct({**content, "fill": "x" * (length - len(shortest.encode()))})


def struct(content: Fields) -> Struct:
    message = Struct()
    message.update(content)
    return message


LARGE_CONTENTS: list[Fields] = [
    {},
    {"note": "é" * 4000},
    {"💃" * 100: "💃" * 1900},
    {"quoted": '"' * 4000},
    {"escaped": "\x01" * 1300},
    {"numbers": [0.5, -0.1, 1e300, 5e-324]},
    {"nested": {"empty": {}, "none": None, "list": [[], [True, False, None]]}},
    {str(number): number / 2 for number in range(1, 600, 2)},
]


def containing(value: Value) -> list[Struct]:
    """Return metadata that contains the value at the top level, in a list and in a message."""
    return [
        Struct(fields={"a": value}),
        Struct(fields={"a": Value(list_value=ListValue(values=[Value(bool_value=True), value]))}),
        Struct(fields={"a": Value(struct_value=Struct(fields={"b": value}))}),
    ]


def metadata_limits() -> tuple[list[Fields], list[Fields]]:
    bad = [
        *(padded(content, 8193) for content in LARGE_CONTENTS),
        padded({}, 100_000),
        *(
            struct(content)
            for content in ({"a": "\0"}, {"a": "b\0c"}, {"\0": 1}, {"a": {"b\0": ""}}, {"a": ["\0"]})
        ),
        *(
            broken
            for number in (float("nan"), float("inf"), float("-inf"))
            for broken in containing(Value(number_value=number))
        ),
    ]
    return (
        [
            {"metadata": content}
            for content in (Struct(), *(padded(content, 8192) for content in LARGE_CONTENTS))
        ],
        [{"metadata": content} for content in bad],
    )


ATTRIBUTE_LARGEST = {
    "gender": 3,
    "age_range": 6,
    "body_type": 6,
    "hair_style": 11,
    "hair_color": 7,
    "eye_color": 7,
    "skin_tone": 7,
    "style": 8,
    "headwear": 9,
}

Limits = tuple[str, str, tuple[list[Fields], list[Fields]]]


def persona_and_attributes(rpc: str, within: str) -> list[Limits]:
    persona, attributes = f"{within}persona", f"{within}attributes"
    return [
        (rpc, f"{persona}.name", optional_line_limits(f"{persona}.name", 120)),
        (
            rpc,
            f"{persona}.age",
            (
                [{f"{persona}.age": value} for value in (0, 1, 120)],
                [{f"{persona}.age": value} for value in (-1, 121, 2**31 - 1)],
            ),
        ),
        (
            rpc,
            f"{persona}.personality",
            ([{f"{persona}.personality": TRAITS[:12]}], [{f"{persona}.personality": TRAITS}]),
        ),
        (
            rpc,
            f"{persona}.personality[1]",
            (
                [{f"{persona}.personality": ["warm", "é" * 60]}],
                [
                    {f"{persona}.personality": ["warm", value]}
                    for value in ("x" * 61, "", " ", "a\nb", "a\0b")
                ],
            ),
        ),
        (rpc, f"{persona}.background", text_limits(f"{persona}.background", 4000)),
        (rpc, f"{attributes}.ethnicity", optional_line_limits(f"{attributes}.ethnicity", 60)),
        *(
            (rpc, f"{attributes}.{name}", enum_limits(f"{attributes}.{name}", largest))
            for name, largest in ATTRIBUTE_LARGEST.items()
        ),
    ]


LIMITS: list[Limits] = [
    ("CreateProject", "name", name_limits("name")),
    ("CreateProject", "description", text_limits("description", 2000)),
    ("CreateProject", "request_id", request_id_limits("request_id")),
    ("GetProject", "project_id", id_limits("project_id")),
    ("ListProjects", "page_size", page_size_limits()),
    ("UpdateProject", "project.id", id_limits("project.id")),
    (
        "UpdateProject",
        "project.name",
        (
            [{"project.name": "x" * 120}],
            # An empty name is not populated, so it is refused only if the mask names it.
            [{"project.name": value} for value in ("x" * 121, "   ", "a\0b")],
        ),
    ),
    ("UpdateProject", "project.description", text_limits("project.description", 2000)),
    (
        "UpdateProject",
        "update_mask",
        (
            [{"update_mask.paths": paths} for paths in ([], ["name"], ["name", "description"], ["*"])],
            [
                {"update_mask.paths": paths}
                for paths in (["nickname"], ["id"], ["avatar_count"], ["project.name"], ["Name"], [""])
            ],
        ),
    ),
    ("DeleteProject", "project_id", id_limits("project_id")),
    ("UploadAvatar", "metadata.project_id", id_limits("metadata.project_id")),
    ("UploadAvatar", "metadata.name", name_limits("metadata.name")),
    ("UploadAvatar", "metadata.request_id", request_id_limits("metadata.request_id")),
    (
        "UploadAvatar",
        "metadata.content_type",
        (
            [{"metadata.content_type": value} for value in ("", "image/png", "image/PNG")],
            [{"metadata.content_type": value} for value in ("image/gif", "png", "x" * 1000)],
        ),
    ),
    *persona_and_attributes("UploadAvatar", "metadata."),
    ("GetAvatar", "avatar_id", id_limits("avatar_id")),
    (
        "BatchGetAvatars",
        "avatar_ids",
        (
            [{"avatar_ids": ["AVATAR"] * 100}, {"avatar_ids": ["AVATAR", *(f"id {n}" for n in range(99))]}],
            [
                {"avatar_ids": []},
                {"avatar_ids": ["AVATAR"] * 101},
                {"avatar_ids": [f"id {n}" for n in range(101)]},
                {"avatar_ids": ["x"] * 2000},
            ],
        ),
    ),
    (
        "BatchGetAvatars",
        "avatar_ids[1]",
        (
            [{"avatar_ids": ["AVATAR", value]} for value in ("é" * 100, "../x", "%", "AVATAR")],
            [{"avatar_ids": ["AVATAR", value]} for value in ("", " ", "a\0b", "a\nb", "x" * 101)],
        ),
    ),
    ("BatchGetAvatars", "avatar_ids[99]", ([], [{"avatar_ids": ["AVATAR"] * 99 + [""]}])),
    ("ListProjects", "user_id", user_id_limits()),
    ("ListAvatars", "user_id", user_id_limits()),
    ("ListGenerations", "user_id", user_id_limits()),
    ("GetStats", "user_id", user_id_limits()),
    ("ListAvatars", "page_size", page_size_limits()),
    ("ListAvatars", "source_types[1]", ([{"source_types": [1, 4]}], [{"source_types": [1, 5]}])),
    ("ListAvatars", "gender", enum_limits("gender", 3)),
    ("ListAvatars", "age_range", enum_limits("age_range", 6)),
    ("ListAvatars", "style", enum_limits("style", 8)),
    ("ListAvatars", "order", enum_limits("order", 2)),
    ("ListAvatars", "ethnicity", optional_line_limits("ethnicity", 60)),
    ("ListAvatars", "query", search_limits("query")),
    ("ListAvatars", "project_id", ([{"project_id": ""}], [{"project_id": "x" * 101}, {"project_id": "a\0"}])),
    ("UpdateAvatar", "avatar.id", id_limits("avatar.id")),
    ("UpdateProject", "request_id", request_id_limits("request_id")),
    ("UpdateAvatar", "request_id", request_id_limits("request_id")),
    *(
        (rpc, "expected_revision", ([], [{"expected_revision": value} for value in (-1, -(2**63))]))
        for rpc in ("UpdateProject", "UpdateAvatar")
    ),
    (
        "UpdateAvatar",
        "avatar.name",
        (
            [{"avatar.name": "é" * 120}, {"avatar.name": " a "}],
            # An empty name is not populated, so it is refused only if the mask names it.
            [
                *({"avatar.name": value} for value in ("x" * 121, "   ", "a\nb", "a\0b")),
                *(
                    {"avatar.name": "", "update_mask.paths": paths}
                    for paths in (["name"], ["*"], ["persona", "name"])
                ),
            ],
        ),
    ),
    *persona_and_attributes("UpdateAvatar", "avatar."),
    *(
        (
            "UpdateAvatar",
            f"avatar.{path}",
            (
                [{f"avatar.{path}": edge, "update_mask.paths": mask} for mask in masks],
                [{f"avatar.{path}": beyond, "update_mask.paths": mask} for mask in masks],
            ),
        )
        for path, edge, beyond, masks in (
            ("persona.age", 120, 121, (["persona.age"], ["persona"], ["*"])),
            ("persona.personality", TRAITS[:12], TRAITS, (["persona.personality"], ["persona"], ["*"])),
            ("attributes.gender", 3, 4, (["attributes.gender"], ["attributes"], ["*"])),
            ("attributes.ethnicity", "x" * 60, "x" * 61, (["name", "attributes.ethnicity"],)),
        )
    ),
    (
        "UpdateAvatar",
        "update_mask",
        (
            [
                {"update_mask.paths": paths}
                for paths in (
                    [],
                    ["name"],
                    ["persona"],
                    ["persona.age"],
                    ["attributes"],
                    ["attributes.gender"],
                    ["name", "persona", "persona.age", "persona.age", "attributes.headwear"],
                    ["*"],
                    ["*", "name"],
                )
            ],
            [
                {"update_mask.paths": paths}
                for paths in (
                    *(
                        [path]
                        for path in (
                            *(
                                "nickname",
                                "id",
                                "user_id",
                                "project_id",
                                "image",
                                "image.sha256",
                                "thumbnail",
                            ),
                            *(
                                "thumbnail_data",
                                "source_type",
                                "generation_prompt",
                                "seed_used",
                                "usage_count",
                            ),
                            *("last_used_time", "create_time", "update_time", "generation_id"),
                            *("avatar.name", "Name", "", " ", ".", ".name", "name.", "persona.", "persona.*"),
                            *(
                                "*.name",
                                "**",
                                "persona.nickname",
                                "persona.age.years",
                                "attributes.hat",
                                "age",
                            ),
                            *("personality", "persona.personality[0]", "name\0", "name,persona"),
                        )
                    ),
                    ["name", "nickname"],
                    ["*", "nickname"],
                )
            ],
        ),
    ),
    ("DeleteAvatar", "avatar_id", id_limits("avatar_id")),
    ("DownloadImage", "avatar_id", id_limits("avatar_id")),
    ("DownloadImage", "variant", enum_limits("variant", 2)),
    ("CreateGeneration", "project_id", id_limits("project_id")),
    (
        "CreateGeneration",
        "prompt",
        (
            [{"prompt": "é" * 2000}, {"prompt": "one\ntwo"}],
            [{"prompt": value} for value in ("", "  ", "\n", "x" * 2001, "a\0b")],
        ),
    ),
    ("CreateGeneration", "avatar_name", optional_line_limits("avatar_name", 120)),
    ("CreateGeneration", "options.width", side_limits("options.width")),
    ("CreateGeneration", "options.height", side_limits("options.height")),
    ("CreateGeneration", "options.steps", number_limits("options.steps", 1, 50)),
    (
        "CreateGeneration",
        "options.guidance_scale",
        (
            [{"options.guidance_scale": value} for value in (0.0, 1.0, 7.5, 20.0)],
            [{"options.guidance_scale": value} for value in (0.5, 20.5, -1.0, math.nan, math.inf)],
        ),
    ),
    (
        "CreateGeneration",
        "options.negative_prompt",
        (
            [{"options.negative_prompt": "é" * 2000}, {"options.negative_prompt": "one\ntwo"}],
            [{"options.negative_prompt": "x" * 2001}, {"options.negative_prompt": "a\0b"}],
        ),
    ),
    (
        "CreateGeneration",
        "options.reference_strength",
        (
            [
                *(
                    {"options.reference_strength": value, "reference_avatar_id": "AVATAR"}
                    for value in (0.0, 0.001, 1.0)
                ),
                {"options.reference_strength": 0.5, "reference_avatar_ids": ["AVATAR"]},
            ],
            [
                {"options.reference_strength": 0.5},
                *(
                    {"options.reference_strength": value, "reference_avatar_id": "AVATAR"}
                    for value in (-0.1, 1.1, math.nan)
                ),
            ],
        ),
    ),
    (
        "CreateGeneration",
        "reference_avatar_id",
        ([], [{"reference_avatar_id": "x" * 101}, {"reference_avatar_id": "a\0b"}]),
    ),
    (
        "CreateGeneration",
        "reference_avatar_ids",
        (
            [{"reference_avatar_ids": ["AVATAR"]}],
            [
                {"reference_avatar_ids": [f"avatar {number}" for number in range(9)]},
                {"reference_avatar_ids": ["AVATAR", "AVATAR"]},
                {"reference_avatar_ids": ["AVATAR", "another", "AVATAR"]},
                {
                    "prompt": "",
                    "options": {},
                    "reproduce_generation_id": "GENERATION",
                    "reference_avatar_ids": ["AVATAR"],
                },
            ],
        ),
    ),
    (
        "CreateGeneration",
        "reference_avatar_ids[1]",
        ([], [{"reference_avatar_ids": ["AVATAR", value]} for value in ("", " ", "a\0b", "x" * 101)]),
    ),
    (
        "EstimateGeneration",
        "generation.reference_avatar_ids",
        (
            [{"generation.reference_avatar_ids": ["AVATAR"]}],
            [{"generation.reference_avatar_ids": [str(number) for number in range(9)]}],
        ),
    ),
    (
        "CreateGeneration",
        "reproduce_generation_id",
        (
            [{"prompt": "", "options": {}, "reproduce_generation_id": "GENERATION"}],
            [
                {"prompt": "", "options": {}, "reproduce_generation_id": "x" * 101},
                {"prompt": "", "options": {}, "reproduce_generation_id": "a\0b"},
            ],
        ),
    ),
    (
        "CreateGeneration",
        "prompt",
        ([], [{"options": {}, "reproduce_generation_id": "GENERATION"}]),
    ),
    (
        "CreateGeneration",
        "options",
        ([], [{"prompt": "", "reproduce_generation_id": "GENERATION"}]),
    ),
    (
        "CreateGeneration",
        "variation_count",
        (
            [{"variation_count": 2}],
            [
                *({"variation_count": value} for value in (-1, 9, 2**31 - 1)),
                {
                    "prompt": "",
                    "options": {},
                    "reproduce_generation_id": "GENERATION",
                    "variation_count": 2,
                },
            ],
        ),
    ),
    (
        "EstimateGeneration",
        "generation.project_id",
        ([], [{"generation": {"prompt": "a portrait"}}]),
    ),
    (
        "EstimateGeneration",
        "generation.prompt",
        ([], [{"generation": {"project_id": "PROJECT"}}]),
    ),
    (
        "EstimateGeneration",
        "generation.variation_count",
        ([{"generation.variation_count": 8}], [{"generation.variation_count": 9}]),
    ),
    ("CreateGeneration", "preset_id", ([], [{"preset_id": "x" * 101}, {"preset_id": "a\0b"}])),
    (
        "CreateGeneration",
        "persona_example_id",
        ([], [{"persona_example_id": "x" * 101}, {"persona_example_id": "a\0b"}]),
    ),
    ("CreateGeneration", "request_id", request_id_limits("request_id")),
    *persona_and_attributes("CreateGeneration", ""),
    ("GetGeneration", "generation_id", id_limits("generation_id")),
    ("ListGenerations", "page_size", page_size_limits()),
    (
        "ListGenerations",
        "states[1]",
        ([{"states": [1, 5]}], [{"states": [1, 6]}, {"states": [1, -1]}, {"states": [1, 0]}]),
    ),
    ("ListGenerations", "states", ([{"states": [1] * 10}], [{"states": [1] * 11}])),
    ("ListAvatars", "source_types", ([{"source_types": [1] * 10}], [{"source_types": [1] * 11}])),
    ("ListAvatars", "source_types[0]", ([{"source_types": [4]}], [{"source_types": [0]}])),
    (
        "ListGenerations",
        "project_id",
        ([{"project_id": ""}], [{"project_id": "x" * 101}, {"project_id": "a\0"}]),
    ),
    ("ListGenerations", "group_id", ([{"group_id": "x"}], [{"group_id": "x" * 101}, {"group_id": "a\0"}])),
    ("ListGenerations", "create_time_from", time_limits("create_time_from")),
    ("ListGenerations", "create_time_to", time_limits("create_time_to")),
    ("WatchGeneration", "generation_id", id_limits("generation_id")),
    (
        "WatchGeneration",
        "known_revision",
        ([{"known_revision": 2**63 - 1}], [{"known_revision": -1}, {"known_revision": -(2**63)}]),
    ),
    (
        "WatchGenerations",
        "targets",
        ([], [{"targets": None}]),
    ),
    (
        "WatchGenerations",
        "targets.targets",
        (
            [],
            [
                {"targets.targets": targets}
                for targets in (
                    [],
                    [{"generation_id": f"id {number}"} for number in range(101)],
                    [{"generation_id": "GENERATION"}] * 2,
                    [{"generation_id": "GENERATION", "known_revision": seen} for seen in (1, 2)],
                    [{"generation_id": name} for name in ("GENERATION", "CANCELLED", "GENERATION")],
                )
            ],
        ),
    ),
    (
        "WatchGenerations",
        "targets.targets[1].generation_id",
        (
            [{"targets.targets": [{"generation_id": "GENERATION"}, {"generation_id": "CANCELLED"}]}],
            [
                {"targets.targets": [{"generation_id": "GENERATION"}, {"generation_id": value}]}
                for value in ("", " ", "a\0b", "x" * 101)
            ],
        ),
    ),
    (
        "WatchGenerations",
        "targets.targets[0].known_revision",
        (
            [{"targets.targets": [{"generation_id": "GENERATION", "known_revision": 2**63 - 1}]}],
            [
                {"targets.targets": [{"generation_id": "GENERATION", "known_revision": value}]}
                for value in (-1, -(2**63))
            ],
        ),
    ),
    (
        "WatchGenerations",
        "project_id",
        ([], [{"targets": None, "project_id": value} for value in ("", "x" * 101, "a\0b", "a\nb")]),
    ),
    (
        "WatchGenerations",
        "group_id",
        ([], [{"targets": None, "group_id": value} for value in ("", "x" * 101, "a\0b", "a\nb")]),
    ),
    (
        "WatchGenerations",
        "all.user_id",
        ([], [{"targets": None, "all": {"user_id": value}} for value in ("-", "x" * 129, "a\0b", "a b")]),
    ),
    (
        "WatchGenerations",
        "changed_since",
        (
            # A future time yields no states at first. It has its own test.
            [
                {"targets": None, "project_id": "PROJECT", "changed_since.seconds": value}
                for value in (-62135596800, -62135596770, 0)
            ],
            [
                {"changed_since.seconds": 0},
                {"changed_since": {}},
                *time_limits("changed_since", targets=None, project_id="PROJECT")[1],
            ],
        ),
    ),
    ("CancelGeneration", "generation_id", id_limits("generation_id")),
    ("RetryGeneration", "generation_id", id_limits("generation_id")),
    ("RetryGeneration", "request_id", request_id_limits("request_id")),
    ("RecordUsage", "avatar_id", id_limits("avatar_id")),
    (
        "RecordUsage",
        "app_id",
        (
            [{"app_id": "é" * 120}],
            [{"app_id": value} for value in ("", "x" * 121, "a\nb", "a\0b", "a\x1bb")],
        ),
    ),
    ("RecordUsage", "app_name", optional_line_limits("app_name", 120)),
    ("RecordUsage", "action", name_limits("action")),
    ("RecordUsage", "reference_id", optional_line_limits("reference_id", 200)),
    ("RecordUsage", "reference_type", optional_line_limits("reference_type", 120)),
    ("RecordUsage", "metadata", metadata_limits()),
    # A `google.protobuf.Value` needs a kind: without one, it would be returned as another value.
    ("RecordUsage", "metadata", ([], [{"metadata": content} for content in containing(Value())])),
    # The length of a whole number is that of `1`, not of `1.0`.
    ("RecordUsage", "metadata", ([{"metadata": padded({"whole": [1, -1, 2**53] * 300}, 8192)}], [])),
    ("RecordUsage", "request_id", request_id_limits("request_id")),
    ("ListUsage", "avatar_id", id_limits("avatar_id")),
    ("ListUsage", "app_id", optional_line_limits("app_id", 120)),
    ("ListUsage", "action", optional_line_limits("action", 120)),
    ("ListUsage", "page_size", page_size_limits()),
    ("SummarizeUsage", "avatar_id", id_limits("avatar_id")),
    ("ListPresets", "category", optional_line_limits("category", 60)),
    ("ListPresets", "query", search_limits("query")),
    ("ListPresets", "page_size", page_size_limits()),
    ("GetPreset", "preset_id", id_limits("preset_id")),
    ("ListPersonaExamples", "category", optional_line_limits("category", 60)),
    ("ListPersonaExamples", "page_size", page_size_limits()),
    ("GetPersonaExample", "persona_example_id", id_limits("persona_example_id")),
    ("ListWorkers", "page_size", page_size_limits()),
    ("DrainWorker", "worker_name", id_limits("worker_name", max_length=300)),
    ("ResumeWorker", "worker_name", id_limits("worker_name", max_length=300)),
    # A queue that a test pauses would stop other tests, so no valid values are tried.
    ("PauseQueue", "route", ([], [{"route": value} for value in ("x" * 101, "a\0b", "unknown")])),
    ("PauseQueue", "note", ([], [{"note": value} for value in ("x" * 201, "a\0b", "a\x1bb")])),
    ("ResumeQueue", "route", ([], [{"route": value} for value in ("x" * 101, "a\0b", "unknown")])),
    ("RetryNow", "generation_id", id_limits("generation_id")),
    *(
        (rpc, path, limits)
        for rpc, state in (("BulkCancelGenerations", 1), ("BulkRetryGenerations", 4))
        for path, limits in (
            ("filter", ([{"filter": {}}], [{"filter": None}])),
            ("filter.user_id", optional_user_limits("filter.user_id")),
            (
                "filter.project_id",
                ([{"filter.project_id": "PROJECT"}], [{"filter.project_id": "x" * 101}]),
            ),
            (
                "filter.states[1]",
                (
                    [{"filter.states": [state, state]}],
                    [{"filter.states": [state, value]} for value in (0, 3, 99)],
                ),
            ),
            ("filter.states", ([], [{"filter.states": [state] * 11}])),
            ("filter.error_reasons[0]", ([{"filter.error_reasons": [1]}], [{"filter.error_reasons": [0]}])),
            ("filter.priorities", ([{"filter.priorities": [1, 2, 3]}], [{"filter.priorities": [1] * 4}])),
            ("filter.create_time_to", time_limits("filter.create_time_to")),
            ("max_count", number_limits("max_count", 1, 1000)),
        )
    ),
    ("ListUsers", "order", enum_limits("order", 3)),
    ("ListUsers", "since", time_limits("since")),
    ("ListUsers", "page_size", page_size_limits()),
    *(
        (rpc, "user_id", user_limits_of("user_id"))
        for rpc in ("GetUserLimits", "SetUserLimits", "ClearUserLimits")
    ),
    ("SetUserLimits", "limits", ([], [{"limits": {}}, {"limits": None}])),
    *(
        (
            "SetUserLimits",
            f"limits.{name}",
            ([{f"limits.{name}": largest}], [{f"limits.{name}": value} for value in (-1, -(2**31))]),
        )
        for name, largest in (
            ("concurrent", 2**31 - 1),
            ("per_minute", 2**31 - 1),
            ("per_day", 2**31 - 1),
            ("spend_per_day_micros", 2**63 - 1),
        )
    ),
]
"""RPC, field, and the values at the field's limits: the last valid ones and the first invalid ones."""


def test_every_rpc_has_limits_and_there_are_hundreds_of_bad_inputs() -> None:
    services = map(descriptor_pool.Default().FindServiceByName, SERVICE_NAMES)
    methods = [method for service in services for method in service.methods]
    rpcs = {method.name for method in methods}
    without_fields = {method.name for method in methods if not method.input_type.fields}
    bad_inputs = {(rpc, repr(changes)) for rpc, _, (_, bad) in LIMITS for changes in bad}

    assert BASES.keys() == rpcs
    assert {rpc for rpc, _, _ in LIMITS} == rpcs - without_fields
    assert len(bad_inputs) > 500


@ONE_STACK
@pytest.mark.parametrize(
    ("rpc", "path", "bad"),
    [(rpc, path, limits[1]) for rpc, path, limits in LIMITS if limits[1]],
    ids=[f"{rpc}-{path}" for rpc, path, limits in LIMITS if limits[1]],
)
def test_a_field_over_its_limit_is_refused_with_its_path_and_nothing_changes(
    owner: Owner, rpc: str, path: str, bad: list[Fields]
) -> None:
    before = owner.stored()

    for changes in bad:
        answer = refusal(lambda: owner.send(rpc, changes))  # noqa: B023 - called at once

        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), changes
        assert answer.domain == "avatar-creator"
        assert answer.fields == [path], changes

    assert owner.stored() == before


@pytest.mark.parametrize(
    ("rpc", "edges"),
    [(rpc, limits[0]) for rpc, _, limits in LIMITS if limits[0]],
    ids=[f"{rpc}-{path}" for rpc, path, limits in LIMITS if limits[0]],
)
def test_a_field_at_its_limit_is_accepted(edges_owner: Owner, rpc: str, edges: list[Fields]) -> None:
    for changes in edges:
        answer = edges_owner.send(rpc, _with_fresh_request_id(changes))
        if isinstance(answer, Iterator):
            assert next(answer), changes
            answer.cancel()  # type: ignore[attr-defined]  # the watch of a project never ends
        if isinstance(
            answer, generations_pb.CreateGenerationResponse | generations_pb.RetryGenerationResponse
        ):
            # The test checks only that the request is accepted: no picture is needed.
            for created in (answer.generation, *getattr(answer, "variations", ())):
                edges_owner.calls.cancel_unless_finished(created.id)


@pytest.fixture(scope="module")
def edges_owner(shared_deployment: Deployment) -> Iterator[Owner]:
    """An owner whose resources the tests add to."""
    user = f"edges-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        yield _create_owner(shared_deployment, user, calls)


def _with_fresh_request_id(changes: Fields) -> Fields:
    def fresh(path: str, value: Any) -> Any:
        if not path.endswith("request_id") or not value:
            return value
        return str(uuid.uuid4()).upper() if value.isupper() else str(uuid.uuid4())

    return {path: fresh(path, value) for path, value in changes.items()}


@ONE_STACK
def test_all_violations_are_listed_at_once(owner: Owner) -> None:
    changes = {
        "project_id": "",
        "prompt": "",
        "persona.age": 121,
        "persona.personality": ["ok", "x" * 61, ""],
        "attributes.headwear": 77,
        "options.width": 250,
        "request_id": "x",
    }

    answer = refusal(lambda: owner.send("CreateGeneration", changes))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert sorted(answer.fields) == [
        "attributes.headwear",
        "options.width",
        "persona.age",
        "persona.personality[1]",
        "persona.personality[2]",
        "project_id",
        "prompt",
        "request_id",
    ]
    assert all(path in answer.message for path in answer.fields)


@ONE_STACK
@pytest.mark.parametrize(
    ("rpc", "changes", "path"),
    [
        ("CreateGeneration", {"persona.personality": [""] * 2000}, "persona.personality"),
        ("ListGenerations", {"states": [99] * 2000}, "states"),
        ("ListAvatars", {"source_types": [-1] * 2000}, "source_types"),
        ("UpdateProject", {"update_mask.paths": ["x"] * 2000}, "update_mask"),
        ("UpdateProject", {"update_mask.paths": ["é" * 20_000]}, "update_mask"),
        (
            "UpdateProject",
            {"update_mask.paths": [str(number) + "💃" * 60 for number in range(30)]},
            "update_mask",
        ),
        (
            "UpdateAvatar",
            {"update_mask.paths": [str(number) + "\x01" * 60 for number in range(30)]},
            "update_mask",
        ),
        ("UpdateAvatar", {"update_mask.paths": [f"path {number}" for number in range(101)]}, "update_mask"),
        ("UpdateAvatar", {"update_mask.paths": ["x"] * 2000}, "update_mask"),
        ("BatchGetAvatars", {"avatar_ids": [""] * 2000}, "avatar_ids"),
        ("CreateGeneration", {"reference_avatar_ids": [""] * 2000}, "reference_avatar_ids"),
        ("WatchGenerations", {"targets.targets": [{"known_revision": -1}] * 2000}, "targets.targets"),
    ],
)
def test_an_error_with_thousands_of_violations_fits_into_headers(
    owner: Owner, rpc: str, changes: Fields, path: str
) -> None:
    """Check the size limit of error details: they are HTTP/2 headers, of which a client accepts 8 KiB."""
    answer = refusal(lambda: owner.send(rpc, changes))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert answer.fields[0] == path


@ONE_STACK
def test_only_one_of_the_two_fields_of_references_can_be_set(owner: Owner) -> None:
    fields = {"reference_avatar_id": "AVATAR", "reference_avatar_ids": ["AVATAR"]}
    before = owner.stored()

    for rpc, place in (("CreateGeneration", ""), ("EstimateGeneration", "generation.")):
        changes = {f"{place}{field}": value for field, value in fields.items()}
        answer = refusal(lambda: owner.send(rpc, changes))  # noqa: B023 - called at once

        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert answer.fields == [f"{place}reference_avatar_id"]
        assert "give reference_avatar_id or reference_avatar_ids, not both" in answer.message

    assert owner.stored() == before


@ONE_STACK
def test_an_update_lists_all_violations_at_once(owner: Owner) -> None:
    changes = {
        "project.id": "",
        "project.name": "x" * 121,
        "project.description": "x" * 2001,
        "update_mask.paths": ["name", "description", "nickname"],
    }

    answer = refusal(lambda: owner.send("UpdateProject", changes))

    assert answer.reason == "INVALID_FIELD"
    assert sorted(answer.fields) == ["project.description", "project.id", "project.name", "update_mask"]


# Resources that do not exist


@pytest.mark.parametrize(
    ("path", "kind"),
    [("preset_id", "preset"), ("persona_example_id", "persona example"), ("project_id", "project")],
)
def test_a_generation_from_an_unknown_resource_is_not_found(owner: Owner, path: str, kind: str) -> None:
    before = owner.stored()
    unknown = str(uuid.uuid4())

    answer = refusal(lambda: owner.send("CreateGeneration", {path: unknown, "request_id": str(uuid.uuid4())}))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert answer.resource == (kind, unknown)
    assert owner.stored() == before


def test_a_preset_fills_an_empty_prompt_and_the_fields_left_out(disposable: Owner) -> None:
    preset = disposable.send("GetPreset", {}).preset
    assert preset.prompt
    assert preset.persona.name
    assert preset.attributes.gender

    generation = disposable.send(
        "CreateGeneration",
        {"prompt": "", "preset_id": preset.id, "persona.age": 41, "attributes.ethnicity": "Martian"},
    ).generation

    persona, attributes = Persona(), Attributes()
    persona.CopyFrom(preset.persona)
    persona.age = 41
    attributes.CopyFrom(preset.attributes)
    attributes.ethnicity = "Martian"
    assert (generation.prompt, generation.preset_id) == (preset.prompt, preset.id)
    assert (generation.persona, generation.attributes) == (persona, attributes)
    assert disposable.send("GetPreset", {}).preset.usage_count == preset.usage_count + 1


def test_a_refused_generation_does_not_change_popularity(owner: Owner) -> None:
    before = owner.stored()
    preset, example = owner.send("GetPreset", {}), owner.send("GetPersonaExample", {})

    for changes in (
        {"preset_id": "PRESET", "persona_example_id": str(uuid.uuid4())},
        {"preset_id": str(uuid.uuid4()), "persona_example_id": "EXAMPLE"},
        {"preset_id": "PRESET", "persona_example_id": "EXAMPLE", "project_id": str(uuid.uuid4())},
    ):
        answer = refusal(lambda: owner.send("CreateGeneration", changes))  # noqa: B023 - called at once
        assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")

    assert (owner.send("GetPreset", {}), owner.send("GetPersonaExample", {})) == (preset, example)
    assert owner.stored() == before


@pytest.mark.parametrize(
    ("rpc", "path", "kind"),
    [
        ("GetAvatar", "avatar_id", "avatar"),
        ("UpdateAvatar", "avatar.id", "avatar"),
        ("DeleteAvatar", "avatar_id", "avatar"),
        ("DownloadImage", "avatar_id", "avatar"),
        ("RecordUsage", "avatar_id", "avatar"),
        ("ListUsage", "avatar_id", "avatar"),
        ("SummarizeUsage", "avatar_id", "avatar"),
        ("RetryGeneration", "generation_id", "generation"),
        ("GetPreset", "preset_id", "preset"),
        ("GetPersonaExample", "persona_example_id", "persona example"),
    ],
)
@pytest.mark.parametrize("unknown", ["00000000-0000-7000-8000-000000000000", "../x", "%", "' OR 1=1; --"])
def test_an_unknown_id_is_not_found(owner: Owner, rpc: str, path: str, kind: str, unknown: str) -> None:
    before = owner.stored()
    answer = refusal(lambda: owner.send(rpc, {path: unknown}))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert answer.resource == (kind, unknown)
    assert owner.stored() == before


def test_the_error_names_the_first_unknown_generation_of_a_hundred_targets(owner: Owner) -> None:
    targets = [{"generation_id": "GENERATION"}, *({"generation_id": f"id {n}"} for n in range(99))]

    answer = refusal(lambda: owner.send("WatchGenerations", {"targets.targets": targets}))

    assert (answer.code, answer.resource) == (grpc.StatusCode.NOT_FOUND, ("generation", "id 0"))


def test_a_completed_generation_is_not_retried(owner: Owner) -> None:
    before = owner.stored()
    answer = refusal(lambda: owner.send("RetryGeneration", {"generation_id": "GENERATION"}))

    assert (answer.code, answer.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "GENERATION_NOT_RETRYABLE",
    )
    assert answer.metadata == {"state": "COMPLETED"}
    assert owner.stored() == before


def test_a_project_can_be_watched_from_a_future_time(disposable: Owner) -> None:
    """Check that the watch sends changes from now on, even if `changed_since` is far in the future."""
    watch = disposable.send(
        "WatchGenerations", {"targets": None, "project_id": "PROJECT", "changed_since.seconds": 253402300799}
    )
    received: list[str] = []

    def listen() -> None:
        with contextlib.suppress(grpc.RpcError):
            received.extend(message.generation.id for message in watch)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    created: list[str] = []

    def first_received() -> bool:
        # A generation that ended before the watch began is not sent, so the test creates one after another.
        created.append(disposable.calls.create_cancelled(disposable.ids["PROJECT"]).id)
        return bool(received)

    wait_until(first_received)
    watch.cancel()
    listener.join(TIMEOUT_SECONDS)
    assert not listener.is_alive()

    assert set(received) <= set(created)


def test_a_time_before_the_year_1000_is_before_every_generation(owner: Owner) -> None:
    year_300 = int(datetime(300, 1, 1, tzinfo=UTC).timestamp())

    since = owner.send("ListGenerations", {"create_time_from.seconds": year_300}).generations
    until = owner.send("ListGenerations", {"create_time_to.seconds": year_300}).generations

    assert owner.ids["GENERATION"] in [generation.id for generation in since]
    assert list(until) == []


@ONE_STACK
@pytest.mark.parametrize(
    "changes", [{"avatar_name": "   "}, {"persona.name": "   "}], ids=["name", "persona"]
)
def test_a_generated_avatar_never_has_a_blank_name(disposable: Owner, changes: Fields) -> None:
    """Check that a blank name is refused, or that the avatar gets another name."""
    try:
        name = disposable.send("CreateGeneration", changes).generation.avatar_name
    except grpc.RpcError as error:
        refused = refusal_of(error)
    else:
        assert name.strip()
        return

    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, list(changes))


# Deeply nested metadata


def length_delimited(number: int, content: bytes) -> bytes:
    """Encode a field of type string, bytes or message."""
    length, remaining = bytearray(), len(content)
    while remaining > 127:
        length.append(remaining & 127 | 128)
        remaining >>= 7
    return bytes([number << 3 | 2, *length, remaining]) + content


def nested(structs: int, lists: int) -> bytes:
    """Encode a `Struct` with this many structs nested in it, and this many lists nested in the innermost."""
    value = length_delimited(3, b"innermost")
    for _ in range(lists):
        value = length_delimited(6, length_delimited(1, value))
    for level in range(structs + 1):
        content = length_delimited(1, length_delimited(1, b"a") + length_delimited(2, value))
        value = content if level == structs else length_delimited(5, content)
    return value


@ONE_STACK
@pytest.mark.parametrize("structs", [0, 1, 2, 3])
def test_metadata_over_20_levels_is_refused_and_up_to_20_levels_is_readable(
    disposable: Owner, structs: int
) -> None:
    """Check all depths. Decoders read up to 100 nested messages, so deeper metadata cannot be decoded."""
    calls = disposable.calls
    record: Callable[..., bytes] = calls.channel.unary_unary("/avatar_creator.v1.UsageService/RecordUsage")
    accepted, unreadable = [], []
    for lists in range(10, 55):
        request = usage_pb.RecordUsageRequest(avatar_id=disposable.ids["AVATAR"], app_id="deep", action="dig")
        sent = request.SerializeToString() + length_delimited(7, nested(structs, lists))
        try:
            answered = record(sent, metadata=calls.metadata, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            refused = refusal_of(error)
            assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
            assert refused.fields in (["request"], ["metadata"])
            continue
        accepted.append(lists)
        try:
            usage_pb.RecordUsageResponse.FromString(answered)
        except DecodeError:
            unreadable.append(lists)

    assert accepted == list(range(10, 20 - structs))
    assert unreadable == []
    assert len(disposable.send("ListUsage", {"page_size": 100}).usages) == len(accepted) + 1


# The id of another user, which only operators may name


@ONE_STACK
@pytest.mark.parametrize("rpc", ["ListProjects", "ListAvatars", "ListGenerations", "GetStats"])
@pytest.mark.parametrize("role", [None, "", "OPS", "admin", ["ops"], True])
def test_only_an_operator_may_name_another_user(owner: Owner, user: str, rpc: str, role: object) -> None:
    before = owner.stored()
    deployment = owner.deployment
    claims = {} if role is None else {"role": role}
    with Calls(deployment.target, deployment.token(user, **claims)) as calls:
        caller = Owner(deployment, user, calls, {})
        for named in (owner.user, "-", "unknown", "x" * 128):
            answer = refusal(lambda: caller.send(rpc, {"user_id": named}))  # noqa: B023 - called at once
            assert (answer.code, answer.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED"), named
            assert answer.metadata == {"role": "ops"}
        assert caller.send(rpc, {"user_id": user}) == caller.send(rpc, {})

    assert owner.stored() == before


@ONE_STACK
def test_the_token_of_an_app_records_uses_of_that_app_only(owner: Owner) -> None:
    before = owner.stored()
    deployment = owner.deployment
    token = deployment.token(owner.user, app_id="video-generator")
    with Calls(deployment.target, token) as calls:
        caller = Owner(deployment, owner.user, calls, owner.ids)
        answer = refusal(lambda: caller.send("RecordUsage", {"app_id": "pose-generator"}))

    assert (answer.code, answer.reason) == (grpc.StatusCode.PERMISSION_DENIED, "APP_MISMATCH")
    assert answer.metadata == {"token_app_id": "video-generator", "request_app_id": "pose-generator"}
    assert owner.stored() == before


# Page sizes and tokens


def test_page_size_has_a_default_and_a_maximum(calls: Calls) -> None:
    for number in range(101):
        calls.create_project(f"Project {number}")

    def page(size: int) -> projects_pb.ListProjectsResponse:
        return calls.projects.ListProjects(projects_pb.ListProjectsRequest(page_size=size))

    assert [len(page(size).projects) for size in (0, 1, 100, 101, 500)] == [20, 1, 100, 100, 100]
    assert page(500).next_page_token


@dataclass(frozen=True)
class PagedList:
    """An RPC that lists, and arguments that select another list."""

    rpc: str
    other_arguments: list[Fields]


PAGED = [
    PagedList("ListProjects", []),
    PagedList(
        "ListAvatars",
        [
            {"project_id": "PROJECT"},
            {"source_types": [1]},
            {"gender": 1},
            {"age_range": 1},
            {"ethnicity": "asian"},
            {"style": 1},
            {"query": "sarah"},
            {"order": 2},
        ],
    ),
    PagedList(
        "ListGenerations",
        [
            {"project_id": "PROJECT"},
            {"states": [1]},
            {"create_time_from.seconds": 1},
            {"create_time_to.seconds": 4_000_000_000},
        ],
    ),
    PagedList(
        "ListUsage",
        [{"avatar_id": "OTHER_AVATAR"}, {"app_id": "pose-generator"}, {"action": "generate_poses"}],
    ),
    PagedList("ListPresets", [{"category": "business"}, {"query": "a"}]),
    PagedList("ListPersonaExamples", [{"category": "business"}]),
]


@pytest.fixture(scope="module")
def pager(shared_deployment: Deployment) -> Iterator[Owner]:
    """An owner with two resources in every list."""
    user = f"pager-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        pager = _create_owner(shared_deployment, user, calls)
        calls.create_project()
        pager.ids["OTHER_AVATAR"] = calls.upload(pager.ids["PROJECT"], pictures.png()).id
        for avatar in ("AVATAR", "OTHER_AVATAR"):
            calls.record_usage(pager.ids[avatar])
        calls.wait_for_end(calls.create_generation(pager.ids["PROJECT"]).id)
        yield pager


@pytest.mark.parametrize("listing", PAGED, ids=[listing.rpc for listing in PAGED])
def test_a_page_token_is_valid_only_for_its_list_and_its_user(
    pager: Owner, owner: Owner, listing: PagedList
) -> None:
    token = pager.send(listing.rpc, {"page_size": 1}).next_page_token
    others = {
        other.rpc: pager.send(other.rpc, {"page_size": 1}).next_page_token
        for other in PAGED
        if other is not listing
    }
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    attempts: dict[str, tuple[Owner, Fields]] = {
        **{
            repr(bad): (pager, {"page_token": bad})
            for bad in (
                "garbage",
                "*",
                "é",
                "\0",
                "e30",
                token[:-1],
                token[:10],
                flipped,
                token + "AAAA",
                token * 2,
            )
        },
        "another user": (owner, {"page_token": token}),
        **{f"a token of {rpc}": (pager, {"page_token": other}) for rpc, other in others.items()},
        **{
            f"other arguments {arguments}": (pager, {"page_token": token, **arguments})
            for arguments in listing.other_arguments
        },
    }

    answers = {
        case: refusal(lambda sender=sender, changes=changes: sender.send(listing.rpc, changes))  # type: ignore[misc]
        for case, (sender, changes) in attempts.items()
    }

    expected = (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", ["page_token"])
    assert {
        case: (answer.code, answer.reason, answer.fields) for case, answer in answers.items()
    } == dict.fromkeys(attempts, expected)
    assert pager.send(listing.rpc, {"page_token": token})


# Update masks


def updated(calls: Calls, project: AvatarProject, *paths: str, **values: str) -> AvatarProject:
    request = projects_pb.UpdateProjectRequest(
        project=AvatarProject(id=project.id, **values),  # type: ignore[arg-type]
        update_mask=FieldMask(paths=paths),
    )
    answer = calls.projects.UpdateProject(request).project
    assert calls.projects.GetProject(projects_pb.GetProjectRequest(project_id=project.id)).project == answer
    return answer


@pytest.mark.parametrize(
    ("paths", "values", "expected"),
    [
        ((), {"name": "Autumn"}, ("Autumn", "Faces")),
        ((), {"description": "New"}, ("Spring", "New")),
        ((), {"name": "Autumn", "description": "New"}, ("Autumn", "New")),
        ((), {}, ("Spring", "Faces")),
        (("name",), {"name": "Autumn", "description": "New"}, ("Autumn", "Faces")),
        (("description",), {"name": "Autumn", "description": "New"}, ("Spring", "New")),
        (("description",), {}, ("Spring", "")),
        (("name", "description"), {"name": "Autumn"}, ("Autumn", "")),
        (("*",), {"name": "Autumn"}, ("Autumn", "")),
    ],
)
def test_an_update_writes_the_fields_of_the_mask_or_the_populated_ones(
    calls: Calls, paths: tuple[str, ...], values: dict[str, str], expected: tuple[str, str]
) -> None:
    request = projects_pb.CreateProjectRequest(name="Spring", description="Faces")
    project = calls.projects.CreateProject(request).project

    answer = updated(calls, project, *paths, **values)

    assert (answer.name, answer.description) == expected
    assert answer.create_time == project.create_time
    changed = expected != ("Spring", "Faces")
    assert (_instant(answer) > _instant(project)) == changed


FACE: Fields = {
    "name": "Sarah",
    "persona": {"name": "Sarah", "age": 32, "personality": ["warm", "calm"], "background": "A life."},
    "attributes": {"gender": 1, "ethnicity": "Indonesian", "style": 2, "headwear": 1},
}


@pytest.mark.parametrize(
    ("paths", "given", "changed"),
    [
        ([], {"name": "Eve"}, {"name": "Eve"}),
        ([], {}, {}),
        ([], {"persona": {}, "attributes": {}}, {}),
        ([], {"persona": {"age": 33}}, {"persona.age": 33}),
        ([], {"persona": {"personality": ["bold"]}}, {"persona.personality": ["bold"]}),
        (
            [],
            {"attributes": {"gender": 2, "hair_style": 5}},
            {"attributes.gender": 2, "attributes.hair_style": 5},
        ),
        (["name"], {"name": "Eve", "persona": {"age": 33}}, {"name": "Eve"}),
        (["persona.age"], {"name": "Eve", "persona": {"name": "Eve", "age": 33}}, {"persona.age": 33}),
        (["persona.age"], {}, {"persona.age": 0}),
        (["persona.personality"], {}, {"persona.personality": []}),
        (["persona"], {"persona": {"age": 33}}, {"persona": {"age": 33}}),
        (["persona"], {"name": "Eve"}, {"persona": {}}),
        (["persona", "persona.age"], {"persona": {"name": "Eve"}}, {"persona": {"name": "Eve"}}),
        (["attributes.gender"], {"attributes": {"gender": 2, "style": 3}}, {"attributes.gender": 2}),
        (["attributes.ethnicity"], {}, {"attributes.ethnicity": ""}),
        (["attributes"], {"attributes": {"style": 3}}, {"attributes": {"style": 3}}),
        (["attributes"], {}, {"attributes": {}}),
        (["*"], {"name": "Eve"}, {"name": "Eve", "persona": {}, "attributes": {}}),
        (
            ["name", "attributes.style", "persona.background"],
            {"name": "Eve", "attributes": {"style": 3, "gender": 2}},
            {"name": "Eve", "attributes.style": 3, "persona.background": ""},
        ),
        # Fields that are not written are not validated.
        (["name"], {"name": "Eve", "persona": {"age": 999, "personality": [""] * 99}}, {"name": "Eve"}),
        (["persona.age"], {"name": "x" * 999, "persona": {"name": "x" * 999}}, {"persona.age": 0}),
        (["attributes.style"], {"attributes": {"gender": 99, "style": 4}}, {"attributes.style": 4}),
        (["name"], {"name": "Eve", "user_id": "x" * 999, "usage_count": -1}, {"name": "Eve"}),
        ([], {"name": "Eve", "user_id": "another", "usage_count": 7, "seed_used": 7}, {"name": "Eve"}),
    ],
    ids=str,
)
def test_an_avatar_update_writes_the_fields_of_the_mask_or_the_populated_ones(
    face: tuple[Calls, str], paths: list[str], given: Fields, changed: Fields
) -> None:
    calls, avatar_id = face
    restore = avatars_pb.UpdateAvatarRequest(avatar={"id": avatar_id, **FACE}, update_mask={"paths": ["*"]})  # type: ignore[arg-type]
    before = calls.avatars.UpdateAvatar(restore).avatar
    expected_fields: Fields = json.loads(json.dumps(FACE))
    for path, value in changed.items():
        *parents, name = path.split(".")
        (expected_fields[parents[0]] if parents else expected_fields)[name] = value
    expected = Avatar()
    expected.CopyFrom(before)
    for name in FACE:
        expected.ClearField(name)  # type: ignore[arg-type]
    expected.MergeFrom(Avatar(**expected_fields))

    answer = calls.avatars.UpdateAvatar(
        avatars_pb.UpdateAvatarRequest(avatar={"id": avatar_id, **given}, update_mask={"paths": paths})  # type: ignore[arg-type]
    ).avatar

    assert calls.avatars.GetAvatar(avatars_pb.GetAvatarRequest(avatar_id=avatar_id)).avatar == answer
    assert (_nanoseconds(answer) > _nanoseconds(before)) == bool(changed)
    expected.update_time.CopyFrom(answer.update_time)
    expected.revision = before.revision + bool(changed)
    # An empty message and an absent message mean the same.
    for avatar in (answer, expected):
        avatar.persona.SetInParent()
        avatar.attributes.SetInParent()
    assert answer == expected


def _nanoseconds(avatar: Avatar) -> int:
    return avatar.update_time.ToNanoseconds()


@pytest.fixture(scope="module")
def face(shared_deployment: Deployment) -> Iterator[tuple[Calls, str]]:
    """Calls of a user, and the id of an avatar that the tests change."""
    with Calls(shared_deployment.target, shared_deployment.token(f"face-{uuid.uuid4().hex}")) as calls:
        avatar = calls.upload(calls.create_project().id, pictures.png())
        wait_until(
            lambda: (
                not calls.avatars.GetAvatar(
                    avatars_pb.GetAvatarRequest(avatar_id=avatar.id)
                ).avatar.thumbnail_pending
            )
        )
        yield calls, avatar.id


@ONE_STACK
def test_fields_outside_the_mask_are_not_validated(disposable: Owner) -> None:
    answer = disposable.send(
        "UpdateProject",
        {"project.name": "Autumn", "project.description": "x" * 2001, "update_mask.paths": ["name"]},
    ).project

    assert (answer.name, answer.description) == ("Autumn", "")


@ONE_STACK
@pytest.mark.parametrize("paths", [("name",), ("*",), ("name", "description")])
def test_a_name_in_the_mask_must_not_be_empty(owner: Owner, paths: tuple[str, ...]) -> None:
    before = owner.stored()
    answer = refusal(
        lambda: owner.send("UpdateProject", {"project.name": "", "update_mask.paths": list(paths)})
    )

    assert answer.fields == ["project.name"]
    assert owner.stored() == before


def _instant(project: AvatarProject) -> datetime:
    return project.update_time.ToDatetime(tzinfo=UTC)
