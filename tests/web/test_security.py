"""The web port against those who want more than they may: headers, hosts, paths, and other users' ids."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from avatar_creator import AvatarCreator
from tests import pictures
from tests.contract.calls import rows_of
from tests.support.presence import present
from tests.support.raw_http import HttpAnswer, call, exchange, request
from tests.support.service import Deployment

PICTURE = pictures.png(pictures.scene())


@pytest.fixture
def address(shared_deployment: Deployment) -> str:
    """The address of the web port, `host:port`."""
    return shared_deployment.web_target


def path_of(link: str) -> str:
    """Return the path and query of a link."""
    return link.partition(urlsplit(link).netloc)[2]


@pytest.fixture
def picture_path(shared_client: AvatarCreator) -> str:
    """The signed path of a picture of `user`."""
    project = shared_client.projects.create("Spring campaign")
    avatar = shared_client.avatars.upload(project, PICTURE, name="Sarah")
    return path_of(present(shared_client.avatars.get(avatar, include_links=True).image_url))


ANSWERS: dict[str, tuple[int, Callable[[str, str, str], HttpAnswer]]] = {
    "the page": (200, lambda at, *_: request(at, "/")),
    "an address of the page": (200, lambda at, *_: request(at, "/projects/x")),
    "facts for the page": (200, lambda at, *_: request(at, "/page.json")),
    "a missing file": (404, lambda at, *_: request(at, "/assets/missing.js")),
    "a picture": (200, lambda at, _, picture: request(at, picture)),
    "the head of a picture": (200, lambda at, _, picture: request(at, picture, method="HEAD")),
    "a part": (206, lambda at, _, picture: request(at, picture, headers={"range": "bytes=0-9"})),
    "no such part": (416, lambda at, _, picture: request(at, picture, headers={"range": "bytes=9999999-"})),
    "a refused picture": (
        403,
        lambda at, _, picture: request(at, picture.replace("signature=", "signature=x")),
    ),
    "a call": (200, lambda at, token, _: call(at, "AvatarProjectService.ListProjects", {}, token)),
}
"""Kinds of answers with a handler behind them: the status, and the request."""


@pytest.mark.parametrize(("status", "ask"), ANSWERS.values(), ids=list(ANSWERS))
def test_every_answer_has_the_security_headers_and_sets_no_cookie(
    shared_deployment: Deployment,
    address: str,
    user: str,
    picture_path: str,
    status: int,
    ask: Callable[[str, str, str], HttpAnswer],
) -> None:
    answer = ask(address, shared_deployment.token(user), picture_path)

    assert answer.status == status
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert {"set-cookie", "server", "x-powered-by", "access-control-allow-origin"}.isdisjoint(answer.headers)


@pytest.mark.parametrize(
    "sent",
    [b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"],
    ids=["no version", "two hosts"],
)
def test_bytes_that_are_no_request_get_an_error_without_details(address: str, sent: bytes) -> None:
    head, _, body = exchange(address, sent).partition(b"\r\n\r\n")

    assert head.split(b" ")[1] == b"400"
    assert b"Traceback" not in body
    assert b"server:" not in head.lower()


OUTSIDE = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/assets/../../door.py",
    "/assets/%2e%2e%2f%2e%2e%2fdoor.py",
    "/assets/..%5c..%5cdoor.py",
    "/assets//etc/passwd",
    "//etc/passwd",
    "/etc/passwd%00.js",
    "/__init__.py",
    "/pictures/../door.py",
    "/pictures/%2e%2e%2f%2e%2e%2fetc%2fpasswd/original",
]
"""Paths that would lead out of the folder of the page, if they were paths of files."""


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_path_leads_out_of_the_folder_of_the_page(address: str, path: str) -> None:
    page = request(address, "/").body

    answer = request(address, path)

    # A path without a dot is one of the page, which then says that it does not exist.
    assert answer.status in (403, 404) or answer.body == page
    assert b"root:" not in answer.body
    assert b"import " not in answer.body


ABOUT_ANOTHER_USER: dict[str, Callable[[dict[str, str]], Any]] = {
    "AvatarProjectService.GetProject": lambda has: {"projectId": has["project"]},
    "AvatarProjectService.UpdateProject": lambda has: {"project": {"id": has["project"], "name": "Mine"}},
    "AvatarProjectService.DeleteProject": lambda has: {"projectId": has["project"]},
    "AvatarService.GetAvatar": lambda has: {"avatarId": has["avatar"], "includeLinks": True},
    "AvatarService.ListAvatars": lambda has: {"projectId": has["project"], "includeLinks": True},
    "AvatarService.UpdateAvatar": lambda has: {"avatar": {"id": has["avatar"], "name": "Mine"}},
    "AvatarService.DeleteAvatar": lambda has: {"avatarId": has["avatar"]},
    "GenerationService.CreateGeneration": lambda has: {"projectId": has["project"], "prompt": "a portrait"},
    "GenerationService.GetGeneration": lambda has: {"generationId": has["generation"]},
    "GenerationService.ListGenerations": lambda has: {"projectId": has["project"]},
    "GenerationService.CancelGeneration": lambda has: {"generationId": has["generation"]},
    "GenerationService.RetryGeneration": lambda has: {"generationId": has["generation"]},
    "UsageService.RecordUsage": lambda has: {"avatarId": has["avatar"], "appId": "spy", "action": "look"},
    "UsageService.ListUsage": lambda has: {"avatarId": has["avatar"]},
    "UsageService.SummarizeUsage": lambda has: {"avatarId": has["avatar"]},
}
"""Calls of the page that name a resource, with a request that does so."""


def test_no_call_of_the_page_finds_or_changes_what_belongs_to_another_user(
    shared_deployment: Deployment, shared_client: AvatarCreator, address: str, user: str
) -> None:
    project = shared_client.projects.create("Spring campaign")
    avatar = shared_client.avatars.upload(project, PICTURE, name="Sarah")
    generation = shared_client.generations.create(project, "a portrait", width=256, height=256)
    generation.wait()
    theirs = {"project": project.id, "avatar": avatar.id, "generation": generation.id}
    missing = {kind: str(uuid.uuid4()) for kind in theirs}
    before = rows_of(shared_deployment, user)
    stranger = shared_deployment.token(f"{user}-stranger")

    for rpc, body in ABOUT_ANOTHER_USER.items():
        answers = [call(address, rpc, body(ids), stranger) for ids in (theirs, missing)]

        assert [answer.code for answer in answers] == ["not_found", "not_found"], rpc
        # The answers must not say which of the two exists.
        assert _without_ids(answers[0], theirs) == _without_ids(answers[1], missing), rpc

    batch = call(address, "AvatarService.BatchGetAvatars", {"avatarIds": [avatar.id]}, stranger)
    assert json.loads(batch.body).get("avatars", []) == []
    assert rows_of(shared_deployment, user) == before


def _without_ids(answer: HttpAnswer, ids: dict[str, str]) -> Any:
    """Return an answer without what names the resource. The details also have it, in base64."""
    sent = json.loads(answer.body)
    text = json.dumps({**sent, "details": [detail["type"] for detail in sent["details"]]})
    for value in ids.values():
        text = text.replace(value, "")
    return text


def test_the_signature_of_one_picture_opens_no_other(
    shared_client: AvatarCreator, address: str, picture_path: str
) -> None:
    project = shared_client.projects.create("Another project")
    other = shared_client.avatars.upload(project, PICTURE, name="Another face")
    path, _, query = picture_path.partition("?")
    own = path.split("/")[2]

    for changed in (
        f"/pictures/{other.id}/original?{query}",
        f"/pictures/{own}/thumbnail?{query}",
        f"/pictures/{own}/original?{query}&user={other.id}",
        f"/pictures/{own}/original?{query}&{query}",
        f"/pictures/{own}/../{other.id}/original?{query}",
        f"/pictures/{own}/original/?{query}",
    ):
        assert request(address, changed).status == 403, changed
    assert request(address, picture_path).status == 200
