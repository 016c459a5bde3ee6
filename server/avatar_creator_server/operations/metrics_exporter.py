"""Where Prometheus reads the metrics of a process, and what the database adds to them."""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from peewee import PeeweeException
from prometheus_client import REGISTRY, disable_created_metrics, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.models.states import PRIORITIES
from avatar_creator_server.errors import AvatarCreatorError
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.generations.queue_metrics import QueueFigures, read_queue_figures
from avatar_creator_server.settings import SettingsError, host_and_port

log = structlog.get_logger()

_ANSWER_SECONDS = 3.0
"""Less than Prometheus waits, so that the figures of the process are told although the database is silent."""

_DATABASE_UP = "1 if the database answered, else 0."


class QueueCollector(Collector):
    """What the database says of the queue, read whenever Prometheus asks. Every server says the same."""

    def __init__(self, database: Database, circuit_breakers: CircuitBreakers) -> None:
        self._database = database
        self._circuit_breakers = circuit_breakers

    def describe(self) -> list[Metric]:
        """Nothing: whoever registers this need not wait for the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the figures; without a database there are none but the one that says so."""
        try:
            figures, open_circuit_breakers = self._database.read_blocking(self._read, seconds=_ANSWER_SECONDS)
        except (AvatarCreatorError, PeeweeException, TimeoutError) as error:
            log.warning("queue_not_measured", error=repr(error))
            yield _gauge("database_up", _DATABASE_UP, 0)
            return
        yield _gauge("database_up", _DATABASE_UP, 1)
        depth = GaugeMetricFamily(
            "avatar_creator_queue_depth",
            "Generations that are pending: due, or waiting for the time of their retry.",
            labels=["priority", "state"],
        )
        oldest = GaugeMetricFamily(
            "avatar_creator_oldest_due_seconds",
            "For how long the oldest due generation has been due; 0 where none is.",
            labels=["priority"],
        )
        for priority in PRIORITIES:
            oldest.add_metric([priority], figures.oldest_due_seconds.get(priority, 0))
            for state in ("due", "waiting"):
                depth.add_metric([priority, state], figures.depth.get((priority, state), 0))
        yield depth
        yield oldest
        lost = GaugeMetricFamily(
            "avatar_creator_attempts_lost_last_hour",
            "Attempts of the last hour whose worker, or whose submission's answer, was lost.",
            labels=["outcome"],
        )
        for outcome, number in figures.lost_attempts.items():
            lost.add_metric([outcome], number)
        yield lost
        yield _gauge("live_leases", "Generations that a worker is at.", figures.live_leases)
        yield _gauge(
            "expired_leases", "Generations whose worker has not been heard of.", figures.expired_leases
        )
        yield _gauge("jobs_depth", "Pieces of quick work that are not done.", figures.jobs_depth)
        yield _gauge(
            "jobs_oldest_seconds",
            "For how long the oldest quick work has been to be done.",
            figures.jobs_oldest_seconds,
        )
        yield _gauge(
            "open_circuits",
            "Routes left alone because their provider refuses the service.",
            open_circuit_breakers,
        )

    def _read(self) -> tuple[QueueFigures, int]:
        return read_queue_figures(self._database), len(self._circuit_breakers.read_open())


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(f"avatar_creator_{name}", description, value=value)


def serve_metrics(address: str, queue: QueueCollector | None = None) -> None:
    """Answer Prometheus at `host:port` until the process ends; nothing without an address.

    Raises:
        SettingsError: nothing can listen there.
    """
    if not address:
        return
    host, port = host_and_port("METRICS_ADDRESS", address)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    if queue is not None:
        REGISTRY.register(queue)
    try:
        start_http_server(port, host)
    except OSError as error:
        raise SettingsError(f"METRICS_ADDRESS {address} cannot be listened on: {error}") from error
    log.info("metrics_ready", address=address)
