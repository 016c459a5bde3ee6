"""The steps of a worker by hand: XREADGROUP, a claim, and PUBLISH, one after the other.

The arguments are the URLs of the database and of Redis. The database has the table of `TABLE`.
"""

from __future__ import annotations

import sys
from typing import Any

import psycopg2
import redis

TABLE = "CREATE TABLE bench_queue (id TEXT PRIMARY KEY, due_time TIMESTAMPTZ, state TEXT NOT NULL)"
STREAM, GROUP, TOPIC = "bench:queue", "workers", "bench:claimed"


def main(database_url: str, redis_url: str) -> None:
    """Claim rows until the process is ended."""
    connection = psycopg2.connect(database_url)
    cursor = connection.cursor()
    client: Any = redis.Redis.from_url(redis_url)
    client.xgroup_create(STREAM, GROUP, mkstream=True)
    print("ready", flush=True)
    while True:
        for _, messages in client.xreadgroup(GROUP, "0", {STREAM: ">"}, count=1, block=1000, noack=True):
            cursor.execute(
                "SELECT id FROM bench_queue WHERE due_time <= now() LIMIT 1 FOR UPDATE SKIP LOCKED"
            )
            [row] = cursor.fetchall()
            cursor.execute("UPDATE bench_queue SET state = 'processing', due_time = NULL WHERE id = %s", row)
            connection.commit()
            client.xdel(STREAM, messages[0][0])
            client.publish(TOPIC, row[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
