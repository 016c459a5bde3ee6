"""The commands `avatars`: list and show them, upload and download their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from avatar_creator import ImageVariant, UploadProgress
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.format import plain, size
from avatar_creator_server.cli.output_paths import default_name, require_free
from avatar_creator_server.cli.session import Session, client_command

_LARGEST_PAGE = 100

commands = typer.Typer(
    help="List and show your avatars, upload and download their pictures.",
    no_args_is_help=True,
)

AvatarId = Annotated[str, typer.Argument(metavar="ID", help="The avatar's id.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


@client_command(commands, "list")
def list_avatars(
    session: Session,
    project: Annotated[str, typer.Option(metavar="ID", help="Only this project's.")] = "",
    query: Annotated[
        str, typer.Option(metavar="WORDS", help="Words that name, persona or prompt must have.")
    ] = "",
    limit: Annotated[int, typer.Option(help="At most this many.", min=1)] = 20,
) -> None:
    """List your avatars, newest first."""
    # One more than is shown tells whether there are more.
    page_size = min(limit + 1, _LARGEST_PAGE)
    found = list(islice(session.client.avatars.list(project, query=query, page_size=page_size), limit + 1))
    session.rows(found[:limit], tables.avatars)
    if len(found) > limit:
        session.note(f"there are more than these {limit}; --limit shows more")


@client_command(commands, "show")
def show(session: Session, avatar_id: AvatarId) -> None:
    """Show all that is known of an avatar."""
    session.answer(session.client.avatars.get(avatar_id), tables.avatar)


@client_command(commands, "upload")
def upload(
    session: Session,
    file: Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP picture, at most 10 MiB.")],
    project: Annotated[str, typer.Option(metavar="ID", help="The project it goes to.")],
    name: Annotated[str, typer.Option(help="Its name; absent: the file's.")] = "",
) -> None:
    """Upload a picture as a new avatar."""
    with _upload_progress(session, file) as on_progress:
        avatar = session.client.avatars.upload(project, file, name=name or file.stem, on_progress=on_progress)
    session.answer(avatar, lambda made: f"Uploaded {made.name} ({made.id}).")


@client_command(commands, "download")
def download(
    session: Session,
    avatar_id: AvatarId,
    thumbnail: Annotated[bool, typer.Option("--thumbnail", help="The thumbnail, not the picture.")] = False,
    to: Annotated[
        Path | None, typer.Option(help="The file to write; absent: in this folder, by the avatar's name.")
    ] = None,
    force: Force = False,
) -> None:
    """Download an avatar's picture."""
    avatar = session.client.avatars.get(avatar_id)
    image = avatar.thumbnail if thumbnail else avatar.image
    path = to or Path(default_name(avatar.name, image.content_type, thumbnail=thumbnail))
    require_free(path, force=force)
    variant = ImageVariant.IMAGE_VARIANT_THUMBNAIL if thumbnail else ImageVariant.IMAGE_VARIANT_ORIGINAL
    session.client.avatars.download(avatar_id, variant=variant, to=path)
    session.answer(
        {"path": str(path), "image": image},
        lambda _: f"Saved the {size(image)} {'thumbnail' if thumbnail else 'picture'} to {path}.",
    )


@contextmanager
def _upload_progress(session: Session, file: Path) -> Iterator[UploadProgress]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=session.notes, transient=True, disable=not session.shows_progress
    ) as progress:
        bar = progress.add_task(plain(file.name), total=None)
        yield lambda sent, total: progress.update(bar, completed=sent, total=total)
