"""The connection of a client command to its server, and how the command prints its result."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Signature, signature
from itertools import islice
from typing import Annotated, Any, TypeAlias, TypeVar

import grpc
import typer
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from rich.console import Console, RenderableType

from avatar_creator import (
    AvatarCreator,
    DeadlineExceededError,
    UnauthenticatedError,
    UnavailableError,
    channels,
)
from avatar_creator.conversion import Value
from avatar_creator.errors import from_rpc_error
from avatar_creator.targets import DEFAULT_TARGET, TARGET_VARIABLE, Target, choose_target
from avatar_creator.tokens import TOKEN_VARIABLE, choose_token
from avatar_creator_server.cli.errors import CommandError
from avatar_creator_server.cli.format import UNLIMITED_WIDTH, printable
from avatar_creator_server.cli.interrupts import interrupt_no_stream_start
from avatar_creator_server.cli.option_groups import OptionGroup

PANEL = "Using a service"
"""Heading of the client commands in `--help`."""
OPERATORS_PANEL = "Operating a service"
"""Heading of the commands that need a token with role ops."""

LARGEST_PAGE = 100
"""The largest page that a list call returns."""

_CONNECTION_PANEL = "Connection and output"
_CONNECT_SECONDS = 10.0
_TRUSTED_CERTIFICATES = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
Result: TypeAlias = "Value[Any] | str | int | Sequence[Result] | Mapping[str, Result]"
_Result = TypeVar("_Result", bound=Result)
_Item = TypeVar("_Item", bound=Value[Any])
_Values = TypeVar("_Values", bound=Sequence[Value[Any]])


@dataclass(frozen=True, slots=True)
class Session:
    """One command's connection and its output."""

    client: AvatarCreator
    server: str
    """Address of the server."""
    connection: str
    """Options of a command that connects to the same server, with a leading blank; empty for the default."""
    as_json: bool
    """True if a program reads standard output: only the result is printed there, as JSON."""

    # A console keeps what it prints until the write has returned. Ctrl-C can arrive before that, and the
    # console would print the same again with its next text. So each text has a console of its own.

    @property
    def output(self) -> Console:
        """A new console for standard output."""
        return _console(sys.stdout.isatty())

    @property
    def notes(self) -> Console:
        """A new console for standard error."""
        return _console(sys.stderr.isatty(), stderr=True)

    @property
    def shows_progress(self) -> bool:
        """True if a person can see a progress bar."""
        return self.notes.is_terminal and not self.as_json

    def print_result(self, result: _Result, render: Callable[[_Result], RenderableType]) -> None:
        """Print the result: as one JSON document, or as the table or sentence that `render` returns."""
        if self.as_json:
            typer.echo(json.dumps(_document(result), indent=2))
            return
        rendered = render(result)
        output = self.output
        if isinstance(rendered, str):
            self.print_sentence(rendered)
        elif output.is_terminal:
            # In a terminal too narrow even for the ids, wrapped lines are better than shortened ids.
            output.print(rendered, crop=False)
        else:
            with output.capture() as captured:
                output.print(rendered, crop=False)
            # Without the blanks that fill a table's last column.
            for line in captured.get().splitlines():
                typer.echo(line.rstrip())

    def print_list(self, items: _Values, table: Callable[[_Values], RenderableType]) -> None:
        """Print the items as the result."""
        if not items and not self.as_json:
            self.note("no results")
        else:
            self.print_result(items, table)

    def print_first(
        self, items: Iterable[_Item], most: int, table: Callable[[Sequence[_Item]], RenderableType]
    ) -> None:
        """Print the first items as the result, and say whether there are more."""
        # One more than is shown, to find out.
        found = list(islice(items, most + 1))
        self.print_list(found[:most], table)
        if len(found) > most:
            self.note("there are more results; show them with a higher --limit")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask the person at the terminal before something goes for good.

        Raises:
            CommandError: The answer is no, or there is no terminal.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise CommandError(f"{printable(question)} There is no terminal to ask, so confirm it with --yes")
        self.notes.print(f"{printable(question)} [y/N] ", end="", soft_wrap=True)
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            raise CommandError("nothing was deleted")

    def print_json_line(self, value: Value[Any]) -> None:
        """Print one value of several as a line of JSON."""
        typer.echo(json.dumps(_document(value)))

    def print_sentence(self, sentence: str) -> None:
        """Print a sentence for people on standard output."""
        self.output.print(printable(sentence), soft_wrap=True)

    @property
    def notes_are_read(self) -> bool:
        """True if a person reads standard error, or if no program reads standard output."""
        return self.notes.is_terminal or not self.as_json

    def note(self, sentence: str) -> None:
        """Print a note for people on standard error."""
        self.notes.print(f"note: {printable(sentence)}", soft_wrap=True)


