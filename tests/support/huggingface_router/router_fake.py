"""The fake as a process of a test."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.guarded_process import GuardedProcess
from tests.support.huggingface_router.behaviour import Behavior, Fault
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_REPOSITORY = Path(__file__).parents[3]
_START_SECONDS = 20.0
_START_TRIES = 3
_CALL_SECONDS = 10.0


class RouterFake:
    """A running fake of the router; it can be killed and started again at the same address."""

    def __init__(self) -> None:
        """Start it."""
        self._scratch = Path(tempfile.mkdtemp(prefix="avatar-creator-router-"))
        for tries_left in reversed(range(_START_TRIES)):
            self.port = free_port()
            try:
                self._process = self._start()
                break
            except RuntimeError as error:
                # The port was free a moment ago.
                if not tries_left or "in use" not in str(error):
                    raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def url(self) -> str:
        """What stands for https://router.huggingface.co, and for the address of an Inference Endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def behave(
        self,
        *following: Behavior | Fault,
        always: Behavior | Fault | None = None,
    ) -> None:
        """Say how the submissions to come fare.

        Args:
            following: one each for the next ones, replacing what was said before; a fault alone is one.
            always: all after those; None: as it was.
        """
        said: dict[str, Any] = {"next": [_behaviour(each).to_json() for each in following]}
        if always is not None:
            said["always"] = _behaviour(always).to_json()
        self._call("POST", "/_control/behave", said)

    def outage(self, fault: Fault | None) -> None:
        """Let every request of a provider fail in this way, whatever its job, until told None."""
        self._call("POST", "/_control/behave", {"outage": asdict(fault) if fault else None})

    def know_tokens(self, *tokens: str) -> None:
        """Let only these tokens be right; none named: all that begin with `hf_`."""
        self._call("POST", "/_control/behave", {"tokens": list(tokens) or None})

    def submissions(self) -> list[dict[str, Any]]:
        """Every submission since the last reset, oldest first; see `Submission.to_json`."""
        listed: list[dict[str, Any]] = self._call("GET", "/_control/submissions")["submissions"]
        return listed

    def counters(self) -> dict[str, int]:
        """How many requests of each kind came in, and how many jobs were accepted and cancelled."""
        counted: dict[str, int] = self._call("GET", "/_control/submissions")["counters"]
        return counted

    def wait_until_polled(self, number: int = 1) -> None:
        """Wait until so many submissions are being asked about.

        Raises:
            TimeoutError: they are not within 20 s.
        """
        wait_until(lambda: sum(bool(each["polls"]) for each in self.submissions()) >= number, 20.0)

    @property
    def count(self) -> int:
        """How many submissions came in, accepted or not."""
        return self.counters()["submissions"]

    def finish(self, request_id: str | None = None) -> None:
        """Complete the job of this id now, or all of them.

        Raises:
            ValueError: there is none.
        """
        if not self._call("POST", "/_control/finish", {"request_id": request_id})["finished"]:
            raise ValueError(f"no job {request_id or ''}".rstrip())

    def reset(self) -> None:
        """Forget every submission and everything that was asked of it."""
        self._call("POST", "/_control/reset")

    def make_ready(self) -> None:
        """Reset it, started again or resumed if a test left it killed or suspended."""
        self.resume()
        if self._process.exit_code() is not None:
            self.restart()
        self.reset()

    def kill(self) -> None:
        """End it without notice (SIGKILL): connections are refused."""
        self._process.kill()

    def restart(self) -> None:
        """Start it again at the same address, after `kill`; it knows no job of before."""
        self._process = self._start()

    def suspend(self) -> None:
        """Freeze it: connections open and nothing answers."""
        self._process.suspend()

    def resume(self) -> None:
        """Let it go on after `suspend`."""
        self._process.resume()

    def close(self) -> None:
        """End it."""
        self._process.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> GuardedProcess:
        process = GuardedProcess(
            [sys.executable, "-m", "tests.support.huggingface_router", "--port", str(self.port)],
            log=self._scratch / "log",
            directory=_REPOSITORY,
            environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(_REPOSITORY)},
            scratch=self._scratch,
        )

        def answers() -> bool:
            if (code := process.exit_code()) is not None:
                raise RuntimeError(f"the router's fake ended with {code}:\n{process.output()}")
            try:
                self._call("GET", "/_control/submissions")
            except OSError:
                return False
            return True

        wait_until(answers, _START_SECONDS, lambda: f"the router's fake never answered:\n{process.output()}")
        return process

    def _call(self, method: str, path: str, said: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_CALL_SECONDS)
        try:
            body = None if said is None else json.dumps(said)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            heard = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise ValueError(heard["error"])
        return heard


def _behaviour(said: Behavior | Fault) -> Behavior:
    return said if isinstance(said, Behavior) else Behavior(faults=(said,))
