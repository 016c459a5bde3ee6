"""The command `avatars download`: file names, and files that exist already."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from PIL import Image

from avatar_creator import AvatarCreator
from avatar_creator_server.images.file_names import default_file_name
from tests import pictures
from tests.support.command_line import CommandLine
from tests.support.waiting import wait_until


def test_a_download_gets_a_safe_name_and_replaces_files_only_with_force(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    avatar = shared_client.avatars.upload(project.id, pictures.jpeg(), name="../../[red]x[/] ..")
    wait_until(lambda: not shared_client.avatars.get(avatar.id).thumbnail_pending)
    name = "red-x.jpg"

    assert command_line.output("avatars", "download", avatar.id) == f"Saved the 48x32 picture to {name}.\n"
    assert [path.name for path in command_line.directory.iterdir()] == [name]
    kept = (command_line.directory / name).read_bytes()
    assert kept == shared_client.avatars.download(avatar.id)

    (command_line.directory / name).write_text("mine")
    assert f"{name} already exists" in command_line.error("avatars", "download", avatar.id)
    (command_line.directory / "link").symlink_to("nowhere")
    assert "link already exists" in command_line.error("avatars", "download", avatar.id, "--to", "link")
    assert (command_line.directory / name).read_text() == "mine"
    command_line.output("avatars", "download", avatar.id, "--force")
    assert (command_line.directory / name).read_bytes() == kept

    saved = command_line.json("avatars", "download", avatar.id, "--thumbnail")
    assert saved["path"] == "red-x-thumbnail.webp"
    elsewhere = command_line.directory / "elsewhere.webp"
    command_line.json("avatars", "download", avatar.id, "--thumbnail", "--to", str(elsewhere))
    for path in (command_line.directory / saved["path"], elsewhere):
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("WEBP", (300, 300))
    assert "No such file or directory" in command_line.error(
        "avatars", "download", avatar.id, "--to", "no/such/folder.jpg"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Sarah", "Sarah.png"),
        ("Sarah O'Neil, age 32", "Sarah-O-Neil-age-32.png"),
        ("a/b\\c", "a-b-c.png"),
        ("../../etc/passwd", "etc-passwd.png"),
        (".hidden", "hidden.png"),
        ("-rf", "rf.png"),
        ("...", "avatar.png"),
        ("/", "avatar.png"),
        ("x\x1b[31m\ny", "x-31m-y.png"),
        ("v1.2", "v1.2.png"),
        ("नेहा", "नेहा.png"),
        ("サラ", "サラ.png"),
    ],
)
def test_the_name_of_an_avatar_becomes_a_file_name(name: str, expected: str) -> None:
    assert default_file_name(name, "image/png") == expected


def test_a_long_name_becomes_a_file_name_that_file_systems_accept(tmp_path: Path) -> None:
    path = tmp_path / default_file_name("サ" * 120, "image/webp", thumbnail=True)

    path.touch()

    assert path.name.endswith("サ-thumbnail.webp")
    # The client writes to a longer temporary name first.
    assert len(path.name.encode()) <= 255 - len(f"..{uuid.uuid4().hex}.part")
