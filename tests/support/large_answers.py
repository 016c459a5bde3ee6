"""A user with many and large resources, so that lists of them are as large as the limits allow."""

from __future__ import annotations

from random import Random

import uuid_utils
from google.protobuf.struct_pb2 import Struct
from PIL import Image

from avatar_creator import AvatarCreator, Persona
from tests import pictures
from tests.support.rows import copy_row
from tests.support.service import Deployment
from tests.support.waiting import wait_until

LONG = "\N{GRINNING FACE}"
"""A character of four bytes."""


def long_persona() -> Persona:
    """Return the largest persona."""
    return Persona(name=LONG * 120, background=LONG * 4000, personality=[LONG * 60] * 12)


def large_metadata() -> Struct:
    """Return metadata of a use whose message is almost as large as possible."""
    metadata = Struct()
    metadata.update({"numbers": [0] * 4080})
    return metadata


def add_avatars(deployment: Deployment, client: AvatarCreator, project_id: str, count: int) -> list[str]:
    """Add avatars with the largest texts and thumbnails to a project, and return their ids."""
    noise = Image.frombytes("RGBA", (300, 300), Random(1).randbytes(300 * 300 * 4))
    avatar = client.avatars.upload(project_id, pictures.png(noise), name=LONG * 120, persona=long_persona())
    wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending)
    ids = [str(uuid_utils.uuid7()) for _ in range(count - 1)]
    copy_row(deployment, "avatars", {"id": avatar.id}, [{"id": copy} for copy in ids])
    return [avatar.id, *ids]


def add_apps(deployment: Deployment, client: AvatarCreator, avatar_id: str, count: int) -> list[str]:
    """Add uses of an avatar by `count` apps with long names, of 1 to 100 uses each, and return their ids.

    The avatar must have no uses. It gets one more, by the app `a`.
    """
    client.usage.record(avatar_id, app_id="a", action="x")
    ids = [f"{number:06}{LONG * 114}" for number in range(count)]
    copies = [
        {"app_id": app_id, "app_name": LONG * 120, "usage_count": number % 100 + 1}
        for number, app_id in enumerate(ids)
    ]
    copy_row(deployment, "avatar_app_usage", {"avatar_id": avatar_id, "app_id": "a"}, copies)
    total = 1 + sum(number % 100 + 1 for number in range(count))
    deployment.execute("UPDATE avatars SET usage_count = %s WHERE id = %s", total, avatar_id)
    return ids
