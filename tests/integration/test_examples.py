"""The apps in `examples/` run against a real service and leave there what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from avatar_creator import UsageRecord
from tests.support.child_process import run
from tests.support.service import Deployment

EXAMPLES = Path(__file__).parents[2] / "examples"

_APP_SECONDS = 60.0

pytestmark = pytest.mark.parametrize("shared_deployment", ["distributed"], indirect=True)


@dataclass(frozen=True, slots=True)
class App:
    """One of the examples, run by one user in a folder of its own."""

    file_name: str
    app_id: str
    user: str
    service: Deployment
    folder: Path

    def run(self, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        """Run it once and return its exit code and output."""
        return run(
            [sys.executable, EXAMPLES / self.file_name, *arguments],
            timeout=_APP_SECONDS,
            directory=self.folder,
            environment={
                "PATH": os.environ["PATH"],
                "AVATAR_CREATOR_TARGET": self.service.target,
                "AVATAR_CREATOR_TOKEN": token or self.service.token(self.user, app_id=self.app_id),
            },
        )

    def uses(self) -> list[UsageRecord]:
        """Return all uses that the service has of this user's avatars."""
        with self.service.client(self.user) as client:
            return [use for avatar in client.avatars.list() for use in client.usage.list(avatar.id)]


@pytest.fixture
def pose_generator(shared_deployment: Deployment, user: str, tmp_path: Path) -> App:
    """The synchronous example."""
    return App("pose_generator.py", "pose-generator", user, shared_deployment, tmp_path)


@pytest.fixture
def video_generator(shared_deployment: Deployment, user: str, tmp_path: Path) -> App:
    """The asyncio example."""
    return App("video_generator.py", "video-generator", user, shared_deployment, tmp_path)


def test_the_pose_generator_generates_an_avatar_and_then_finds_it(pose_generator: App) -> None:
    first = pose_generator.run("calm man with a beard")

    assert first.returncode == 0, first.stderr
    *progress, summary = first.stdout.splitlines()
    assert progress[-1] == "generating: 100 %"
    assert summary == "3 poses of calm man with a beard; recorded as its use number 1"
    pictures = sorted((pose_generator.folder / "poses").iterdir())
    assert [picture.name for picture in pictures] == ["sitting.png", "standing.png", "walking.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.size == (512, 512)

    second = pose_generator.run("calm man with a beard")

    assert second.stdout == "3 poses of calm man with a beard; recorded as its use number 2\n"
    uses = pose_generator.uses()
    assert [(use.app_id, use.app_name, use.action) for use in uses] == [
        ("pose-generator", "Pose Generator", "generate_poses")
    ] * 2
    assert all(use.metadata["poses"] == 3 for use in uses)


def test_the_pose_generator_says_which_field_is_wrong(pose_generator: App) -> None:
    refused = pose_generator.run("man" * 100)

    assert refused.returncode == 1
    assert refused.stderr.startswith("query: ")


def test_a_token_that_is_not_accepted_ends_each_app_with_its_reason(
    pose_generator: App, video_generator: App
) -> None:
    for app in (pose_generator, video_generator):
        refused = app.run("launch-film", "calm man", token="no-token")

        assert refused.returncode == 1
        assert refused.stderr.startswith("TOKEN_INVALID: ")


def test_the_video_generator_shows_all_roles_live_and_repeats_nothing(video_generator: App) -> None:
    roles = ("confident business woman", "old sailor")

    first = video_generator.run("launch-film", *roles)

    assert first.returncode == 0, first.stderr
    *progress, summary = first.stdout.splitlines()
    assert {f"{role}: 100 % ended" for role in roles} <= set(progress)
    assert summary == "launch-film has 2 of 2 portraits"
    pictures = sorted((video_generator.folder / "launch-film").iterdir())
    uses = video_generator.uses()
    assert sorted(f"{use.avatar_id}.png" for use in uses) == [picture.name for picture in pictures]
    assert {(use.app_id, use.action, use.reference_id) for use in uses} == {
        ("video-generator", "render_video", "launch-film")
    }
    assert len(uses) == len(roles)

    second = video_generator.run("launch-film", *roles)

    assert second.stdout.splitlines()[-1] == summary
    assert video_generator.uses() == uses
