"""The processes of a server with SERVER_PROCESSES, and connections to each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil

from tests.contract.calls import Calls
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until

_MAX_CONNECTIONS = 100
"""The kernel chooses the process of a connection: so many are certainly not all with the same one."""


def processes_of(server: ServiceProcess) -> dict[int, psutil.Process]:
    """Return the processes that serve, or start to, by their numbers."""
    return {
        int(child.cmdline()[-1]): child
        for child in psutil.Process(server.pid).children()
        if child.cmdline()[-2:-1] == ["serve-process"]
    }


@contextmanager
def connected_to_each(
    deployment: Deployment, server: ServiceProcess, user: str, *, target: str = ""
) -> Iterator[dict[int, Calls]]:
    """Yield calls of a user on one connection to each process of a server, by its number.

    The log of the server must be at the level `info`. Each connection creates a project.
    """
    number = len(processes_of(server))
    with ExitStack() as connections:
        found: dict[int, Calls] = {}
        for _ in range(_MAX_CONNECTIONS):
            calls = connections.enter_context(
                Calls(target or deployment.target, deployment.token(user), own_connection=True)
            )
            found.setdefault(answering_process(calls, server, user), calls)
            if len(found) == number:
                break
        else:
            raise AssertionError(f"only the processes {sorted(found)} answer")
        yield found


def answering_process(calls: Calls, server: ServiceProcess, user: str) -> int:
    """Return the number of the process that answers these calls of a user who makes no others now."""

    def logged() -> list[int]:
        return [call["process"] for call in server.events("call_finished") if call["user"] == user]

    before = len(logged())
    calls.create_project()
    return wait_until(lambda: logged()[before:])[0]
