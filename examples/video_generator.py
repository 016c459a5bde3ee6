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
from pathlib import Path

from avatar_creator import AsyncAvatarCreator, AsyncGenerationHandle, AvatarCreatorError, GenerationEndedError


def request_id(video: str, step: str) -> str:
    """Return the same UUID each time for one step of one video."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://video-generator.example/{video}/{step}"))


async def generate_cast(
    client: AsyncAvatarCreator, video: str, roles: list[str]
) -> list[AsyncGenerationHandle]:
    """Start all portraits at once, and print their progress until all have ended."""
    project = await client.projects.create(f"Cast of {video}", request_id=request_id(video, "project"))
    started = await asyncio.gather(
        *(
            client.generations.create(
                project, role, width=512, height=512, request_id=request_id(video, f"role {number}")
            )
            for number, role in enumerate(roles)
        )
    )
    async with client.generations.watch_many(started) as states:
        async for state in states:
            print(f"{state.avatar_name}: {state.progress_percent} % {state.stage}")
    return started


async def use_portrait(client: AsyncAvatarCreator, video: str, portrait: AsyncGenerationHandle) -> bool:
    """Download one portrait and record its use. Return False if there is no portrait."""
    try:
        avatar = await portrait.wait()
    except GenerationEndedError as error:
        print(f"no portrait of {error.generation.avatar_name}: {error}", file=sys.stderr)
        return False
    await client.avatars.download(avatar, to=Path(video) / f"{avatar.id}.png")
    await client.usage.record(
        avatar,
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
