"""The work of a person who has used the service for weeks, for screenshots and measures of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

from avatar_creator import Avatar, AvatarCreator, GenerationHandle, Preset
from tests.support.generations import FAILED, PROCESSING
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.service import Deployment
from tests.support.waiting import wait_until

USER = "dewi"

_PROJECTS = (
    ("Spring campaign", "Faces for the spring catalog: warm, confident, outdoors.", 10),
    ("Batik collection", "Portraits for the pages of the new collection.", 6),
    ("Training videos", "Presenters of the safety course, in both languages.", 5),
    ("Night market stories", "Vendors and guests of the short films.", 3),
)
"""Names, descriptions and numbers of avatars of the projects."""
_USES = (
    ("pose-generator", "Pose Generator", "generate_poses", "pose_set", 5),
    ("video-generator", "Video Generator", "render_video", "video", 3),
    ("storyboard", "Storyboard", "place_in_scene", "scene", 2),
)
"""Ids and names of apps, their actions, the types of their results, and their uses of the first avatar."""
_SIBLING_APPS = '{"Pose Generator": "https://poses.example.com/new?avatar={avatar_id}"}'
_DAYS = 14
_SIDE = 512
_PROMPTS = (
    "calm engineer with round glasses, soft window light",
    "smiling chef in a white jacket, busy kitchen behind him",
    "young dancer in a batik shawl, evening light",
    "retired captain with a gray beard, harbor at dawn",
)


@dataclass(frozen=True, slots=True)
class Gallery:
    """A running service with the projects, avatars, generations and uses of `USER`."""

    deployment: Deployment
    project_id: str
    """The project with the most avatars, and with generations in every state."""
    avatar_id: str
    """The avatar with the most uses."""


@contextmanager
def open_gallery(directory: Path, *, avatars: int = 24, **settings: str) -> Iterator[Gallery]:
    """Run an embedded service with a gallery: portraits by `sketch`, and generations that stay as they are.

    Args:
        directory: The folder of the service.
        avatars: Maximum number of avatars.
        settings: More settings of the service.
    """
    with ExitStack() as closing:
        router = closing.enter_context(RouterFake())
        deployment = Deployment.embedded(directory, SIBLING_APPS=_SIBLING_APPS, **settings)
        closing.callback(deployment.close)
        deployment.start()
        with deployment.client(USER) as client:
            made = _draw(client, avatars)
            for avatar in made[:3]:
                _use(client, avatar)
        # The fake router holds its generations, so that their cards show their progress all the time.
        deployment.servers[-1].terminate()
        deployment.settings |= {"HUGGINGFACE_API_KEY": "hf_gallery", "HUGGINGFACE_BASE_URL": router.url}
        deployment.start()
        with deployment.client(USER) as client:
            _leave_running(client, router, made[0].project_id)
        _spread_over_days(deployment)
        yield Gallery(deployment, made[0].project_id, made[0].id)


def _draw(client: AvatarCreator, number: int) -> list[Avatar]:
    presets: Iterator[Preset] = iter(client.presets.list())
    handles: list[GenerationHandle] = []
    for name, description, size in _PROJECTS:
        project = client.projects.create(name, description=description)
        size = min(size, number - len(handles))
        for preset in islice(presets, size):
            handles.append(client.generations.create(project, preset=preset, width=_SIDE, height=_SIDE))
    return [handle.wait() for handle in handles]


def _use(client: AvatarCreator, avatar: Avatar) -> None:
    for app_id, app_name, action, reference_type, times in _USES:
        for number in range(times):
            client.usage.record(
                avatar,
                app_id=app_id,
                app_name=app_name,
                action=action,
                reference_id=f"{reference_type}-{number + 1}",
                reference_type=reference_type,
            )


def _leave_running(client: AvatarCreator, router: RouterFake, project_id: str) -> None:
    refused = Fault(stage="result", status=422, error_type="content_policy_violation")
    router.behave(refused, always=Behavior(hold=True))
    first, *others = _PROMPTS
    failing = client.generations.create(project_id, first)
    wait_until(lambda: failing.refresh().state == FAILED)
    running = [client.generations.create(project_id, prompt) for prompt in others]
    wait_until(lambda: [each.refresh().state for each in running].count(PROCESSING) == 2)
    router.wait_until_polled(3)


def _spread_over_days(deployment: Deployment) -> None:
    """Give uses, avatars and generations times in the last days: the service has recorded all as of now."""
    _spread(deployment, "avatar_usage_history", ("create_time",))
    _spread(deployment, "avatars", ("create_time",))
    _spread(
        deployment, "avatar_generations", ("create_time", "start_time", "end_time"), "state = 'completed'"
    )


def _spread(deployment: Deployment, table: str, columns: Sequence[str], condition: str = "1 = 1") -> None:
    rows = deployment.execute(f"SELECT * FROM {table} WHERE {condition} ORDER BY create_time DESC, id DESC")
    for place, row in enumerate(rows):
        earlier = timedelta(days=place * _DAYS // len(rows), minutes=7 + 31 * (place % 9))
        changes = ", ".join(f"{column} = %s" for column in columns)
        times = (row[column] - earlier for column in columns)
        deployment.execute(f"UPDATE {table} SET {changes} WHERE id = %s", *times, row["id"])
