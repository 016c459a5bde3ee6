"""A user with something on every page."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from avatar_creator import Avatar, AvatarCreator, Project
from tests import pictures
from tests.support.generations import FAILED
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.waiting import wait_until

_COLORS = ("teal", "orchid", "goldenrod", "slateblue", "tomato")
REFUSED = Fault(stage="result", status=422, error_type="content_policy_violation")
"""Behavior of a generation that fails at once, and that no retry can save."""


@dataclass(frozen=True, slots=True)
class Furnished:
    """Resources of the user."""

    project: Project
    """A project with some uploaded avatars, a generated one, and generations in several states."""
    avatar: Avatar
    """An avatar with a persona, attributes and uses by two apps."""


def furnish(client: AvatarCreator, router: RouterFake) -> Furnished:
    """Fill all pages of a user: with a running, a waiting, a failed and a completed generation."""
    project = client.projects.create("Spring campaign", description="Faces for the spring catalog.")
    client.projects.create("Empty project")
    avatar = client.avatars.upload(
        project,
        pictures.png(pictures.scene(512, 512)),
        name="Sarah",
        persona={"name": "Sarah", "age": 32, "personality": ["warm", "exact"], "background": "A baker."},
        attributes={"gender": "female", "ethnicity": "Indonesian", "headwear": "hijab"},
    )
    for number, color in enumerate(_COLORS):
        client.avatars.upload(
            project, pictures.png(Image.new("RGB", (300, 400), color)), name=f"Face {number}"
        )
    for app_id, app_name in (("pose-generator", "Pose Generator"), ("video-generator", "Video Generator")):
        client.usage.record(avatar, app_id=app_id, app_name=app_name, action="generate_poses")
    client.generations.create(project, "confident business woman", width=256, height=256).wait()
    router.behave(REFUSED, always=Behavior(hold=True))
    failing = client.generations.create(project, "a man in the rain")
    wait_until(lambda: failing.refresh().state == FAILED)
    for prompt in ("a calm engineer", "a smiling chef", "a dancer in the evening"):
        client.generations.create(project, prompt)
    return Furnished(project, avatar)
