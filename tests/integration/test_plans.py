"""Every statement of the service reads and sorts a page of rows at most, however much there is."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import descriptor_pool

from avatar_creator_server.api.server import SERVICE_NAMES
from bench.contract_calls import CALLS
from bench.plans import missing_indexes, record_and_explain, unstated
from tests.support.postgres import OwnPostgres


def test_the_recorded_calls_cover_every_rpc() -> None:
    services = map(descriptor_pool.Default().FindServiceByName, SERVICE_NAMES)

    assert CALLS.keys() == {
        f"{service.name}.{method.name}" for service in services for method in service.methods
    }


def test_no_statement_reads_or_sorts_many_more_rows_than_a_page(
    own_postgres: OwnPostgres, redis_url: str, tmp_path: Path
) -> None:
    plans = record_and_explain(own_postgres, redis_url, tmp_path, avatars=20_000, small=True)

    assert unstated(plans) == []
    assert missing_indexes(plans) == []
    # Enough was recorded: reads and writes of every table, by servers and by a worker.
    assert len({plan.received.form for plan in plans}) > 150
