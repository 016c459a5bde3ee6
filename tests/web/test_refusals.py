"""Requests that are no call of the web port: the answer says why, and nothing is logged as a defect."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from tests.support import raw_http
from tests.support.service import Deployment

_LIST = "/avatar_creator.v1.AvatarProjectService/ListProjects"
_WATCH = "/avatar_creator.v1.GenerationService/WatchGenerations"
_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("shared_deployment", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        ("/healthz", _JSON, HTTPStatus.NOT_FOUND, "/<package>.<Service>/<Method>"),
        ("/avatar_creator.v1.AvatarProjectService/Missing", _JSON, HTTPStatus.NOT_FOUND, "no such call"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", _JSON, HTTPStatus.NOT_FOUND, "no such"),
        (_LIST, {}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json"),
        (_LIST, {"content-type": "text/plain"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json"),
        (_LIST, {"content-type": "application/grpc"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "port of its own"),
        (_LIST, {"content-type": "application/connect+json"}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "proto"),
        (_WATCH, _JSON, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/connect+json"),
        (_LIST, {"content-type": "application/jso\xf1"}, HTTPStatus.BAD_REQUEST, "not ASCII"),
        (_LIST, {**_JSON, "authorization": "Bearer \xff"}, HTTPStatus.BAD_REQUEST, "not ASCII"),
        *(
            (_LIST, {"content-type": "application/grpc-web", "grpc-timeout": each}, 400, "grpc-timeout")
            for each in ("-1S", "999999999S", "5", "S", "5X", "1.5S", "")
        ),
    ],
)
def test_what_is_no_call_is_refused_with_the_reason(
    shared_deployment: Deployment, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    server = shared_deployment.servers[-1]
    failed = server.events("web_request_failed")

    answer = raw_http.request(server.web_target, path, method="POST", headers=headers, body=b"{}")

    assert (answer.status, words in answer.body.decode()) == (status, True), answer
    assert server.events("web_request_failed") == failed
