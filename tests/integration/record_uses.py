"""A sibling app's program: records uses of avatars, some of them twice, and says what it was answered.

`test_counters` runs it. It reads its orders as JSON from standard input, and writes JSON to standard output.
"""

from __future__ import annotations

import json
import sys
import uuid
from random import Random
from typing import Any

from avatar_creator import AvatarCreator

ACTIONS = ("pose", "animate", "export")


def record(orders: dict[str, Any]) -> list[list[str]]:
    """Record as many uses as it is told; id, avatar and action of each."""
    random = Random(orders["seed"])
    recorded = []
    with AvatarCreator(orders["target"], token=orders["token"], timeout=60.0) as client:
        for number in range(orders["uses"]):
            avatar_id, action = random.choice(orders["avatar_ids"]), random.choice(ACTIONS)
            # Every tenth is sent again, as after an answer that was lost.
            request_id = str(uuid.uuid4())
            answered = {
                client.usage.record(
                    avatar_id,
                    action=action,
                    app_name=orders["app_name"],
                    metadata={"number": number},
                    request_id=request_id,
                ).usage.id
                for _ in range(2 if number % 10 == 0 else 1)
            }
            (usage_id,) = answered
            recorded.append([usage_id, avatar_id, action])
    return recorded


if __name__ == "__main__":
    json.dump(record(json.load(sys.stdin)), sys.stdout)
