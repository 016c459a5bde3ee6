"""What breaks the contract is refused by name of the field, and leaves no trace."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1 import avatar_service_pb2 as avatars_pb
from avatar_creator.v1 import generation_service_pb2 as generations_pb
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from tests import pictures
from tests.contract.calls import Calls, refusal, rows_of
from tests.support.service import Deployment

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
    "ListAvatars": (avatars_pb.ListAvatarsRequest, {}),
    "DeleteAvatar": (avatars_pb.DeleteAvatarRequest, {"avatar_id": "AVATAR"}),
    "DownloadImage": (avatars_pb.DownloadImageRequest, {"avatar_id": "AVATAR"}),
    "CreateGeneration": (
        generations_pb.CreateGenerationRequest,
        {"project_id": "PROJECT", "prompt": "a portrait", "options": {"width": 256, "height": 256}},
    ),
    "GetGeneration": (generations_pb.GetGenerationRequest, {"generation_id": "GENERATION"}),
    "ListGenerations": (generations_pb.ListGenerationsRequest, {}),
    "WatchGeneration": (generations_pb.WatchGenerationRequest, {"generation_id": "GENERATION"}),
    "CancelGeneration": (generations_pb.CancelGenerationRequest, {"generation_id": "GENERATION"}),
}
"""A request of each RPC that is accepted as it is; words in capitals stand for ids."""


@dataclass
class Owner:
    """A user who has one of everything, and the rows of it all."""

    deployment: Deployment
    user: str
    calls: Calls
    ids: dict[str, str]
    rows: dict[str, list[Any]] = field(default_factory=dict)

    def send(self, rpc: str, changes: Fields) -> Any:
        """Call an RPC with its basic request, changed in these fields (`persona.age` is a path)."""
        make, base = BASES[rpc]
        fields: Fields = json.loads(json.dumps(base))
        for path, value in changes.items():
            *parents, name = path.split(".")
            inner = fields
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[name] = value
        request: Any = make(**self._with_ids(fields))
        stub = next(
            stub
            for stub in (self.calls.projects, self.calls.avatars, self.calls.generations)
            if hasattr(stub, rpc)
        )
        if rpc == "UploadAvatar":
            return self.calls.avatars.UploadAvatar(
                iter([request, avatars_pb.UploadAvatarRequest(chunk=pictures.png())])
            )
        return getattr(stub, rpc)(request)

    def _with_ids(self, fields: Fields) -> Fields:
        return {
            name: self._with_ids(value)
            if isinstance(value, dict)
            else self.ids.get(value, value)
            if isinstance(value, str)
            else value
            for name, value in fields.items()
        }


@pytest.fixture(scope="module")
def owner(shared_deployment: Deployment) -> Iterator[Owner]:
    """An owner whose things no test may change."""
    user = f"owner-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        yield _furnished(shared_deployment, user, calls)


@pytest.fixture
def disposable(shared_deployment: Deployment, user: str, calls: Calls) -> Owner:
    """An owner of the test's own."""
    return _furnished(shared_deployment, user, calls)


def _furnished(deployment: Deployment, user: str, calls: Calls) -> Owner:
    project = calls.project()
    avatar = calls.upload(project.id, pictures.png())
    generation = calls.ended(calls.generation(project.id).id)
    owner = Owner(
        deployment,
        user,
        calls,
        {"PROJECT": project.id, "AVATAR": avatar.id, "GENERATION": generation.id},
    )
    owner.rows = rows_of(deployment, user)
    return owner


# Limits, and what lies past them

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


def optional_line_limits(path: str, longest: int) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: ""}, {path: "é" * longest}],
        [{path: value} for value in ("x" * (longest + 1), "a\nb", "a\0b", "a\x1bb")],
    )


