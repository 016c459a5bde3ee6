"""The commands `avatars`: list, show, change and delete avatars, upload and download their pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from avatar_creator import ImageVariant, UploadProgress
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.format import dimensions, printable
from avatar_creator_server.cli.options import ExpectedRevision, Force, Limit, User, Yes
from avatar_creator_server.cli.output_paths import require_new_file
from avatar_creator_server.cli.person_options import PersonOptions, person_paths
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command
from avatar_creator_server.images.file_names import default_file_name

commands = typer.Typer(
    help="List, show, change and delete your avatars, upload and download their pictures.",
    no_args_is_help=True,
)


def _field_path(option: str) -> str:
    """Return the path of the field that an option sets."""
    paths = person_paths()
    name = option.removeprefix("--").replace("_", "-")
    if name not in paths:
        raise typer.BadParameter(f"must be one of {', '.join(paths)} (got {option})")
    return paths[name]


def _complete_field(incomplete: str) -> list[str]:
    return [name for name in person_paths() if name.startswith(incomplete)]


AvatarId = Annotated[str, typer.Argument(metavar="AVATAR_ID", help="The avatar's id.")]


@client_command(commands, "list", example="avatars list --query sarah --limit 50")
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
    user: User = "",
    limit: Limit = 20,
) -> None:
    """List your avatars, newest first."""
    avatars = session.client.avatars.find(
        project=project, query=query, user_id=user, page_size=min(limit + 1, LARGEST_PAGE)
    )
    session.print_first(avatars, limit, lambda listed: tables.avatars(listed, with_users=bool(user)))


@client_command(commands, "show", example="avatars show 01a204d8-05a5-7495-bb1b-5f38ae8f7b43")
def show(
    session: Session,
    avatar_id: AvatarId,
    links: Annotated[
        bool,
        typer.Option("--links", help="Show addresses of its pictures that a browser opens, for an hour."),
    ] = False,
) -> None:
    """Show everything about an avatar."""
    avatar = session.client.avatars.get(avatar_id, include_links=links)
    if links and avatar.image_url is None:
        session.note("the service serves no pictures over HTTP, so there are no links")
    session.print_result(avatar, tables.avatar)


@client_command(commands, "upload", example="avatars upload sarah.jpg --project 01a204d7-… --name Sarah")
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


@client_command(
    commands, "update", example="avatars update 01a204d8-… --name Sarah --hair-color black --clear headwear"
)
def update(
    session: Session,
    avatar_id: AvatarId,
    person: PersonOptions,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="New name of the avatar.", show_default=False)
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OPTION",
            help="Remove what this option set, such as `headwear` or `persona-age`. Repeat it for several.",
            parser=_field_path,
            autocompletion=_complete_field,
            show_default=False,
        ),
    ] = None,
    expected_revision: ExpectedRevision = None,
) -> None:
    """Change the name, attributes and persona of an avatar. What you leave out stays as it is."""
    cleared = clear or []
    for path in set(cleared) & set(person.paths):
        raise CommandError(f"{path} is set and cleared at the same time")
    paths = [*([] if name is None else ["name"]), *person.paths, *cleared]
    if not paths:
        raise CommandError("give at least one change, for example --name or --hair-color")
    fields = {path.partition(".")[0]: {} for path in cleared} | person.fields
    avatar = session.client.avatars.update(
        avatar_id, name=name, **fields, paths=paths, expected_revision=expected_revision or 0
    )
    session.print_result(
        avatar, lambda updated: f"Updated {updated.name} ({updated.id}), now revision {updated.revision}."
    )


@client_command(commands, "delete", example="avatars delete 01a204d8-05a5-7495-bb1b-5f38ae8f7b43 --yes")
def delete(session: Session, avatar_id: AvatarId, yes: Yes = False) -> None:
    """Delete an avatar for good, with its picture and the record of its uses."""
    avatar = session.client.avatars.get(avatar_id)
    uses = f"{avatar.usage_count:,} recorded use{'' if avatar.usage_count == 1 else 's'}"
    session.confirm(
        f"Delete avatar {avatar.name} ({avatar.id}) with its picture, thumbnail and {uses}?", yes=yes
    )
    session.client.avatars.delete(avatar)
    session.print_result(avatar, lambda deleted: f"Deleted avatar {deleted.name} ({deleted.id}).")


@client_command(commands, "download", example="avatars download 01a204d8-… --to sarah.jpg")
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
