"""A program of apps: records uses of avatars, some of them twice, and prints the recorded uses.

`test_counters` runs it. It reads the parameters of each of its clients as JSON from standard input, and
prints JSON. All clients call at the same time.
"""

from __future__ import annotations

import json
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from avatar_creator import AvatarCreator

ACTIONS = ("pose", "animate", "export")


def record(parameters: dict[str, Any]) -> list[list[str]]:
    """Record uses, and return the id, avatar and action of each."""
    random = Random(parameters["seed"])
    recorded = []
    with AvatarCreator(parameters["target"], token=parameters["token"], timeout=60.0) as client:
        for number in range(parameters["uses"]):
            avatar_id, action = random.choice(parameters["avatar_ids"]), random.choice(ACTIONS)
            # Every tenth is sent again, as after a lost answer.
            request_id = str(uuid.uuid4())
            answered = {
                client.usage.record(
                    avatar_id,
                    action=action,
                    app_name=parameters["app_name"],
                    metadata={"number": number},
                    request_id=request_id,
                ).usage.id
                for _ in range(2 if number % 10 == 0 else 1)
            }
            (usage_id,) = answered
            recorded.append([usage_id, avatar_id, action])
    return recorded


def main() -> None:
    """Record the uses of all clients, and print them as one list."""
    clients = json.load(sys.stdin)
    with ThreadPoolExecutor(len(clients)) as threads:
        json.dump([use for uses in threads.map(record, clients) for use in uses], sys.stdout)


if __name__ == "__main__":
    main()
