"""Ctrl-C and SIGTERM end a command at any moment, also while it begins to watch."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.support.child_process import run
from tests.support.service import Deployment, environment_of

SIGNALED_WHILE_A_STREAM_BEGINS = """
import os, sys
import grpc._channel
from avatar_creator_server.cli import main

number = int(sys.argv.pop(1))
start_thread = grpc._channel._run_channel_spin_thread

def signal_and_start_thread(state):
    os.kill(os.getpid(), number)
    start_thread(state)

grpc._channel._run_channel_spin_thread = signal_and_start_thread
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_that_is_signaled_while_grpc_begins_its_stream(
    embedded: Deployment, user: str, tmp_path: Path, number: signal.Signals
) -> None:
    embedded.start_server()
    with embedded.client(user) as client:
        project = client.projects.create("Interrupted").id

    finished = run(
        [
            *(sys.executable, "-c", SIGNALED_WHILE_A_STREAM_BEGINS, str(int(number)), "generations", "watch"),
            *("--project", project, "--target", embedded.target),
        ],
        timeout=20,
        directory=tmp_path,
        environment=environment_of({"AVATAR_CREATOR_TOKEN": embedded.token(user)}),
    )

    assert finished.returncode == 128 + number, finished.stderr
