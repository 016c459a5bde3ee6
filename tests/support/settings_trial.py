"""Tries settings: runs `serve`, `worker` and `doctor` with each, in one process, because starts take time.

Run as `python -m tests.support.settings_trial`, by `try_settings`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.command_tree import build_commands_once
from tests.support.service import run_module

COMMANDS = ("serve", "worker", "doctor")

_READY = re.compile(r'"event": "(?:server|worker)_ready"')
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.01
_TRIAL_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Trial:
    """The end of one command."""

    code: int
    ready: bool
    """True if a server answered a health check, or a worker was ready. It was stopped then."""
    output: str
    errors: str


def try_settings(trials: Sequence[tuple[Mapping[str, str], Path]]) -> list[dict[str, Trial]]:
    """Run each command with each settings, in their directory. Return the ends by command."""
    finished = run_module(
        "tests.support.settings_trial",
        timeout=_TRIAL_SECONDS,
        input=json.dumps([(dict(settings), str(directory)) for settings, directory in trials]),
    )
    finished.check_returncode()
    return [
        {command: Trial(*ended) for command, ended in json.loads(line).items()}
        for line in finished.stdout.splitlines()
    ]


class _StopWhenReady:
    """Sends SIGTERM to this process when the command that it runs is ready."""

    def __init__(self, errors: io.StringIO) -> None:
        self.ready = False
        self._errors = errors
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _StopWhenReady:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            logged = self._errors.getvalue()
            if _READY.search(logged):
                self.ready = self._answers(logged)
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _answers(self, logged: str) -> bool:
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        entries = [json.loads(line) for line in logged.splitlines() if '"server_ready"' in line]
        if not entries:
            return True
        entry = entries[0]
        host = entry["address"].rpartition(":")[0]
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"{host}:{entry['port']}", options) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_ANSWER_SECONDS, wait_for_ready=True
            )
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _run(command: str, settings: Mapping[str, str], directory: str) -> tuple[int, bool, str, str]:
    from avatar_creator_server.cli import main

    sys.argv[1:] = [command]
    passed_on = dict(os.environ)
    os.environ.update(settings)
    os.chdir(directory)
    output, errors, code = io.StringIO(), io.StringIO(), 0
    try:
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
            _StopWhenReady(errors) as watch,
        ):
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        os.environ.clear()
        os.environ.update(passed_on)
    return code, watch.ready, output.getvalue(), errors.getvalue()


def _main() -> None:
    # gRPC reads this once, when it is imported, as the program does before.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    build_commands_once()
    trials: list[tuple[dict[str, str], str]] = json.load(sys.stdin)
    for settings, directory in trials:
        ends = {command: _run(command, settings, directory) for command in COMMANDS}
        print(json.dumps(ends), flush=True)


if __name__ == "__main__":
    _main()
