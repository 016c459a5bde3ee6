"""Every RPC answers on the web port as on the gRPC port: the same results, the same errors and details."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests import pictures
from tests.contract.calls import upload_messages
from tests.support.service import Deployment
from tests.support.web_calls import PROTOCOLS, Outcome, Protocol, WebCalls, grpc_outcome, path_of, rpcs

RPCS = rpcs()


@dataclass
class Ids:
    """Resources that earlier calls have made."""

    user: str
    project: str = ""
    avatar: str = ""
    generation: str = ""
    revision: int = 0
    found: dict[str, str] = field(default_factory=dict)


_Fields = dict[str, Any]

# In this order. Later calls use what earlier ones have made.
USES: dict[str, Callable[[Ids], _Fields]] = {
    "CreateProject": lambda _: {"name": "Spring <b>"},
    "UploadAvatar": lambda ids: {"metadata": {"project_id": ids.project, "name": "Sarah"}},
    "GetProject": lambda ids: {"project_id": ids.project, "include_avatars": True},
    "ListProjects": lambda _: {},
    "UpdateProject": lambda ids: {"project": {"id": ids.project, "name": "Herbst ünd 秋"}},
    "GetAvatar": lambda ids: {"avatar_id": ids.avatar},
    "BatchGetAvatars": lambda ids: {"avatar_ids": [ids.avatar, ids.project], "include_thumbnails": True},
    "ListAvatars": lambda ids: {"project_id": ids.project},
    "UpdateAvatar": lambda ids: {"avatar": {"id": ids.avatar, "name": "Eve"}},
    "DownloadImage": lambda ids: {"avatar_id": ids.avatar},
    "RecordUsage": lambda ids: {"avatar_id": ids.avatar, "app_id": "pose", "action": "draw"},
    "ListUsage": lambda ids: {"avatar_id": ids.avatar},
    "SummarizeUsage": lambda ids: {"avatar_id": ids.avatar},
    "GetStats": lambda _: {},
    "EstimateGeneration": lambda ids: {"generation": {"project_id": ids.project, "prompt": "a face"}},
    "CreateGeneration": lambda ids: {
        "project_id": ids.project,
        "prompt": "a face",
        "options": {"width": 256, "height": 256},
    },
    "WatchGeneration": lambda ids: {"generation_id": ids.generation},
    "WatchGenerations": lambda ids: {"targets": {"targets": [{"generation_id": ids.generation}]}},
    "GetGeneration": lambda ids: {"generation_id": ids.generation},
    "ListGenerations": lambda _: {},
    "ListPresets": lambda _: {},
    "GetPreset": lambda ids: {"preset_id": ids.found["preset"]},
    "ListPersonaExamples": lambda _: {},
    "GetPersonaExample": lambda ids: {"persona_example_id": ids.found["example"]},
    "DeleteAvatar": lambda ids: {"avatar_id": ids.avatar},
    "DeleteProject": lambda ids: {"project_id": ids.project},
}

NOT_ALLOWED: dict[str, Callable[[Ids], _Fields]] = {
    # A generation that has completed cannot be cancelled or tried again.
    "CancelGeneration": lambda ids: {"generation_id": ids.generation},
    "RetryGeneration": lambda ids: {"generation_id": ids.generation},
    "RetryNow": lambda ids: {"generation_id": ids.generation},
    "BulkCancelGenerations": lambda _: {"filter": {}, "dry_run": True},
    "BulkRetryGenerations": lambda _: {"filter": {}, "dry_run": True},
    # Only operators may.
    "ListWorkers": lambda _: {},
    "DrainWorker": lambda _: {"worker_name": "some"},
    "ResumeWorker": lambda _: {"worker_name": "some"},
    "GetQueue": lambda _: {},
    "PauseQueue": lambda _: {"route": "local"},
    "ResumeQueue": lambda _: {"route": "local"},
    "ListUsers": lambda _: {},
    "GetUserLimits": lambda ids: {"user_id": ids.user},
    "SetUserLimits": lambda ids: {"user_id": ids.user, "limits": {"concurrent": 1}},
    "ClearUserLimits": lambda ids: {"user_id": ids.user},
}
"""Calls whose outcome on both ports is the same, mostly an error."""

_READS = ("Get", "List", "BatchGet", "Summarize", "Download", "Estimate")


def protocols_of(deployment: Deployment) -> tuple[Protocol, ...]:
    """Return the protocols to try. None depends on the database, so one is enough for the other stack."""
    return PROTOCOLS if deployment.is_embedded else ("connect+proto",)


@pytest.fixture
def channel(shared_deployment: Deployment) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(shared_deployment.target) as opened:
        yield opened


def test_every_rpc_gives_the_result_that_grpc_gives(
    shared_deployment: Deployment, channel: grpc.Channel, user: str
) -> None:
    assert {*USES, *NOT_ALLOWED} == set(RPCS), "add the new RPC to one of these tables"
    for protocol in protocols_of(shared_deployment):
        ids = Ids(f"{user}-{protocol}")
        token = shared_deployment.token(ids.user)
        with WebCalls(shared_deployment.web_target, token, protocol) as web:
            for name, fields in USES.items():
                method = RPCS[name]
                requests = _requests(method, fields(ids))
                outcome = web.call(method, requests)
                assert outcome.code == "OK", (protocol, name, outcome)
                if name.startswith(_READS):
                    over_grpc = grpc_outcome(channel, method, requests, token)
                    assert _comparable(outcome) == _comparable(over_grpc), (protocol, name)
                _remember(ids, name, outcome)
            for name, fields in NOT_ALLOWED.items():
                method = RPCS[name]
                requests = _requests(method, fields(ids))
                over_grpc = grpc_outcome(channel, method, requests, token)
                assert web.call(method, requests) == over_grpc, (protocol, name)


def test_every_rpc_refuses_an_empty_request_and_a_missing_token_as_grpc_does(
    shared_deployment: Deployment, channel: grpc.Channel, user: str
) -> None:
    token = shared_deployment.token(user)
    for protocol in protocols_of(shared_deployment):
        with (
            WebCalls(shared_deployment.web_target, token, protocol) as web,
            WebCalls(shared_deployment.web_target, "", protocol) as stranger,
        ):
            for name, method in RPCS.items():
                requests = [message_factory.GetMessageClass(method.input_type)()]
                over_grpc = grpc_outcome(channel, method, requests, token)
                assert web.call(method, requests) == over_grpc, (protocol, name)
                refused = stranger.call(method, requests)
                assert refused.code == "UNAUTHENTICATED", (protocol, name)
                assert refused == grpc_outcome(channel, method, requests), (protocol, name)


def _requests(method: MethodDescriptor, fields: _Fields) -> list[Message]:
    if method.client_streaming:
        return list(upload_messages(fields["metadata"], pictures.jpeg()))
    return [message_factory.GetMessageClass(method.input_type)(**fields)]


def _comparable(outcome: Outcome) -> Any:
    return outcome, [answer.SerializeToString(deterministic=True) for answer in outcome.answers]


def _remember(ids: Ids, name: str, outcome: Outcome) -> None:
    match name:
        case "CreateProject":
            ids.project = outcome.answers[0].project.id
        case "UploadAvatar":
            ids.avatar = outcome.answers[0].avatar.id
        case "CreateGeneration":
            ids.generation = outcome.answers[0].generation.id
        case "ListPresets":
            ids.found["preset"] = outcome.answers[0].presets[0].id
        case "ListPersonaExamples":
            ids.found["example"] = outcome.answers[0].persona_examples[0].id


@pytest.mark.parametrize("shared_deployment", ["embedded"], indirect=True)
def test_a_misspelled_value_of_an_enum_is_refused(shared_deployment: Deployment, user: str) -> None:
    with WebCalls(shared_deployment.web_target, shared_deployment.token(user)) as web:

        def listed(body: dict[str, Any]) -> httpx.Response:
            return web.http.post(path_of(RPCS["ListGenerations"]), json=body)

        refused = listed({"states": ["GENERATION_STATE_FAILD"], "from_a_newer_client": 1})
        assert refused.status_code == 400
        assert refused.json()["message"].startswith("states: must be one of ")
        assert listed({"states": ["GENERATION_STATE_FAILED"], "from_a_newer_client": 1}).status_code == 200
        nested = {"generation": {"attributes": {"gender": "GENDER_FEMAL"}}}
        refused = web.http.post(path_of(RPCS["EstimateGeneration"]), json=nested)
        assert "generation.attributes.gender" in refused.json()["message"]
