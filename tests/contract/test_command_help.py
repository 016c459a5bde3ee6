"""The help of every command, and the words that the shell completes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from avatar_creator.enums import ErrorReason, HairStyle
from avatar_creator.v1.attributes_pb2 import Attributes
from avatar_creator.v1.persona_pb2 import Persona
from avatar_creator_server.cli.app import app
from tests.support.child_process import run

_PROCESSES = {"serve", "worker", "demo"}
"""Commands that run until they are stopped, or that show something to people."""


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that is no group, with the words that name it."""
    for name, child in command.commands.items():
        if isinstance(child, TyperGroup):
            yield from leaves(child, (*path, name))
        elif not child.hidden:
            yield (*path, name), child


COMMANDS = dict(leaves(typer.main.get_command(app)))


def options(*path: str) -> set[str]:
    """Return the names of a command's options."""
    return {name for parameter in COMMANDS[path].params for name in parameter.opts}


def completed(typed: str, shell: str = "bash") -> list[str]:
    """Return what the shell would offer after the typed text."""
    words = {
        "bash": {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": typed},
    }
    finished = run(
        [str(Path(sys.executable).with_name("avatar-creator"))],
        timeout=60.0,
        environment={
            "PATH": os.environ["PATH"],
            "_AVATAR_CREATOR_COMPLETE": f"complete_{shell}",
            **words[shell],
        },
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split()


def test_every_command_says_what_it_does_with_an_example_that_it_accepts() -> None:
    for path, command in COMMANDS.items():
        name = " ".join(path)
        assert (command.help or "").split("\n")[0].endswith("."), name
        begin = f"Example: avatar-creator {name}"
        assert (command.epilog or "").startswith(begin), name
        arguments = shlex.split(command.epilog.removeprefix(begin))
        # Refused arguments raise an error.
        command.make_context(name, arguments)
        assert [each.name for each in command.params if not getattr(each, "help", "")] == [], name


def test_every_command_can_print_json() -> None:
    without = {" ".join(path) for path in COMMANDS if "--json" not in options(*path)}

    assert without == _PROCESSES


def test_every_listing_takes_a_user_of_an_operator() -> None:
    for path in (("projects", "list"), ("avatars", "list"), ("generations", "list"), ("stats",)):
        assert "--user" in options(*path), path


def test_every_field_of_a_person_is_an_option() -> None:
    fields = {f"--{field.name}" for field in Attributes.DESCRIPTOR.fields}
    fields |= {f"--persona-{field.name}" for field in Persona.DESCRIPTOR.fields}

    for path in (("generate",), ("avatars", "update")):
        assert {name.replace("_", "-") for name in fields} <= options(*path)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("avatar-creator generate --hair-style ", [str(word) for word in HairStyle]),
        ("avatar-creator avatars update a1 --headwear h", ["hijab", "headscarf"]),
        ("avatar-creator avatars update a1 --clear persona-n", ["persona-name"]),
        ("avatar-creator generations list --state p", ["pending", "processing"]),
        (
            "avatar-creator generations retry-now --reason PROVIDER_",
            [word for word in ErrorReason if word.startswith("PROVIDER_")],
        ),
        ("avatar-creator generate --age-range young-", ["young-adult"]),
        ("avatar-creator generate --age-range young_", ["young_adult"]),
    ],
)
def test_the_shell_completes_words(typed: str, words: list[str]) -> None:
    assert completed(typed) == words


def test_another_shell_completes_words_and_options() -> None:
    assert "middle_aged" in " ".join(completed("avatar-creator generate --age-range ", "zsh"))
    assert "--persona-background" in completed("avatar-creator generate --persona-b")
