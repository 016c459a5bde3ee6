"""The commands about what a user has: projects, uses, figures, and the galleries to start from."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from avatar_creator import GetStatsResponse
from avatar_creator_server.cli import tables
from avatar_creator_server.cli.session import Answer, Session, client_command

_LARGEST_PAGE = 100

commands = typer.Typer()
projects = typer.Typer(help="List and create projects, the folders of your avatars.", no_args_is_help=True)

Category = Annotated[str, typer.Option(help="Only this category.")]


@client_command(projects, "list")
def list_projects(session: Session) -> None:
    """List your projects, newest first."""
    session.rows(list(session.client.projects.list(page_size=_LARGEST_PAGE)), tables.projects)


@client_command(projects, "create")
def create_project(
    session: Session,
    name: Annotated[str, typer.Argument(help="1 to 120 characters.")],
    description: Annotated[str, typer.Option(help="At most 2,000 characters.")] = "",
) -> None:
    """Create a project."""
    session.answer(
        session.client.projects.create(name, description),
        lambda project: f"Created project {project.name} ({project.id}).",
    )


@client_command(commands, "usage")
def usage(
    session: Session,
    avatar_id: Annotated[str, typer.Argument(help="The avatar's id.")],
    history: Annotated[int, typer.Option(help="Also show this many of the last uses.", min=0)] = 0,
) -> None:
    """Show what apps did with an avatar: a sum for each app, most used first."""
    apps = session.client.usage.summarize(avatar_id)
    answer: dict[str, Answer] = {"apps": apps}
    shown: list[RenderableType] = [tables.usage_by_app(apps)]
    if history:
        newest = session.client.usage.list(avatar_id, page_size=min(history, _LARGEST_PAGE))
        answer["usages"] = uses = list(islice(newest, history))
        shown += ["", tables.uses(uses)]
    if not apps and not session.as_json:
        session.note("there are none")
    else:
        session.answer(answer, lambda _: Group(*shown))


@client_command(commands, "stats")
def stats(session: Session) -> None:
    """Show the figures of all your avatars and generations, and what these cost by day and app."""
    session.answer(session.client.usage.stats(), _figures)


@client_command(commands, "presets")
def presets(
    session: Session,
    category: Category = "",
    query: Annotated[str, typer.Option(help="Words that name or description must have.")] = "",
) -> None:
    """List the presets that `generate` can start from, most popular first."""
    found = session.client.presets.list(category=category, query=query, page_size=_LARGEST_PAGE)
    session.rows(list(found), tables.presets)


@client_command(commands, "personas")
def personas(session: Session, category: Category = "") -> None:
    """List the persona examples that `generate` can start from, most used first."""
    found = session.client.personas.list(category=category, page_size=_LARGEST_PAGE)
    session.rows(list(found), tables.personas)


def _figures(stats: GetStatsResponse) -> RenderableType:
    figures = tables.stats(stats)
    return Group(figures, "", tables.spending(stats.spending)) if stats.spending else figures
