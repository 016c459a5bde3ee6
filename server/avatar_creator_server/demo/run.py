"""The command `demo`: create a project, upload a photograph, generate a portrait, download the pictures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from avatar_creator import (
    AsyncAvatarCreator,
    AsyncGenerationHandle,
    Attributes,
    Generation,
    GenerationState,
    ImageVariant,
    Persona,
)
from avatar_creator_server.api.server import running
from avatar_creator_server.api.tokens import mint_token
from avatar_creator_server.demo.errors import DemoError
from avatar_creator_server.settings import Settings
from avatar_creator_server.web.sign_in import signed_in_link

PHOTOGRAPH = Path(__file__).parent / "astronaut.jpg"
"""NASA's public-domain portrait of Eileen Collins; `astronaut.md` has its source."""

_DRAWING = ("provider", "model", "lora", "prices", "huggingface", "replicate")
"""Beginnings of the names of settings that choose how the portrait is drawn."""
_TOKEN_SECONDS = 600
_USER = "demo"
_PROMPT = "professional Indonesian woman with modern hijab"


async def run_demo(folder: Path, console: Console, *, keep: bool = False) -> None:
    """Run an embedded service in `folder`, use it as a client, and leave the pictures there.

    Args:
        folder: Folder of the service and the pictures.
        console: Shows what happens.
        keep: Whether to serve what an earlier demo has made here, or this one makes, until it is cancelled.

    Raises:
        DemoError: The portrait could not be drawn.
    """
    settings = Settings.load(**_demo_settings(folder))
    token = mint_token(settings, _USER, _TOKEN_SECONDS)
    async with (
        running(settings) as server,
        AsyncAvatarCreator(f"127.0.0.1:{server.port}", token=token) as client,
    ):
        console.print(f"Started an embedded service on port {server.port}.")
        if not keep or not await _has_project(client):
            await _make(client, folder, settings, console)
        if not keep:
            console.print("With --keep, the demo serves them for a browser.")
            return
        assert server.web is not None, "the demo has a free port"
        console.print("Open this link in a browser. It is signed in for an hour. Press Ctrl-C to stop.")
        console.print(f"  {signed_in_link(settings, server.web.url, _USER)}", soft_wrap=True, markup=False)
        await asyncio.Event().wait()


async def _has_project(client: AsyncAvatarCreator) -> bool:
    async for _ in client.projects.list(page_size=1):
        return True
    return False


async def _make(client: AsyncAvatarCreator, folder: Path, settings: Settings, console: Console) -> None:
    """Create a project, upload a photograph, generate a portrait, and save the pictures."""
    project = await client.projects.create("Spring campaign")
    console.print(f"Created project [bold]{project.name}[/] ({project.id}).")
    uploaded = await client.avatars.upload(project, PHOTOGRAPH, name="Eileen")
    console.print(f"Uploaded a photograph as [bold]{uploaded.name}[/] ({uploaded.id}).")
    generation = await client.generations.create(
        project,
        prompt=_PROMPT,
        persona=Persona(name="Sari", age=29, personality=["warm", "confident"]),
        attributes=Attributes(
            gender="female",
            ethnicity="Indonesian",
            hair_style="long",
            hair_color="black",
            skin_tone="tan",
            style="professional",
            headwear="hijab",
        ),
        seed=7,
    )
    console.print(f"Generating a portrait from the prompt [italic]{_PROMPT}[/]:")
    ended = await _watch(generation, console)
    if ended.state != GenerationState.COMPLETED or not ended.avatar_id:
        raise _cannot_draw(ended, settings)
    for warning in ended.warnings:
        console.print(f"Note: {warning}.")
    console.print(f"The provider [bold]{ended.provider}[/] drew it with seed {ended.seed_used}.")
    console.print("Saved the pictures and their thumbnails:")
    for avatar_id, stem in ((uploaded.id, "upload"), (ended.avatar_id, "portrait")):
        for variant, suffix in (
            (ImageVariant.ORIGINAL, ""),
            (ImageVariant.THUMBNAIL, "-thumbnail"),
        ):
            avatar = await client.avatars.get(avatar_id)
            image = (suffix and avatar.thumbnail) or avatar.image
            path = folder / f"{stem}{suffix}.{image.content_type.removeprefix('image/')}"
            await client.avatars.download(avatar_id, variant=variant, to=path)
            console.print(f"  {image.width:>4}x{image.height:<4} {path}")


def _demo_settings(folder: Path) -> dict[str, Any]:
    """Return all settings but those that draw, so that the demo touches no service of this environment."""
    fields = Settings.model_fields.items()
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in fields
        if not name.startswith(_DRAWING)
    }
    return defaults | {
        "listen_address": "127.0.0.1:0",
        "web_address": "127.0.0.1:0",
        "data_path": folder / "service",
        "upload_path": folder / "service" / "uploads",
    }


async def _watch(generation: AsyncGenerationHandle, console: Console) -> Generation:
    """Show a generation's progress and return its last state, or the state after a failed attempt."""
    columns = (
        TextColumn("  {task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("queued", total=100)
        async with generation.watch() as states:
            async for state in states:
                progress.update(bar, completed=state.progress_percent, description=state.stage)
                if state.state == GenerationState.PENDING and state.error:
                    # The service would try again for 20 minutes. A person at a demo does not wait for that.
                    break
    return generation.generation


def _cannot_draw(state: Generation, settings: Settings) -> DemoError:
    problem = f"the portrait could not be drawn: {state.error.explanation if state.error else state.state}"
    if settings.chosen_provider == "sketch":
        return DemoError(problem)
    otherwise = "set PROVIDER=sketch"
    if not settings.provider:
        key = "HUGGINGFACE_API_KEY" if settings.chosen_provider == "huggingface" else "REPLICATE_API_TOKEN"
        otherwise = f"unset {key}"
    return DemoError(f"{problem}; run `avatar-creator doctor`, or {otherwise} to draw with sketch")
