"""Footprint: what a service without work costs, and the time to import the client."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence

import psutil

from bench.goals import BY_NAME
from bench.lab import Lab
from bench.recording import recording
from bench.results import Result, interleaved, of_pairs
from tests.support.child_process import run
from tests.support.waiting import let_pass

ROWS = ("idle-statements", "idle-memory", "import")

_SETTLING_SECONDS = 3.0
_IDLE_SECONDS = 10.0
_IMPORTS = 3
_MEGABYTE = 1_000_000
_IMPORT = "import time; start = time.process_time(); import {}; print(time.process_time() - start)"


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`."""
    if "idle-statements" in rows or "idle-memory" in rows:
        for result in _idle(lab):
            if result.goal.name in rows:
                yield result
    if "import" in rows:
        pairs = interleaved(lambda: _import_ms("avatar_creator"), lambda: _import_ms("grpc"), lab.pairs)
        yield of_pairs(BY_NAME["import"], pairs, unit="ms")


def _idle(lab: Lab) -> Iterator[Result]:
    with lab.deployment() as deployment:
        url = deployment.settings["DATABASE_URL"]
        with recording(url) as of_server, recording(url) as of_worker:
            server = deployment.start_server(DATABASE_URL=of_server.url)
            worker = deployment.start_worker(DATABASE_URL=of_worker.url)
            let_pass(_SETTLING_SECONDS)
            before = of_server.count, of_worker.count
            let_pass(_IDLE_SECONDS)
            per_second = [
                (recorder.count - count) / _IDLE_SECONDS
                for recorder, count in zip((of_server, of_worker), before, strict=True)
            ]
            megabytes = [psutil.Process(each.pid).memory_info().rss / _MEGABYTE for each in (server, worker)]
    yield Result(BY_NAME["idle-statements"], per_second[0], unit="/s", note=f"a worker {per_second[1]:.1f}/s")
    yield Result(BY_NAME["idle-memory"], megabytes[0], unit="MB", note=f"a worker {megabytes[1]:.0f} MB")


def _import_ms(module: str) -> float:
    """Return the CPU time to import a module in a new process."""
    took = []
    for _ in range(_IMPORTS):
        finished = run([sys.executable, "-c", _IMPORT.format(module)], timeout=60)
        finished.check_returncode()
        took.append(float(finished.stdout) * 1000)
    return statistics.median(took)
