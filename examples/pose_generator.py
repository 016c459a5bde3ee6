"""Pose generator: a sibling app on the synchronous client.

It picks one of the user's avatars or has one generated, writes a picture for each pose and records the use.

    export AVATAR_CREATOR_TOKEN=$(avatar-creator token --user sarah --app pose-generator)
    python examples/pose_generator.py "calm man with a beard"
"""

from __future__ import annotations

import sys
from pathlib import Path

from avatar_creator import (
    Avatar,
    AvatarCreator,
    AvatarCreatorError,
    GenerationFailedError,
    InvalidArgumentError,
    ResourceExhaustedError,
)

POSES = ("standing", "walking", "sitting")


def pick_avatar(client: AvatarCreator, description: str) -> Avatar:
    """Return the matching avatar that was used last, or a new one if none matches."""
    matching = client.avatars.find(query=description, order="last_used_first")
    if avatar := next(matching, None):
        return avatar
    project = next(client.projects.list(), None) or client.projects.create("Poses")
    generation = client.generations.create(project, description, width=512, height=512)
    return generation.wait(on_progress=lambda state: print(f"generating: {state.progress_percent} %"))


def write_poses(client: AvatarCreator, avatar: Avatar, folder: Path) -> None:
    """Write one picture for each pose. A real app draws the pose; this one writes the portrait."""
    portrait = client.avatars.download(avatar)
    suffix = avatar.image.content_type.replace("image/", ".")
    folder.mkdir(exist_ok=True)
    for pose in POSES:
        (folder / pose).with_suffix(suffix).write_bytes(portrait)


def main(description: str) -> None:
    """Make the poses, or exit with a message that says what the user can do."""
    with AvatarCreator() as client:
        try:
            avatar = pick_avatar(client, description)
            write_poses(client, avatar, Path("poses"))
            # The token names the app, so the call does not.
            recorded = client.usage.record(
                avatar, action="generate_poses", app_name="Pose Generator", metadata={"poses": len(POSES)}
            )
        except InvalidArgumentError as error:
            sys.exit("; ".join(f"{each.field}: {each.description}" for each in error.field_violations))
        except ResourceExhaustedError as error:
            sys.exit(f"over a limit; try again in {error.retry_after} s")
        except GenerationFailedError as error:
            sys.exit(f"no portrait, {error.reason}: {error.message}")
        except AvatarCreatorError as error:
            sys.exit(str(error))
    print(f"{len(POSES)} poses of {avatar.name}; recorded as its use number {recorded.usage_count}")


if __name__ == "__main__":
    main(sys.argv[1])
