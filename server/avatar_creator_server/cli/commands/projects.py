"""The commands `projects`: list, create, change and delete projects."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.options import ExpectedRevision, Limit, User, Yes
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command

commands = typer.Typer(
    help="List, create, change and delete projects, the folders of your avatars.", no_args_is_help=True
)


ProjectId = Annotated[str, typer.Argument(metavar="PROJECT_ID", help="The project's id.")]


@client_command(commands, "list", example="projects list")
def list_projects(session: Session, user: User = "", limit: Limit = 20) -> None:
    """List your projects, newest first."""
    projects = session.client.projects.list(user_id=user, page_size=min(limit + 1, LARGEST_PAGE))
    session.print_first(projects, limit, lambda listed: tables.projects(listed, with_users=bool(user)))


@client_command(commands, "create", example='projects create "Spring campaign"')
def create_project(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project's name, 1 to 120 characters.")],
    description: Annotated[
        str, typer.Option(metavar="TEXT", help="The project's description, at most 2,000 characters.")
    ] = "",
) -> None:
    """Create a project."""
    session.print_result(
        session.client.projects.create(name, description),
        lambda project: f"Created project {project.name} ({project.id}).",
    )


@client_command(commands, "update", example='projects update 01a204d7-… --name "Summer campaign"')
def update_project(
    session: Session,
    project_id: ProjectId,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="New name, 1 to 120 characters.", show_default=False)
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="New description, at most 2,000 characters; an empty text removes it.",
            show_default=False,
        ),
    ] = None,
    expected_revision: ExpectedRevision = None,
) -> None:
    """Change the name and description of a project. What you leave out stays as it is."""
    if name is description is None:
        raise CommandError("give --name or --description, or both")
    session.print_result(
        session.client.projects.update(
            project_id, name=name, description=description, expected_revision=expected_revision or 0
        ),
        lambda project: f"Updated project {project.name} ({project.id}), now revision {project.revision}.",
    )


@client_command(commands, "delete", example="projects delete 01a204d7-6a10-7d3f-b9d4-6c1c2f0e9a55 --yes")
def delete_project(session: Session, project_id: ProjectId, yes: Yes = False) -> None:
    """Delete a project for good, with all its avatars, pictures and generations."""
    project = session.client.projects.get(project_id)
    avatars = f"{project.avatar_count:,} avatar{'' if project.avatar_count == 1 else 's'}"
    session.confirm(
        f"Delete project {project.name} ({project.id}) with its {avatars}, their pictures, and all its "
        "generations?",
        yes=yes,
    )
    session.client.projects.delete(project)
    session.print_result(project, lambda deleted: f"Deleted project {deleted.name} ({deleted.id}).")
