"""The page and its facts over HTTP, as a browser asks for them before anyone signs in."""

from __future__ import annotations

import json
from importlib.resources import files

import httpx
import pytest

import avatar_creator_server
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread

SIBLINGS = {
    "Pose Generator": "https://poses.example.com/new?avatar={avatar_id}",
    "Café 日本": "http://localhost:3000/{avatar_id}",
}


def get(deployment: Deployment, path: str, **headers: str) -> httpx.Response:
    """Request a path of the web port without a token."""
    url = f"http://{deployment.web_target}{path}"
    return httpx.get(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}, trust_env=False
    )


def test_the_page_learns_what_it_needs(embedded: Deployment) -> None:
    chosen = {"SIBLING_APPS": json.dumps(SIBLINGS), "WEB_ORIGINS": "https://app.example.com"}
    with ServiceInThread.serving(embedded, **chosen):
        answer = get(embedded, "/page.json")
        again = get(embedded, "/page.json", if_none_match=answer.headers["etag"])

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.json() == {
        "version": avatar_creator_server.__version__,
        "origins": ["https://app.example.com"],
        "sibling_apps": [{"name": name, "url": url} for name, url in SIBLINGS.items()],
        "languages": ["en", "id"],
        "upload": {
            "max_bytes": 10 * 1024 * 1024,
            "content_types": ["image/jpeg", "image/png", "image/webp"],
            "max_chunk_bytes": 1024 * 1024 - 1,
        },
    }
    assert (again.status_code, again.content) == (304, b"")


def test_without_settings_there_are_no_apps_and_no_origins(shared_deployment: Deployment) -> None:
    facts = get(shared_deployment, "/page.json").json()

    assert (facts["origins"], facts["sibling_apps"]) == ([], [])


@pytest.mark.parametrize("path", ["/", "/projects/01a204d8-05a5-7495-bb1b-5f38ae8f7b43"])
def test_the_page_is_there_if_it_was_built(shared_deployment: Deployment, path: str) -> None:
    index = files("avatar_creator_server.web").joinpath("page", "index.html")

    answer = get(shared_deployment, path)

    if index.is_file():
        assert (answer.status_code, answer.content) == (200, index.read_bytes())
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
    else:
        assert (answer.status_code, answer.text) == (404, "Not found.\n")
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/assets/..%2f..%2fdoor.py", "/%2e%2e/door.py", "/page/index.html", "/.env"],
)
def test_no_other_file_is_there(shared_deployment: Deployment, path: str) -> None:
    answer = get(shared_deployment, path)

    assert (answer.status_code, answer.text) == (404, "Not found.\n")
