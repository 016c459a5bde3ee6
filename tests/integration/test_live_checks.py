"""The live checks pass against fakes that behave, and name what differs in others.

They spend nothing unasked.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from avatar_creator_server.model_table import MODELS
from tests.support.child_process import ChildProcess
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.replicate_api import ReplicateFake
from tests.support.service import environment_of

REPOSITORY = Path(__file__).parents[2]
HUGGINGFACE_KEY = "hf_QmVfKxTgLpZrWnYcDsAbEuHjMiOvXtRe"
REPLICATE_TOKEN = "r8_WkPzTbNqYcLxRvHjGmDsFaEuXoIyQtBnKpSdM"
_SECONDS = 60.0

UNSAFE = Behavior(run_seconds=0, nsfw=True)
INSTANT = Behavior(run_seconds=0)


@contextmanager
def hub(*, without: str = "") -> Iterator[str]:
    """Serve the public mapping of the hub, of all apps except one."""
    apps = [
        app.name
        for model in MODELS
        if "fal-ai" in model.hosted
        for hosted in (model.hosted["fal-ai"],)
        for app in (hosted.text, hosted.text_lora, hosted.reference, hosted.reference_lora)
        if app is not None and app.name != without
    ]
    mapping = {"text-to-image": {f"x/{app}": {"providerId": app, "status": "live"} for app in apps}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_asked = self.path == "/api/partners/fal-ai/models?status=live"
            body = json.dumps(mapping if is_asked else {"error": "not found"}).encode()
            self.send_response(200 if is_asked else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(answer: str | None, **environment: str) -> tuple[int, str]:
    """Run the checks with this answer typed in a terminal; None runs them without a terminal.

    Returns:
        The exit code and the output.
    """
    ours, theirs = pty.openpty()
    try:
        if answer is not None:
            os.write(ours, f"{answer}\n".encode())
        with ChildProcess(
            [sys.executable, "-m", "tests.live"],
            directory=REPOSITORY,
            environment=environment_of(environment),
            stdin=subprocess.DEVNULL if answer is None else theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as checks:
            output, _ = checks.communicate(timeout=_SECONDS)
    finally:
        os.close(ours)
        os.close(theirs)
    return checks.returncode, output


def run_with_hugging_face(router: RouterFake, hub_url: str) -> tuple[int, str]:
    """Run the checks of Hugging Face against the fake."""
    return run(
        "yes",
        HUGGINGFACE_API_KEY=HUGGINGFACE_KEY,
        HUGGINGFACE_BASE_URL=router.url,
        HUGGINGFACE_HUB_URL=hub_url,
    )


def test_nothing_runs_without_a_key() -> None:
    code, output = run("yes")

    assert code == 2
    assert "Set HUGGINGFACE_API_KEY or REPLICATE_API_TOKEN" in output


@pytest.mark.parametrize("answer", [None, "y", "no", ""])
def test_nothing_is_spent_without_a_typed_yes(router: RouterFake, answer: str | None) -> None:
    code, output = run(answer, HUGGINGFACE_API_KEY=HUGGINGFACE_KEY, HUGGINGFACE_BASE_URL=router.url)

    assert code == 2
    assert "The greatest total price is $0." in output
    assert "nothing was done" in output.lower()
    assert {name for name, count in router.counters().items() if count} == set()
    assert HUGGINGFACE_KEY not in output


def test_the_checks_of_hugging_face_pass_against_the_fake(router: RouterFake) -> None:
    router.know_tokens(HUGGINGFACE_KEY)
    router.behave(INSTANT, UNSAFE, always=INSTANT)
    with hub() as url:
        code, output = run_with_hugging_face(router, url)

    assert (code, "Differences from the fakes: none" in output) == (0, True), output
    # The fake's answer to the wrong key.
    assert "401" in output
    assert HUGGINGFACE_KEY not in output


def test_the_checks_of_hugging_face_name_what_differs(router: RouterFake) -> None:
    router.know_tokens(HUGGINGFACE_KEY)
    lost = Behavior(run_seconds=0, faults=(Fault(stage="result", status=422),))
    router.behave(
        lost,
        always=Behavior(run_seconds=0, faults=(Fault(stage="cancel", status=404, body="<html>"),)),
    )
    with hub(without="fal-ai/flux/schnell") as url:
        code, output = run_with_hugging_face(router, url)

    assert code == 1
    for difference in (
        "the first process: expected a picture, seen PROVIDER_CONTENT_REFUSED",
        "a prompt for nudity: expected PROVIDER_NSFW or PROVIDER_CONTENT_REFUSED, seen a picture",
        "fal-ai/flux/schnell in the mapping: expected yes, seen no",
        "the router's answer to PUT …/cancel",
        "Refusals and rate limits that came:",
    ):
        assert difference in output


def test_the_checks_of_replicate_pass_against_the_fake(replicate_api: ReplicateFake) -> None:
    replicate_api.know_tokens(REPLICATE_TOKEN)
    replicate_api.behave(INSTANT, UNSAFE, always=INSTANT)
    code, output = run("yes", REPLICATE_API_TOKEN=REPLICATE_TOKEN, REPLICATE_BASE_URL=replicate_api.url)

    assert (code, "Differences from the fakes: none" in output) == (0, True), output
    assert REPLICATE_TOKEN not in output


def test_the_checks_of_replicate_name_what_differs(replicate_api: ReplicateFake) -> None:
    replicate_api.know_tokens(REPLICATE_TOKEN)
    busy = Fault(stage="cancel", status=409, retry_after=3)
    replicate_api.behave(always=Behavior(run_seconds=0, faults=(busy,)))
    code, output = run("yes", REPLICATE_API_TOKEN=REPLICATE_TOKEN, REPLICATE_BASE_URL=replicate_api.url)

    assert code == 1
    assert "a prompt for nudity: expected PROVIDER_NSFW" in output
    assert "-> 409; retry-after: 3" in output
