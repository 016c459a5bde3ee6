"""The fake in its own process, and the methods through which tests steer it."""

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
from tests.support.hosted_fake.behavior import Behavior, Fault
from tests.support.ports import start_on_free_port
from tests.support.waiting import wait_until

_REPOSITORY = Path(__file__).parents[3]
_START_SECONDS = 20.0
_CALL_SECONDS = 10.0


class RunningFake:
    """A running fake of a provider. Tests can kill it and start it again at the same address."""

    module: str
    """The module that runs the fake."""

    def __init__(self) -> None:
        """Start the process."""
        self._scratch = Path(tempfile.mkdtemp(prefix="avatar-creator-fake-"))
        self._process = start_on_free_port(self._start_on)

    def __enter__(self) -> Self:
        """Return the fake."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process."""
        self.close()

    @property
    def url(self) -> str:
        """Address that replaces all those of the provider."""
        return f"http://127.0.0.1:{self.port}"

    def behave(
        self,
        *following: Behavior | Fault,
        always: Behavior | Fault | None = None,
    ) -> None:
        """Set the behavior of future submissions.

        Args:
            following: Behaviors of the next submissions, one each; they replace earlier ones. A fault stands
                for a behavior with only this fault.
            always: Behavior of all later submissions; None keeps the earlier one.
        """
        body: dict[str, Any] = {"next": [_behavior(each).to_json() for each in following]}
        if always is not None:
            body["always"] = _behavior(always).to_json()
        self._call("POST", "/_control/behave", body)

    def outage(self, fault: Fault | None) -> None:
        """Let every request to a provider fail in this way; None ends the outage."""
        self._call("POST", "/_control/behave", {"outage": asdict(fault) if fault else None})

    def know_tokens(self, *tokens: str) -> None:
        """Accept only these tokens; without arguments, accept all with the prefix of the provider."""
        self._call("POST", "/_control/behave", {"tokens": list(tokens) or None})

    def let_pass(self, seconds: float) -> None:
        """Make all submissions this much older."""
        self._call("POST", "/_control/let_pass", {"seconds": seconds})

    def submissions(self) -> list[dict[str, Any]]:
        """Return all submissions since the last reset, oldest first; see `Submission.to_json`."""
        listed: list[dict[str, Any]] = self._call("GET", "/_control/submissions")["submissions"]
        return listed

    def counters(self) -> dict[str, int]:
        """Return the number of requests of each kind, and of accepted and cancelled jobs."""
        counted: dict[str, int] = self._call("GET", "/_control/submissions")["counters"]
        return counted

    def wait_until_polled(self, number: int = 1) -> None:
        """Wait until the status of this many submissions has been requested.

        Raises:
            TimeoutError: 20 s have passed.
        """
        wait_until(lambda: sum(bool(each["polls"]) for each in self.submissions()) >= number, 20.0)

    @property
    def count(self) -> int:
        """Number of received submissions, accepted or not."""
        return self.counters()["submissions"]

    def finish(self, request_id: str | None = None) -> None:
        """Complete the job with this id now, or all jobs for None.

        Raises:
            ValueError: There is no such job.
        """
        if not self._call("POST", "/_control/finish", {"request_id": request_id})["finished"]:
            raise ValueError(f"no job {request_id or ''}".rstrip())

    def reset(self) -> None:
        """Remove all submissions, faults and other settings."""
        self._call("POST", "/_control/reset")

    def make_ready(self) -> None:
        """Reset the fake, after starting or resuming a process that a test has killed or suspended."""
        self.resume()
        if self._process.exit_code() is not None:
            self.restart()
        self.reset()

    def kill(self) -> None:
        """Kill the process (SIGKILL), so that it refuses connections."""
        self._process.kill()

    def restart(self) -> None:
        """Start the process again at the same address, after `kill`. Earlier jobs are lost."""
        self._process = self._start()

    def suspend(self) -> None:
        """Freeze the process, so that connections open but receive no answer."""
        self._process.suspend()

    def resume(self) -> None:
        """Continue after `suspend`."""
        self._process.resume()

    def close(self) -> None:
        """Stop the process and delete its files."""
        self._process.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start_on(self, port: int) -> GuardedProcess:
        self.port = port
        return self._start()

    def _start(self) -> GuardedProcess:
        process = GuardedProcess(
            [sys.executable, "-m", self.module, "--port", str(self.port)],
            log=self._scratch / "log",
            directory=_REPOSITORY,
            environment={"PATH": os.environ["PATH"], "PYTHONPATH": str(_REPOSITORY)},
            scratch=self._scratch,
        )

        def answers() -> bool:
            if (code := process.exit_code()) is not None:
                raise RuntimeError(f"the fake ended with {code}:\n{process.output()}")
            try:
                self._call("GET", "/_control/submissions")
            except OSError:
                return False
            return True

        with process.closed_on_error():
            wait_until(answers, _START_SECONDS, lambda: f"the fake never answered:\n{process.output()}")
        return process

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_CALL_SECONDS)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise ValueError(answer["error"])
        return answer


def _behavior(given: Behavior | Fault) -> Behavior:
    return given if isinstance(given, Behavior) else Behavior(faults=(given,))
