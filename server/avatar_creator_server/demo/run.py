"""The command `demo`: create a project, upload a photograph, generate a portrait, download the pictures."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from avatar_creator import (
    AsyncAvatarCreator,
    Attributes,
    Gender,
    Generation,
    GenerationStage,
    HairColor,
    HairStyle,
    Headwear,
    ImageVariant,
    Persona,
    SkinTone,
    Style,
)
from avatar_creator.watching import completed
from avatar_creator_server.api.server import running
from avatar_creator_server.api.tokens import mint_token
from avatar_creator_server.settings import Settings

PHOTOGRAPH = Path(__file__).parent / "astronaut.jpg"
"""NASA's public-domain portrait of Eileen Collins; `astronaut.md` has its source."""

_TOKEN_SECONDS = 600
_PROMPT = "professional Indonesian woman with modern hijab"


async def run_demo(folder: Path, console: Console) -> None:
    """Run an embedded service in `folder`, use it as a client, and leave the pictures there.

    Raises:
        GenerationEndedError: The generation failed.
    """
    settings = Settings(
        listen_address="127.0.0.1:0",
        data_path=folder / "service",
        upload_path=folder / "service" / "uploads",
        storage_url="",
        database_url="",
        redis_url="",
        redis_host="",
        jwt_secret="",
        tls_certificate_file=None,
        tls_key_file=None,
    )
    token = mint_token(settings, "demo", _TOKEN_SECONDS)
    async with (
        running(settings) as server,
        AsyncAvatarCreator(f"127.0.0.1:{server.port}", token=token) as client,
    ):
        console.print(f"Started an embedded service on port {server.port}.")
        project = await client.projects.create("Spring campaign")
        console.print(f"Created project [bold]{project.name}[/] ({project.id}).")
        uploaded = await client.avatars.upload(project.id, PHOTOGRAPH, name="Eileen")
        console.print(f"Uploaded a photograph as [bold]{uploaded.name}[/] ({uploaded.id}).")
        generation = await client.generations.create(
            project.id,
            prompt=_PROMPT,
            persona=Persona(name="Sari", age=29, personality=["warm", "confident"]),
            attributes=Attributes(
                gender=Gender.GENDER_FEMALE,
                ethnicity="Indonesian",
                hair_style=HairStyle.HAIR_STYLE_LONG,
                hair_color=HairColor.HAIR_COLOR_BLACK,
                skin_tone=SkinTone.SKIN_TONE_TAN,
                style=Style.STYLE_PROFESSIONAL,
                headwear=Headwear.HEADWEAR_HIJAB,
            ),
            seed=7,
        )
        console.print(f"Generating a portrait from the prompt [italic]{_PROMPT}[/]:")
        ended = await _watch(client, generation.id, console)
        completed(ended)
        for warning in ended.warnings:
            console.print(f"Note: {warning}.")
        console.print(f"The provider [bold]{ended.provider}[/] drew it with seed {ended.seed_used}.")
        console.print("Saved the pictures and their thumbnails:")
        for avatar_id, stem in ((uploaded.id, "upload"), (ended.avatar_id, "portrait")):
            for variant, suffix in (
                (ImageVariant.IMAGE_VARIANT_ORIGINAL, ""),
                (ImageVariant.IMAGE_VARIANT_THUMBNAIL, "-thumbnail"),
            ):
                avatar = await client.avatars.get(avatar_id)
                image = avatar.thumbnail if suffix else avatar.image
                path = folder / f"{stem}{suffix}.{image.content_type.removeprefix('image/')}"
                await client.avatars.download(avatar_id, variant=variant, to=path)
                console.print(f"  {image.width:>4}x{image.height:<4} {path}")


async def _watch(client: AsyncAvatarCreator, generation_id: str, console: Console) -> Generation:
    """Show a generation's progress and return its last state."""
    columns = (
        TextColumn("  {task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    state = Generation()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("queued", total=100)
        async for state in client.generations.watch(generation_id):
            stage = GenerationStage.Name(state.stage).removeprefix("GENERATION_STAGE_").lower()
            progress.update(bar, completed=state.progress_percent, description=stage)
    return state
