"""The commands `avatars`: list and show avatars, upload and download their pictures."""

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
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.format import dimensions, printable
from avatar_creator_server.cli.options import Force
from avatar_creator_server.cli.output_paths import default_file_name, require_new_file
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command

commands = typer.Typer(
    help="List and show your avatars, upload and download their pictures.",
    no_args_is_help=True,
)

AvatarId = Annotated[str, typer.Argument(metavar="AVATAR_ID", help="The avatar's id.")]


@client_command(commands, "list")
def list_avatars(
    session: Session,
    project: Annotated[
        str, typer.Option(metavar="PROJECT_ID", help="List only this project's avatars.")
    ] = "",
    query: Annotated[
        str,
        typer.Option(
            metavar="WORDS", help="List only avatars with all these words in name, persona or prompt."
        ),
    ] = "",
    limit: Annotated[int, typer.Option(metavar="COUNT", help="List at most this many.", min=1)] = 20,
) -> None:
    """List your avatars, newest first."""
    # One more than is shown, to find out whether there are more.
    page_size = min(limit + 1, LARGEST_PAGE)
    matching = session.client.avatars.find(project=project, query=query, page_size=page_size)
    found = list(islice(matching, limit + 1))
    session.print_list(found[:limit], tables.avatars)
    if len(found) > limit:
        session.note("there are more results; show them with a higher --limit")


@client_command(commands, "show")
def show(session: Session, avatar_id: AvatarId) -> None:
    """Show everything about an avatar."""
    session.print_result(session.client.avatars.get(avatar_id), tables.avatar)


@client_command(commands, "upload")
def upload(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A JPEG, PNG or WebP picture, at most 10 MiB.")
    ],
    project: Annotated[str, typer.Option(metavar="PROJECT_ID", help="Project of the new avatar.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the new avatar.", show_default="the file's name")
    ] = "",
    defer_thumbnail: Annotated[
        bool, typer.Option("--defer-thumbnail", help="Do not wait for the thumbnail.")
    ] = False,
) -> None:
    """Upload a picture as a new avatar."""
    with _upload_progress(session, file) as on_progress:
        avatar = session.client.avatars.upload(
            project,
            file,
            name=name or file.stem,
            defer_thumbnail=defer_thumbnail,
            on_progress=on_progress,
        )
    session.print_result(avatar, lambda uploaded: f"Uploaded {uploaded.name} ({uploaded.id}).")


@client_command(commands, "download")
def download(
    session: Session,
    avatar_id: AvatarId,
    thumbnail: Annotated[
        bool, typer.Option("--thumbnail", help="Download the thumbnail instead of the picture.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file to write.", show_default="the avatar's name, in this folder"
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Download an avatar's picture."""
    avatar = session.client.avatars.get(avatar_id)
    image = avatar.thumbnail if thumbnail else avatar.image
    if image is None:
        raise CommandError(f"avatar {avatar_id} has no thumbnail yet; try again in a few seconds")
    path = to or Path(default_file_name(avatar.name, image.content_type, thumbnail=thumbnail))
    require_new_file(path, force=force)
    variant = ImageVariant.THUMBNAIL if thumbnail else ImageVariant.ORIGINAL
    session.client.avatars.download(avatar_id, variant=variant, to=path)
    session.print_result(
        {"path": str(path), "image": image},
        lambda _: f"Saved the {dimensions(image)} {'thumbnail' if thumbnail else 'picture'} to {path}.",
    )


@contextmanager
def _upload_progress(session: Session, file: Path) -> Iterator[UploadProgress]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(
        *columns, console=session.notes, transient=True, disable=not session.shows_progress
    ) as progress:
        bar = progress.add_task(printable(file.name), total=None)
        yield lambda sent, total: progress.update(bar, completed=sent, total=total)
