"""Video generator: a sibling app on the asyncio client.

It has the cast of a video generated, all at once, follows every portrait live on one stream, then downloads
the portraits and records the uses. A second run for the same video repeats nothing: each request id is made
from the video's name, so the service answers with what it made the first time.

    export AVATAR_CREATOR_TOKEN=$(avatar-creator token --user sarah --app video-generator)
    python examples/video_generator.py launch-film "confident business woman" "calm man with a beard"
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from contextlib import aclosing
from pathlib import Path

from avatar_creator import AsyncAvatarCreator, AvatarCreatorError, Generation


def request_id(video: str, step: str) -> str:
    """Return the same UUID each time for one step of one video."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://video-generator.example/{video}/{step}"))


async def generate_cast(client: AsyncAvatarCreator, video: str, roles: list[str]) -> list[Generation]:
    """Generate all portraits at once, print their progress, and return their final states."""
    project = await client.projects.create(f"Cast of {video}", request_id=request_id(video, "project"))
    started = await asyncio.gather(
        *(
            client.generations.create(
                project, role, width=512, height=512, request_id=request_id(video, f"role {number}")
            )
            for number, role in enumerate(roles)
        )
    )
    latest = {generation.id: generation for generation in started}
    async with aclosing(client.generations.watch_many(started)) as states:
        async for state in states:
            latest[state.id] = state
            print(f"{state.avatar_name}: {state.progress_percent} % {state.stage}")
    return list(latest.values())


async def use_portrait(client: AsyncAvatarCreator, video: str, portrait: Generation) -> bool:
    """Download one portrait and record its use. Return False if there is no portrait."""
    if not portrait.avatar_id:
        cause = portrait.error.message if portrait.error else portrait.state
        print(f"no portrait of {portrait.avatar_name}: {cause}", file=sys.stderr)
        return False
    await client.avatars.download(portrait.avatar_id, to=Path(video) / f"{portrait.avatar_id}.png")
    await client.usage.record(
        portrait.avatar_id,
        action="render_video",
        app_name="Video Generator",
        reference_type="video",
        reference_id=video,
        request_id=request_id(video, f"use of {portrait.id}"),
    )
    return True


async def main(video: str, roles: list[str]) -> None:
    """Put the portraits into a folder named after the video, or exit with the reason."""
    await asyncio.to_thread(Path(video).mkdir, exist_ok=True)
    async with AsyncAvatarCreator() as client:
        try:
            cast = await generate_cast(client, video, roles)
            used = await asyncio.gather(*(use_portrait(client, video, portrait) for portrait in cast))
        except AvatarCreatorError as error:
            sys.exit(str(error))
    print(f"{video} has {sum(used)} of {len(cast)} portraits")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
