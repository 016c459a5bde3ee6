"""The HTTP endpoint where Prometheus reads a process's metrics, and the queue's metrics from the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from peewee import PeeweeException
from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from avatar_creator_server.addresses import parse_address
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models.states import PRIORITIES
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.generations.pauses import read_pauses
from avatar_creator_server.generations.queue_metrics import QueueFigures, read_queue_figures
from avatar_creator_server.generations.queue_positions import LONG_QUEUE, MAX_AGE_SECONDS
from avatar_creator_server.generations.workers import WorkerRecord, Workers, WorkerState
from avatar_creator_server.operations.listening import listen_error, require_own_address
from avatar_creator_server.settings import SettingsError, system_reason

log = structlog.get_logger()

_ANSWER_SECONDS = 3.0
"""Less than Prometheus's own timeout, so that it gets the other metrics even without a database."""

_DATABASE_UP = "1 if the database answered, else 0."


@dataclass(frozen=True, slots=True)
class _Shared:
    """Values of one look at the database."""

    figures: QueueFigures
    open_circuits: int
    workers: list[WorkerRecord]
    pauses: int


class QueueCollector(Collector):
    """Metrics of the queue, read from the database at each scrape. Every server reports the same values."""

    def __init__(self, database: Database, circuit_breakers: CircuitBreakers, workers: Workers) -> None:
        self._database = database
        self._circuit_breakers = circuit_breakers
        self._workers = workers
        self._reading = threading.Lock()
        self._last: tuple[float, _Shared] | None = None

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering this collector does not wait for the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the metrics; if the database does not answer, yield only `database_up` as 0."""
        try:
            shared = self._read_shared()
        except (AvatarCreatorError, PeeweeException, TimeoutError) as error:
            log.warning("queue_read_failed", error=repr(error))
            yield _gauge("database_up", _DATABASE_UP, 0)
            return
        figures = shared.figures
        yield _gauge("database_up", _DATABASE_UP, 1)
        depth = GaugeMetricFamily(
            "avatar_creator_queue_depth",
            "Pending generations: due now, or waiting for the time of their retry.",
            labels=["priority", "state"],
        )
        oldest = GaugeMetricFamily(
            "avatar_creator_oldest_due_seconds",
            "How long the oldest due generation has been due, in seconds; 0 if none is due.",
            labels=["priority"],
        )
        for priority in PRIORITIES:
            oldest.add_metric([priority], figures.oldest_due_seconds.get(priority, 0))
            for state in ("due", "waiting_to_retry"):
                depth.add_metric([priority, state], figures.depth.get((priority, state), 0))
        yield depth
        yield oldest
        lost = GaugeMetricFamily(
            "avatar_creator_attempts_lost_last_hour",
            "Attempts in the last hour that lost their worker, or the provider's answer to their submission.",
            labels=["outcome"],
        )
        for outcome, number in figures.lost_attempts.items():
            lost.add_metric([outcome], number)
        yield lost
        yield _gauge("live_leases", "Generations that a worker is processing.", figures.live_leases)
        yield _gauge(
            "expired_leases",
            "Generations whose worker has stopped renewing its lease.",
            figures.expired_leases,
        )
        yield _gauge("quick_work_depth", "Background jobs that are not done.", figures.jobs_depth)
        yield _gauge(
            "quick_work_oldest_seconds",
            "Age of the oldest background job, in seconds; 0 if there is none.",
            figures.jobs_oldest_seconds,
        )
        yield _gauge(
            "open_circuits",
            "Routes with an open circuit breaker, because their provider refuses the service.",
            shared.open_circuits,
        )
        states = [worker.state for worker in shared.workers]
        lost_workers = states.count(WorkerState.LOST)
        yield _gauge("live_workers", "Workers that renew their row.", len(states) - lost_workers)
        yield _gauge(
            "draining_workers",
            "Live workers that claim nothing, because an operator drains them.",
            states.count(WorkerState.DRAINING),
        )
        yield _gauge("pauses", "Pauses of the queue and of routes by operators.", shared.pauses)
        yield _gauge(
            "lost_workers",
            "Workers of the last day that stopped renewing their row without a clean stop.",
            lost_workers,
        )

    def _read_shared(self) -> _Shared:
        """Read the metrics; return the last ones if the queue is long and they are at most a second old."""
        with self._reading:
            if self._last is not None:
                read_time, found = self._last
                is_long = sum(found.figures.depth.values()) > LONG_QUEUE
                if is_long and time.monotonic() - read_time <= MAX_AGE_SECONDS:
                    return found
            found = self._database.read_blocking(self._read, seconds=_ANSWER_SECONDS)
            self._last = time.monotonic(), found
            return found

    def _read(self) -> _Shared:
        return _Shared(
            read_queue_figures(self._database),
            len(self._circuit_breakers.read_open()),
            self._workers.read_all(),
            len(read_pauses()),
        )


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(f"avatar_creator_{name}", description, value=value)


def serve_metrics(address: str, queue: QueueCollector | None = None, *, shared: Path | None = None) -> None:
    """Serve the metrics at `host:port` until the process ends; do nothing if the address is empty.

    Args:
        address: The address, or an empty text.
        queue: The metrics of the queue, for a server.
        shared: Folder in which several processes keep their metrics, instead of the metrics of this process.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    if not address:
        return
    require_own_address("METRICS_ADDRESS", address)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = REGISTRY
    if shared is not None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(shared))  # type: ignore[no-untyped-call]
    if queue is not None:
        registry.register(queue)
    chosen = parse_address(address)
    try:
        server, _ = start_http_server(chosen.port, chosen.host, registry)
    except OSError as error:
        raise listen_error("METRICS_ADDRESS", address) or SettingsError(
            f"cannot listen on METRICS_ADDRESS {address}: {system_reason(error)}"
        ) from error
    log.info("metrics_ready", address=address, port=server.server_port)
