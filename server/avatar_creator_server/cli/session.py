"""What the commands of a service's users have in common: how they reach it, and how they answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Signature, signature
from typing import Annotated, Any, TypeAlias, TypeVar

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from rich.console import Console, RenderableType

from avatar_creator import AvatarCreator, DeadlineExceededError, UnavailableError, channels
from avatar_creator.errors import from_rpc_error
from avatar_creator_server.cli.errors import Refusal
from avatar_creator_server.cli.format import plain

PANEL = "Using a service"

_CONNECTION_PANEL = "Connection and output"
_CONNECT_SECONDS = 10.0
_UNLIMITED_WIDTH = 10_000
"""Columns where no terminal is: whatever reads the tables there wants whole lines."""

Answer: TypeAlias = "Message | str | Sequence[Answer] | Mapping[str, Answer]"
_Answer = TypeVar("_Answer", bound=Answer)
_Rows = TypeVar("_Rows", bound=Sequence[Message])


@dataclass(frozen=True, slots=True)
class Session:
    """One command's connection, and where its answer goes."""

    client: AvatarCreator
    as_json: bool
    """Whether standard output is for a program: then it gets nothing but the answer's JSON."""
    output: Console
    notes: Console
    """Standard error."""

    @property
    def shows_progress(self) -> bool:
        """Whether somebody sees what happens meanwhile."""
        return self.notes.is_terminal and not self.as_json

    def answer(self, answer: _Answer, for_people: Callable[[_Answer], RenderableType]) -> None:
        """Print the answer: as one JSON document, or the table or sentence `for_people` makes of it."""
        if self.as_json:
            typer.echo(json.dumps(_document(answer), indent=2))
        else:
            shown = for_people(answer)
            if isinstance(shown, str):
                self.say(shown)
            else:
                # Where a terminal is too narrow even for the ids, lines that wrap are better than ids cut.
                self.output.print(shown, crop=False)

    def rows(self, listed: _Rows, table: Callable[[_Rows], RenderableType]) -> None:
        """Answer with a list."""
        if not listed and not self.as_json:
            self.note("there are none")
        else:
            self.answer(listed, table)

    def line(self, message: Message) -> None:
        """Print one message of several as a line of JSON."""
        typer.echo(json.dumps(_document(message)))

    def say(self, sentence: str) -> None:
        """Print a sentence for people on standard output."""
        self.output.print(plain(sentence), soft_wrap=True)

    def note(self, sentence: str) -> None:
        """Print something beside the answer."""
        self.notes.print(f"note: {plain(sentence)}", soft_wrap=True)


@contextmanager
def open_session(
    target: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Where the server listens.", rich_help_panel=_CONNECTION_PANEL
        ),
    ] = "127.0.0.1:50051",
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Speak TLS. GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names whom to trust, if not the usual.",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ] = False,
    token: Annotated[
        str,
        typer.Option(
            envvar="AVATAR_CREATOR_TOKEN",
            help="Who you are. Better in the environment: others on this machine see a command's options.",
            show_default=False,
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ] = "",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON, for scripts.", rich_help_panel=_CONNECTION_PANEL),
    ] = False,
) -> Iterator[Session]:
    """A session on a server that answers.

    Raises:
        Refusal: there is no token, or the server cannot be reached.
    """
    if not token.strip():
        raise Refusal(
            "no token: set AVATAR_CREATOR_TOKEN, for example to what `avatar-creator token --user NAME` "
            "prints where the service runs"
        )
    with channels.connect(target, tls=tls, root_certificates=None) as channel:
        _reach(channel, target)
        with AvatarCreator(channel=channel, token=token) as client:
            try:
                yield Session(
                    client,
                    as_json,
                    output=_console(sys.stdout.isatty()),
                    notes=_console(sys.stderr.isatty(), stderr=True),
                )
            except UnavailableError as error:
                if error.reason:
                    raise
                raise Refusal(f"cannot reach {target}: {error.message}") from error


def client_command(commands: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a command of a function that takes a `Session` first; `open_session`'s options become its own."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        _, *own = signature(run, eval_str=True).parameters.values()
        connection = signature(open_session, eval_str=True).parameters

        def command(**options: Any) -> None:
            with open_session(**{option: options.pop(option) for option in connection}) as session:
                run(session, **options)

        command.__doc__ = run.__doc__
        command.__signature__ = Signature([*own, *connection.values()])  # type: ignore[attr-defined]
        commands.command(name, rich_help_panel=PANEL)(command)
        return run

    return register


def _reach(channel: grpc.Channel, target: str) -> None:
    """Refuse at once where nobody answers; the client would try again for as long as a call may take."""
    try:
        HealthStub(channel).Check(HealthCheckRequest(), timeout=_CONNECT_SECONDS)
    except grpc.RpcError as raised:
        error = from_rpc_error(raised)
        if isinstance(error, DeadlineExceededError):
            raise Refusal(f"cannot reach {target}: no answer within {_CONNECT_SECONDS:.0f} s") from error
        if isinstance(error, UnavailableError):
            raise Refusal(f"cannot reach {target}: {error.message}") from error


def _console(is_terminal: bool, *, stderr: bool = False) -> Console:
    return Console(
        stderr=stderr,
        width=None if is_terminal else _UNLIMITED_WIDTH,
        # What users wrote is no markup.
        markup=False,
        emoji=False,
        highlight=False,
    )


def _document(answer: Answer) -> Any:
    match answer:
        case Message():
            return MessageToDict(
                answer,
                preserving_proto_field_name=True,
                # A script that reads a count finds it when it is 0, too.
                always_print_fields_with_no_presence=True,
            )
        case str():
            return answer
        case Mapping():
            return {name: _document(part) for name, part in answer.items()}
    return [_document(part) for part in answer]
