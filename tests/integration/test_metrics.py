"""The metrics that Prometheus reads; the dashboard and the alerts use no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.request import urlopen

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.generations import CANCELLED, COMPLETED, SMALLEST
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.service import Deployment
from tests.support.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics_text(address: str) -> str:
    """Read the metrics as Prometheus does."""
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def scraped(address: str) -> Samples:
    """Return the value of each sample by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics_text(address))
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the value of a sample that must exist."""
    return samples[f"avatar_creator_{name}", frozenset(labels.items())]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


def addresses() -> tuple[str, str]:
    return f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"


def test_servers_and_workers_report_all_metrics_of_the_dashboard_and_alerts(
    distributed: Deployment, user: str
) -> None:
    of_server, of_worker = addresses()
    distributed.start_server(METRICS_ADDRESS=of_server)
    with distributed.client(user) as client:
        project = client.projects.create("Measured")
        cancelled = client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)
        waiting = client.generations.create(project.id, "a man", width=SMALLEST, height=SMALLEST)
        assert client.generations.cancel(cancelled.id).state == CANCELLED
        watch = client.generations.watch(waiting.id)
        next(watch)

        before = scraped(of_server)

        assert value(before, "queue_depth", priority="normal", state="due") == 1
        assert value(before, "oldest_due_seconds", priority="normal") > 0
        assert value(before, "oldest_due_seconds", priority="bulk") == 0
        assert value(before, "attempts_lost_last_hour", outcome="worker_lost") == 0
        assert value(before, "quick_work_depth") == value(before, "open_circuits") == 0
        assert value(before, "watches") == 1
        assert value(before, "live_leases") == value(before, "expired_leases") == 0
        assert value(before, "live_workers") == value(before, "lost_workers") == 0
        assert value(before, "database_up") == 1
        create = "/avatar_creator.v1.GenerationService/CreateGeneration"
        assert value(before, "requests_total", method=create, code="OK") == 2
        assert value(before, "request_seconds_count", method=create) == 2

        distributed.start_worker(METRICS_ADDRESS=of_worker)
        assert list(watch)[-1].state == COMPLETED
        wait_until(lambda: value(scraped(of_server), "watches") == 0)

    with distributed.client("olga", role="ops") as operator:
        operator.operations.drain_worker(next(operator.operations.list_workers()))
        operator.operations.pause_queue()
    after, worker = scraped(of_server), scraped(of_worker)
    assert value(after, "queue_depth", priority="normal", state="due") == 0
    assert (value(after, "live_workers"), value(after, "lost_workers")) == (1, 0)
    assert (value(after, "draining_workers"), value(after, "pauses")) == (1, 1)
    assert value(worker, "attempts_total", outcome="succeeded", reason="") == 1
    assert value(worker, "attempt_seconds_count", outcome="succeeded") == 1
    assert value(worker, "queue_wait_seconds_count", priority="normal") == 1
    assert value(worker, "sweeps_total", outcome="ok") >= 1
    assert "avatar_creator_queue_depth" not in names(worker), "servers report it"

    queried = set(re.findall(r"avatar_creator_\w+", queries()))
    # No background job has run, and no call was refused: such a counter has its type, but no sample.
    without_sample = {"avatar_creator_quick_work_total", "avatar_creator_refused_calls_total"}
    for name, address in zip(sorted(without_sample), (of_worker, of_server), strict=True):
        assert f"# TYPE {name} counter" in metrics_text(address)
    assert queried - names(after) - names(worker) == without_sample


def queries() -> str:
    """Return the expressions of the dashboard and the alerts."""
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    groups = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())["groups"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [rule["expr"] for group in groups for rule in group["rules"]]
    assert len(panels) >= 10
    return "\n".join(expressions)


def test_a_server_without_its_database_reports_that_and_its_other_metrics(
    distributed: Deployment, database_url: str
) -> None:
    address, _ = addresses()
    proxy = Proxy(database_url)
    distributed.start_server(METRICS_ADDRESS=address, DATABASE_URL=proxy.url)
    proxy.blackhole()

    disconnected = scraped(address)

    assert value(disconnected, "database_up") == 0
    assert value(disconnected, "watches") == 0
    assert "avatar_creator_queue_depth" not in names(disconnected)
    proxy.recover()
    wait_until(lambda: value(scraped(address), "database_up") == 1, 20.0)
    proxy.close()