def text_limits(path: str, longest: int) -> tuple[list[Fields], list[Fields]]:
    return (
        [{path: "é" * longest}, {path: "one\r\ntwo\tthree"}],
        [{path: value} for value in ("x" * (longest + 1), "a\0b", "a\x1bb")],
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


def id_limits(path: str) -> tuple[list[Fields], list[Fields]]:
    return [], [{path: value} for value in ("", " ", "a\0b", "x" * 101)]


def page_size_limits() -> tuple[list[Fields], list[Fields]]:
    return [{"page_size": value} for value in (0, 1, 100, 500, 2**31 - 1)], [
        {"page_size": value} for value in (-1, -(2**31))
    ]


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
            # An empty name is one that is not populated: refused only where a mask names it.
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
            [{"metadata.content_type": value} for value in ("", "image/png")],
            [{"metadata.content_type": value} for value in ("image/gif", "image/PNG", "png", "x" * 1000)],
        ),
    ),
    *persona_and_attributes("UploadAvatar", "metadata."),
    ("GetAvatar", "avatar_id", id_limits("avatar_id")),
    ("ListAvatars", "page_size", page_size_limits()),
    ("ListAvatars", "source_types[1]", ([{"source_types": [1, 4]}], [{"source_types": [1, 5]}])),
    ("ListAvatars", "gender", enum_limits("gender", 3)),
    ("ListAvatars", "age_range", enum_limits("age_range", 6)),
    ("ListAvatars", "style", enum_limits("style", 8)),
    ("ListAvatars", "order", enum_limits("order", 2)),
    ("ListAvatars", "ethnicity", optional_line_limits("ethnicity", 60)),
    ("ListAvatars", "query", optional_line_limits("query", 200)),
    ("ListAvatars", "project_id", ([{"project_id": ""}], [{"project_id": "x" * 101}, {"project_id": "a\0"}])),
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
    *(
        (
            "ListGenerations",
            path,
            (
                [{f"{path}.seconds": value} for value in (-62135596800, 0, 253402300799)],
                [
                    {f"{path}.seconds": -62135596801},
                    {f"{path}.seconds": 253402300800},
                    {f"{path}.seconds": 2**63 - 1},
                    {f"{path}.nanos": -1},
                    {f"{path}.nanos": 1_000_000_000},
                ],
            ),
        )
        for path in ("create_time_from", "create_time_to")
    ),
    ("WatchGeneration", "generation_id", id_limits("generation_id")),
    (
        "WatchGeneration",
        "known_revision",
        ([{"known_revision": 2**63 - 1}], [{"known_revision": -1}, {"known_revision": -(2**63)}]),
    ),
    ("CancelGeneration", "generation_id", id_limits("generation_id")),
]
"""Of each field: what is just accepted, and what is just refused."""


@pytest.mark.parametrize(("rpc", "path", "limits"), LIMITS, ids=[f"{rpc}-{path}" for rpc, path, _ in LIMITS])
def test_past_its_limit_a_field_is_refused_by_its_path_and_nothing_changes(
    owner: Owner, rpc: str, path: str, limits: tuple[list[Fields], list[Fields]]
) -> None:
    _, bad = limits

    for changes in bad:
        answer = refusal(lambda: owner.send(rpc, changes))  # noqa: B023 - called at once

        assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"), changes
        assert answer.domain == "avatar-creator"
        assert answer.fields == [path], changes

    assert rows_of(owner.deployment, owner.user) == owner.rows


@pytest.mark.parametrize(
    ("rpc", "edges"),
    [(rpc, limits[0]) for rpc, _, limits in LIMITS if limits[0]],
    ids=[f"{rpc}-{path}" for rpc, path, limits in LIMITS if limits[0]],
)
def test_at_its_limit_a_field_is_accepted(edges_owner: Owner, rpc: str, edges: list[Fields]) -> None:
    for changes in edges:
        answer = edges_owner.send(rpc, _with_fresh_request_id(changes))
        if isinstance(answer, Iterator):
            assert list(answer), changes
        if isinstance(answer, generations_pb.CreateGenerationResponse):
            # It was accepted, that is all; nobody waits for the picture.
            cancel = generations_pb.CancelGenerationRequest(generation_id=answer.generation.id)
            edges_owner.calls.generations.CancelGeneration(cancel)


@pytest.fixture(scope="module")
def edges_owner(shared_deployment: Deployment) -> Iterator[Owner]:
    """An owner who gets more and more things."""
    user = f"edges-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        yield _furnished(shared_deployment, user, calls)


def _with_fresh_request_id(changes: Fields) -> Fields:
    def fresh(path: str, value: Any) -> Any:
        if not path.endswith("request_id") or not value:
            return value
        return str(uuid.uuid4()).upper() if value.isupper() else str(uuid.uuid4())

    return {path: fresh(path, value) for path, value in changes.items()}


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


@pytest.mark.parametrize(
    ("rpc", "changes", "path"),
    [
        ("CreateGeneration", {"persona.personality": [""] * 2000}, "persona.personality"),
        ("ListGenerations", {"states": [99] * 2000}, "states"),
        ("ListAvatars", {"source_types": [-1] * 2000}, "source_types"),
        ("UpdateProject", {"update_mask.paths": ["x"] * 2000}, "update_mask"),
        ("UpdateProject", {"update_mask.paths": ["é" * 20_000]}, "update_mask"),
    ],
)
def test_a_refusal_fits_into_headers_however_much_is_wrong(
    owner: Owner, rpc: str, changes: Fields, path: str
) -> None:
    """Error details are HTTP/2 headers, of which a client takes 8 KiB."""
    answer = refusal(lambda: owner.send(rpc, changes))

    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert answer.fields[0] == path