@contextmanager
def open_session(
    target: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the server; https://HOST:PORT connects with TLS. "
            f"Default: {TARGET_VARIABLE}, or {DEFAULT_TARGET}.",
            show_default=False,
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls",
            help="Connect with TLS. To trust certificates other than the usual ones, set "
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH to a PEM file.",
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(
            help=f"Token that says who you are. Default: {TOKEN_VARIABLE}. Use the variable rather than the "
            "option: other users of this machine can see the options of a running command.",
            show_default=False,
            rich_help_panel=_CONNECTION_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON, for scripts.", rich_help_panel=_CONNECTION_PANEL),
    ] = False,
) -> Iterator[Session]:
    """Connect to a server that answers.

    Raises:
        CommandError: there is no token, or the server cannot be reached.
    """
    interrupt_no_stream_start()
    given_token = _chosen_token(token)
    chosen = _chosen_target(target, tls=tls)
    if chosen.tls:
        _require_trusted_certificates()
    with channels.connect(chosen.name, tls=chosen.tls, root_certificates=None) as channel:
        _require_reachable(channel, chosen)
        with AvatarCreator(channel=channel, token=given_token) as client:
            try:
                yield Session(
                    client,
                    chosen.name,
                    _connection_options(target, tls=tls),
                    as_json,
                )
            except UnavailableError as error:
                if error.reason:
                    raise
                raise _unreachable(chosen, error.message) from error


def client_command(
    commands: typer.Typer, name: str, *, example: str, panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function that takes a `Session` first. Its command has the options of `open_session` too.

    A parameter whose type is an `OptionGroup` stands for all options of the group.

    Args:
        commands: The commands to which to add it.
        name: Name of the command.
        example: A command line that `--help` shows, without `avatar-creator`.
        panel: Heading of a command that is in no group, in `--help`.
    """

    def register(run: Callable[..., None]) -> Callable[..., None]:
        _, *own = signature(run, eval_str=True).parameters.values()
        groups = {
            parameter.name: parameter.annotation
            for parameter in own
            if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, OptionGroup)
        }
        connection = signature(open_session, eval_str=True).parameters
        # Typer passes all parameters by name, so their order matters only for `--help`.
        parameters = [
            each.replace(kind=each.KEYWORD_ONLY)
            for parameter in own
            for each in (groups[parameter.name].parameters() if parameter.name in groups else [parameter])
        ]

        def command(**options: Any) -> None:
            with open_session(**{option: options.pop(option) for option in connection}) as session:
                for group, kind in groups.items():
                    options[group] = kind.take(options)
                run(session, **options)

        command.__doc__ = run.__doc__
        command.__signature__ = Signature(  # type: ignore[attr-defined]
            [*parameters, *(each.replace(kind=each.KEYWORD_ONLY) for each in connection.values())]
        )
        epilog = f"Example: avatar-creator {example}"
        commands.command(name, rich_help_panel=panel, epilog=epilog)(command)
        return run

    return register


def _chosen_token(token: str | None) -> str:
    """Return the token by the client's own rule, which an empty option cannot switch off."""
    try:
        return choose_token(token.strip() or None if token else None, os.environ)
    except UnauthenticatedError:
        raise CommandError(
            f"no token: set {TOKEN_VARIABLE}, for example to the output of `avatar-creator token --user "
            "USER_ID`, which needs the settings of the service"
        ) from None


def _chosen_target(target: str | None, *, tls: bool) -> Target:
    """Return the target by the client's own rule."""
    try:
        return choose_target(target, tls or None, os.environ, argument="--target")
    except ValueError as error:
        raise CommandError(str(error)) from None


def _require_trusted_certificates() -> None:
    # gRPC would log a missing file, trust nothing, and report that the server cannot be reached.
    path = os.environ.get(_TRUSTED_CERTIFICATES, "").strip()
    if not path:
        return
    from avatar_creator_server.settings.tls_files import require_readable

    try:
        require_readable(path)
    except ValueError as error:
        raise CommandError(f"{_TRUSTED_CERTIFICATES}: {error}") from None


def _require_reachable(channel: grpc.Channel, target: Target) -> None:
    """Fail at once if no server answers. The client would retry for as long as a call may take."""
    try:
        HealthStub(channel).Check(HealthCheckRequest(), timeout=_CONNECT_SECONDS)
    except grpc.RpcError as rpc_error:
        error = from_rpc_error(rpc_error)
        if isinstance(error, DeadlineExceededError):
            raise _unreachable(target, f"no answer within {_CONNECT_SECONDS:.0f} s") from error
        if isinstance(error, UnavailableError):
            raise _unreachable(target, error.message) from error


def _unreachable(target: Target, cause: str) -> CommandError:
    return CommandError(
        f"cannot reach {target.name}: check that the server is running, and check --target and --tls "
        f"({cause})"
    )


def _connection_options(target: str | None, *, tls: bool) -> str:
    return (f" --target {shlex.quote(target)}" if target is not None else "") + (" --tls" if tls else "")


def _console(is_terminal: bool, *, stderr: bool = False) -> Console:
    return Console(
        stderr=stderr,
        width=None if is_terminal else UNLIMITED_WIDTH,
        # Text that users wrote is not markup.
        markup=False,
        emoji=False,
        highlight=False,
    )


def _document(result: Result) -> Any:
    match result:
        case Value():
            return result.to_dict()
        case str() | int():
            return result
        case Mapping():
            return {name: _document(part) for name, part in result.items()}
    return [_document(part) for part in result]
