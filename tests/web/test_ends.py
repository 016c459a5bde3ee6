"""The end of a server: calls in flight finish, watches end as on the gRPC port, and probes say so."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import grpc
import httpx
import pytest

from avatar_creator.v1.avatar_project_service_pb2 import CreateProjectRequest
from avatar_creator.v1.generation_service_pb2 import WatchAll, WatchGenerationsRequest
from tests import pictures
from tests.contract.calls import upload_messages
from tests.support.background import InBackground
from tests.support.ports import free_port
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.web_calls import Outcome, WebCalls, envelope, grpc_outcome, path_of, rpcs

RPCS = rpcs()
_SECONDS = 30.0


class _Upload:
    """An upload whose second part is sent when the test says so."""

    def __init__(self, project_id: str) -> None:
        self.has_begun = False
        self.may_end = False
        self._messages = [
            envelope(message.SerializeToString())
            for message in upload_messages({"project_id": project_id, "name": "Sarah"}, pictures.jpeg())
        ]

    def __iter__(self) -> Iterator[bytes]:
        first, *others = self._messages
        yield first
        self.has_begun = True
        wait_until(lambda: self.may_end, _SECONDS)
        yield from others


def test_a_server_that_ends_lets_calls_finish_and_ends_its_watches(embedded: Deployment, user: str) -> None:
    metrics = f"127.0.0.1:{free_port()}"
    server = embedded.start_server(METRICS_ADDRESS=metrics)
    token = embedded.token(user)
    method, watch = RPCS["WatchGenerations"], WatchGenerationsRequest(all=WatchAll())
    with (
        grpc.insecure_channel(embedded.target) as channel,
        WebCalls(embedded.web_target, token, "connect+proto") as web,
        WebCalls(embedded.web_target) as probe,
    ):
        created = web.call(RPCS["CreateProject"], [CreateProjectRequest(name="Spring")]).answers[0]
        upload = _Upload(created.project.id)
        uploading = InBackground(lambda: _send(web, upload))
        watching = InBackground(lambda: web.call(method, [watch]))
        over_grpc = InBackground(lambda: grpc_outcome(channel, method, [watch], token))
        assert probe.http.get("/readyz").text == "ready\n"
        wait_until(lambda: "avatar_creator_watches 2.0" in _text_of(f"http://{metrics}/metrics"), _SECONDS)
        wait_until(lambda: upload.has_begun, _SECONDS)

        server.send(signal.SIGTERM)

        wait_until(lambda: probe.http.get("/readyz").status_code == 503, _SECONDS)
        assert probe.http.get("/healthz").status_code == 200
        assert web.http.post(path_of(RPCS["ListProjects"]), json={}).status_code == 503
        ended = watching.outcome()
        assert ended.code == "UNAVAILABLE"
        assert ended == over_grpc.outcome()
        upload.may_end = True
        assert uploading.outcome().code == "OK"
    assert server.wait(_SECONDS) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{embedded.web_target}/healthz", trust_env=False)


def _send(web: WebCalls, upload: _Upload) -> Outcome:
    method = RPCS["UploadAvatar"]
    answer = web.http.post(
        path_of(method), content=iter(upload), headers={"content-type": web.content_type(method)}
    )
    return web.outcome(method, answer.content)


def _text_of(url: str) -> str:
    return httpx.get(url, trust_env=False).text