def test_update_lists_its_violations_at_once(owner: Owner) -> None:
    changes = {
        "project.id": "",
        "project.name": "x" * 121,
        "project.description": "x" * 2001,
        "update_mask.paths": ["name", "description", "nickname"],
    }

    answer = refusal(lambda: owner.send("UpdateProject", changes))

    assert answer.reason == "INVALID_FIELD"
    assert sorted(answer.fields) == ["project.description", "project.id", "project.name", "update_mask"]


# Things that are not there


@pytest.mark.parametrize(
    ("path", "kind"),
    [("preset_id", "preset"), ("persona_example_id", "persona example"), ("project_id", "project")],
)
def test_a_generation_from_what_is_not_there_is_not_found(owner: Owner, path: str, kind: str) -> None:
    unknown = str(uuid.uuid4())

    answer = refusal(lambda: owner.send("CreateGeneration", {path: unknown, "request_id": str(uuid.uuid4())}))

    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert answer.resource == (kind, unknown)
    assert rows_of(owner.deployment, owner.user) == owner.rows


def test_a_prompt_may_be_empty_with_a_preset_which_fills_what_is_left_out(disposable: Owner) -> None:
    preset = str(uuid.uuid4())
    disposable.deployment.execute(
        "INSERT INTO avatar_presets"
        " (id, name, description, category, prompt, persona, attributes, popularity)"
        " VALUES (%s, 'Chef', '', 'work', 'a cheerful chef', %s, %s, 0)",
        preset,
        json.dumps({"name": "Luca", "age": 40, "personality": ["cheerful"], "background": ""}),
        json.dumps({"gender": "male", "style": "casual"}),
    )

    generation = disposable.send(
        "CreateGeneration", {"prompt": "", "preset_id": preset, "persona.age": 41, "attributes.style": 1}
    ).generation

    assert generation.prompt == "a cheerful chef"
    assert (generation.persona.name, generation.persona.age) == ("Luca", 41)
    assert (generation.attributes.gender, generation.attributes.style) == (2, 1)
    assert generation.preset_id == preset
    (row,) = disposable.deployment.execute("SELECT popularity FROM avatar_presets WHERE id = %s", preset)
    assert row["popularity"] == 1


# Page sizes and tokens


def test_page_sizes_are_defaulted_and_coerced(calls: Calls) -> None:
    for number in range(101):
        calls.project(f"Project {number}")

    def page(size: int) -> projects_pb.ListProjectsResponse:
        return calls.projects.ListProjects(projects_pb.ListProjectsRequest(page_size=size))

    assert [len(page(size).projects) for size in (0, 1, 100, 101, 500)] == [20, 1, 100, 100, 100]
    assert page(500).next_page_token


@dataclass(frozen=True)
class PagedList:
    """An RPC that lists, and arguments that make it another list."""

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
]


@pytest.fixture(scope="module")
def pager(shared_deployment: Deployment) -> Iterator[Owner]:
    """An owner with two of everything that is listed."""
    user = f"pager-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        pager = _furnished(shared_deployment, user, calls)
        calls.project()
        calls.upload(pager.ids["PROJECT"], pictures.png())
        calls.ended(calls.generation(pager.ids["PROJECT"]).id)
        yield pager


@pytest.mark.parametrize("listing", PAGED, ids=[listing.rpc for listing in PAGED])
def test_a_page_token_fits_only_the_list_and_the_user_it_was_made_for(
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
def test_an_update_writes_what_the_mask_says_or_what_is_populated(
    calls: Calls, paths: tuple[str, ...], values: dict[str, str], expected: tuple[str, str]
) -> None:
    request = projects_pb.CreateProjectRequest(name="Spring", description="Faces")
    project = calls.projects.CreateProject(request).project

    answer = updated(calls, project, *paths, **values)

    assert (answer.name, answer.description) == expected
    assert answer.create_time == project.create_time
    changed = expected != ("Spring", "Faces")
    assert (_instant(answer) > _instant(project)) == changed


@pytest.mark.parametrize("paths", [("name",), ("*",), ("name", "description")])
def test_a_masked_name_cannot_be_emptied(owner: Owner, paths: tuple[str, ...]) -> None:
    answer = refusal(
        lambda: owner.send("UpdateProject", {"project.name": "", "update_mask.paths": list(paths)})
    )

    assert answer.fields == ["project.name"]
    assert rows_of(owner.deployment, owner.user) == owner.rows


def _instant(project: AvatarProject) -> datetime:
    return project.update_time.ToDatetime(tzinfo=UTC)
