"""The commands `workers`: list workers, drain one and resume it. They need a token with role ops."""

from __future__ import annotations

from typing import Annotated

import typer

from avatar_creator_server.cli import tables
from avatar_creator_server.cli.session import LARGEST_PAGE, Session, client_command

commands = typer.Typer(help="List, drain and resume workers. For operators.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="WORKER", help="Name of the worker.")]


@client_command(commands, "list", example="workers list")
def list_workers(session: Session) -> None:
    """List the workers, with what each of them runs. A worker that vanished is lost."""
    session.print_list(list(session.client.operations.list_workers(page_size=LARGEST_PAGE)), tables.workers)


@client_command(commands, "drain", example="workers drain vm-4901-a8cc47")
def drain_worker(session: Session, name: Name) -> None:
    """Let a worker finish what it runs and claim no further generations."""
    session.print_result(
        session.client.operations.drain_worker(name),
        lambda worker: f"Worker {worker.name} claims no further generations; it runs {len(worker.running)}.",
    )


@client_command(commands, "resume", example="workers resume vm-4901-a8cc47")
def resume_worker(session: Session, name: Name) -> None:
    """Let a drained worker claim generations again. Without a drain, nothing changes."""
    operations = session.client.operations
    listed = operations.list_workers(page_size=LARGEST_PAGE)
    was_drained = any(worker.name == name and worker.drain_time for worker in listed)
    session.print_result(
        operations.resume_worker(name),
        lambda worker: (
            f"Worker {worker.name} claims generations again."
            if was_drained
            else f"Worker {worker.name} was not drained. It claims generations."
        ),
    )
