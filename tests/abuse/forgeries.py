"""Floods of forged messages on Redis. Each runs in a process of its own until its standard input ends.

`python -m tests.abuse.forgeries NAME REDIS_URL PROJECT_ID GENERATION_ID` prints the number of messages at its
end.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable

import redis
from redis.client import Pipeline

from avatar_creator_server.generations.events import ChangeHint
from avatar_creator_server.shared.event_bus import (
    GENERATION_CANCELLED,
    GENERATION_CHANGED,
    PROJECT_DELETED,
    THUMBNAIL_READY,
)
from avatar_creator_server.shared.worker_notifier import GENERATION_TASK, JOB_TASK

MESSAGES_PER_SECOND = 10_000
_BATCH = 200
_LATEST = 2**60
_TOPICS = (GENERATION_CHANGED, GENERATION_CANCELLED, PROJECT_DELETED, THUMBNAIL_READY)
_LARGE = b"x\n" * (512 * 1024)
_LARGE_EVERY = 100
"""One of so many messages is large: 1 MiB, a hundred times a second."""

Forgery = Callable[["Pipeline", str, str, int], object]
"""Adds one message about a project and a generation to a pipeline; receives the message's number."""

FORGERIES: dict[str, Forgery] = {
    "changes": lambda pipe, project_id, generation_id, number: pipe.publish(
        GENERATION_CHANGED, ChangeHint(generation_id, project_id, "", _LATEST + number).encode()
    ),
    "changes of unknown generations": lambda pipe, project_id, generation_id, number: pipe.publish(
        GENERATION_CHANGED, ChangeHint(f"unknown-{number}", project_id, "", _LATEST).encode()
    ),
    "deletions": lambda pipe, project_id, generation_id, number: pipe.publish(
        PROJECT_DELETED, f"{project_id}\n{generation_id}"
    ),
    "cancellations": lambda pipe, project_id, generation_id, number: pipe.publish(
        GENERATION_CANCELLED, generation_id
    ),
    "wake-ups": lambda pipe, project_id, generation_id, number: pipe.xadd(
        (GENERATION_TASK, JOB_TASK)[number % 2], {"data": secrets.token_bytes(32)}, maxlen=1_000
    ),
    "nonsense": lambda pipe, project_id, generation_id, number: pipe.publish(
        _TOPICS[number % len(_TOPICS)], secrets.token_bytes(64)
    ),
    "large messages": lambda pipe, project_id, generation_id, number: pipe.publish(
        _TOPICS[number % len(_TOPICS)], _LARGE if number % _LARGE_EVERY == 0 else b"x"
    ),
}
"""Kinds of forged messages."""


def _flood(forgery: Forgery, url: str, project_id: str, generation_id: str, stop: threading.Event) -> int:
    published = 0
    started = time.monotonic()
    with redis.Redis.from_url(url) as connection:
        while not stop.is_set():
            with connection.pipeline(transaction=False) as pipe:
                for number in range(published, published + _BATCH):
                    forgery(pipe, project_id, generation_id, number)
                pipe.execute()
            published += _BATCH
            stop.wait(max(0.0, started + published / MESSAGES_PER_SECOND - time.monotonic()))
    return published


def _main() -> None:
    name, url, project_id, generation_id = sys.argv[1:]
    stop = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    print(_flood(FORGERIES[name], url, project_id, generation_id, stop))


if __name__ == "__main__":
    _main()
