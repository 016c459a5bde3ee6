"""Generations: the time until a worker has one, and how many of them workers make."""

from __future__ import annotations

import contextlib
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import psycopg2
import redis

from avatar_creator.v1 import generation_pb2, generation_service_pb2_grpc
from avatar_creator.v1 import generation_service_pb2 as pb
from bench import hand_worker
from bench.goals import BY_NAME
from bench.lab import USER, Lab, Scale
from bench.load import cpu_seconds
from bench.results import Result, interleaved, of_more_processes, of_pairs
from tests.support.child_process import ChildProcess
from tests.support.service import Deployment, ServiceProcess
from tests.support.waiting import wait_until

ROWS = ("generation-seen", "workers", "generation-cpu")

_SIDE = 256
_SEEN = {Scale.TINY: 2, Scale.SHORT: 15, Scale.FULL: 50}
"""Generations of one measurement of the time until PROCESSING."""
_MADE = {Scale.TINY: 4, Scale.SHORT: 50, Scale.FULL: 200}
"""Generations of one measurement of the workers' speed."""
_CREATORS = 4
_SECONDS = 60.0
_PROCESSING = generation_pb2.GENERATION_STATE_PROCESSING
_COMPLETED = generation_pb2.GENERATION_STATE_COMPLETED


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`."""
    with lab.deployment() as deployment:
        deployment.start_server()
        first = deployment.start_worker(module="bench.instant_worker")
        with deployment.client(USER) as client:
            project_id = client.projects.create("Bench").id
        if "generation-seen" in rows:
            yield _seen(lab, deployment, project_id)
        if "workers" in rows or "generation-cpu" in rows:
            for result in _workers(lab, deployment, project_id, first):
                if result.goal.name in rows:
                    yield result


def _seen(lab: Lab, deployment: Deployment, project_id: str) -> Result:
    with (
        _Watched(deployment, project_id) as watched,
        _by_hand(deployment) as by_hand,
    ):

        def median(one: Callable[[], float]) -> float:
            return statistics.median(one() for _ in range(_SEEN[lab.scale]))

        median(watched.seconds_until_processing)
        median(by_hand)
        pairs = interleaved(
            lambda: median(watched.seconds_until_processing) * 1000,
            lambda: median(by_hand) * 1000,
            lab.pairs,
        )
    return of_pairs(BY_NAME["generation-seen"], pairs, unit="ms")


class _Watched:
    """A project whose generations are watched."""

    def __init__(self, deployment: Deployment, project_id: str) -> None:
        self._request = pb.CreateGenerationRequest(project_id=project_id, prompt="a face")
        self._request.options.width = self._request.options.height = _SIDE
        self._metadata = (("authorization", f"Bearer {deployment.token(USER)}"),)
        self._channel = grpc.insecure_channel(deployment.target)
        self._stub = generation_service_pb2_grpc.GenerationServiceStub(self._channel)
        self._states: dict[tuple[str, int], float] = {}
        self._changed = threading.Condition()
        self._watch = self._stub.WatchGenerations(
            pb.WatchGenerationsRequest(project_id=project_id), metadata=self._metadata
        )
        threading.Thread(target=self._follow, daemon=True).start()

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self._channel.close()

    def seconds_until_processing(self) -> float:
        """Create a generation, wait for its end, and return the time until it was seen in PROCESSING."""
        started = time.perf_counter()
        created = self._stub.CreateGeneration(self._request, metadata=self._metadata).generation.id
        seen = self._wait_for(created, _PROCESSING)
        self._wait_for(created, _COMPLETED)
        return seen - started

    def _wait_for(self, generation_id: str, state: int) -> float:
        key = (generation_id, state)
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._states, _SECONDS):
                raise TimeoutError(f"the generation {generation_id} did not reach state {state}")
            return self._states[key]

    def _follow(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for message in self._watch:
                now = time.perf_counter()
                with self._changed:
                    self._states.setdefault((message.generation.id, message.generation.state), now)
                    self._changed.notify_all()


@contextlib.contextmanager
def _by_hand(deployment: Deployment) -> Iterator[Callable[[], float]]:
    """Yield the function that does the steps by hand once, and returns the time that they took."""
    database_url, redis_url = (deployment.settings[name] for name in ("DATABASE_URL", "REDIS_URL"))
    connection = psycopg2.connect(database_url)
    cursor = connection.cursor()
    cursor.execute(hand_worker.TABLE)
    cursor.execute("CREATE INDEX ON bench_queue (due_time) WHERE due_time IS NOT NULL")
    connection.commit()
    client = redis.Redis.from_url(redis_url)
    subscription: Any = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    subscription.subscribe(hand_worker.TOPIC)
    subscription.get_message(timeout=1.0)
    command = [sys.executable, "-m", "bench.hand_worker", database_url, redis_url]
    with ChildProcess(command, directory=Path(__file__).parents[1], stdout=-1) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()

        def once() -> float:
            started = time.perf_counter()
            row_id = str(uuid.uuid4())
            cursor.execute("INSERT INTO bench_queue VALUES (%s, now(), 'pending')", (row_id,))
            connection.commit()
            client.xadd(hand_worker.STREAM, {"wake": "up"})
            while (message := subscription.get_message(timeout=_SECONDS)) is None:
                pass
            assert message["data"].decode() == row_id
            return time.perf_counter() - started

        try:
            yield once
        finally:
            worker.kill()
            subscription.close()
            connection.close()


def _workers(lab: Lab, deployment: Deployment, project_id: str, first: ServiceProcess) -> Iterator[Result]:
    with _Watched(deployment, project_id) as watched:
        for _ in range(5):
            watched.seconds_until_processing()
    count = _MADE[lab.scale]
    cpu: list[float] = []
    busy: list[float] = []

    def one() -> float:
        before = cpu_seconds(_tree(first))
        speed = _speed(deployment, project_id, count)
        cpu.append((cpu_seconds(_tree(first)) - before) / count * 1000)
        return speed

    def two() -> float:
        second = deployment.start_worker(module="bench.instant_worker")
        psutil.cpu_percent()
        speed = _speed(deployment, project_id, count)
        busy.append(psutil.cpu_percent())
        second.terminate()
        return speed

    pairs = interleaved(two, one, lab.pairs)
    yield of_more_processes(BY_NAME["workers"], pairs, busy)
    yield Result(BY_NAME["generation-cpu"], statistics.median(cpu), unit="ms", note="of a worker")


def _tree(process: ServiceProcess) -> list[int]:
    """Return a process and its children."""
    return [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]


def _speed(deployment: Deployment, project_id: str, number: int) -> float:
    """Create generations, and return how many of them workers complete in a second."""
    count = "SELECT count(*) AS unfinished FROM avatar_generations WHERE due_time IS NOT NULL"
    with deployment.client(USER) as client, ThreadPoolExecutor(_CREATORS) as creators:

        def create(_: int) -> None:
            client.generations.create(project_id, prompt="a face", width=_SIDE, height=_SIDE)

        started = time.perf_counter()
        list(creators.map(create, range(number)))
        wait_until(lambda: deployment.execute(count)[0]["unfinished"] == 0, _SECONDS)
        return number / (time.perf_counter() - started)
