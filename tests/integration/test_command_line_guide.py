"""The command line guide: its commands, run in order, print the output that the guide shows."""

from __future__ import annotations

import shutil

import pytest
import typer
from typer.core import TyperGroup

from avatar_creator_server.cli.app import app
from avatar_creator_server.demo.run import PHOTOGRAPH
from tests.support.console_guide import REPOSITORY, commands, run_session
from tests.support.service import Deployment

GUIDE = REPOSITORY / "docs" / "command-line.md"

# The guide relies on the default of `--target`, which the test's service does not have.
_USE_THE_TARGET = """
avatar-creator() {
    case $1 in
        serve | worker | migrate | token | doctor | demo) command avatar-creator "$@" ;;
        *) command avatar-creator "$@" --target "$TARGET" ;;
    esac
}
"""


def command_names() -> list[str]:
    """Return every command that `avatar-creator` shows, for example `serve` and `avatars upload`."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    names: list[str] = []
    for name, command in root.commands.items():
        if isinstance(command, TyperGroup):
            names += [f"{name} {subcommand}" for subcommand in command.commands]
        elif not command.hidden:
            names.append(name)
    return names


def test_the_guide_has_every_command() -> None:
    text = GUIDE.read_text()

    assert [name for name in command_names() if f"`{name}`" not in text] == []
    assert [name for name in command_names() if f"avatar-creator {name}" not in text] == []


@pytest.mark.parametrize("deployment", ["embedded"], indirect=True)
def test_every_command_prints_the_output_that_the_guide_shows(deployment: Deployment) -> None:
    shutil.copy(PHOTOGRAPH, deployment.directory / "sarah.jpg")
    guide = commands(GUIDE)

    results = run_session(guide, deployment, setup=_USE_THE_TARGET, TARGET=deployment.target)

    for command, result in zip(guide, results, strict=True):
        report = f"{GUIDE.name}, line {command.line}, exit status {result.status}, printed:\n{result.output}"
        assert command.matches(result.output), report
        assert (result.status != 0) == any(line.startswith("error: ") for line in command.shown), report
