"""What the client's guide and both READMEs say in Python does what they say it does."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import child_process
from tests.support.service import Deployment

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "client.md"
PAGES = [GUIDE, REPOSITORY / "README.md", REPOSITORY / "clients" / "python" / "README.md"]
PICTURE = REPOSITORY / "server" / "avatar_creator_server" / "demo" / "astronaut.jpg"
ADDRESS = "localhost:50051"
FEWEST_BLOCKS = 15

_PAGE_SECONDS = 60.0
_BEGINS = "~~~ block of line"
_FILE = re.compile(r"# (\w+\.py)")
_PRINTED = re.compile(r"\bprint\(.*\),?  # (.+)")


@dataclass(frozen=True, slots=True)
class Block:
    """A Python block of a page."""

    line: int
    """Of its fence."""
    code: str

    @property
    def file_name(self) -> str:
        """What it is a file of, named in its first line; empty: it is run as it stands."""
        named = _FILE.fullmatch(self.code.partition("\n")[0])
        return named[1] if named else ""

    @property
    def shown(self) -> list[str]:
        """What it says that it prints, behind the `print`; `…` is any text."""
        return _PRINTED.findall(self.code)


def blocks(page: Path) -> list[Block]:
    """Every Python block of a page."""
    text = page.read_text()
    return [
        Block(text.count("\n", 0, fence.start()) + 1, fence[1])
        for fence in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def program(page: Path) -> str:
    """The blocks of a page that are run, each in the lines of the page that it has there."""
    lines: list[str] = []
    for block in blocks(page):
        if not block.file_name:
            lines += [""] * (block.line - 1 - len(lines))
            lines += [f'print("{_BEGINS} {block.line}")', *block.code.splitlines()]
    return "\n".join(lines)


def run(*arguments: str, folder: Path, **environment: str) -> str:
    """Run Python in a folder and return its output, which is also in the message if it fails."""
    finished = child_process.run(
        [sys.executable, *arguments],
        timeout=_PAGE_SECONDS,
        directory=folder,
        environment={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "clients" / "python")]),
            **environment,
        },
    )
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def test_the_pages_have_their_examples() -> None:
    assert len(blocks(GUIDE)) >= FEWEST_BLOCKS
    assert all(blocks(page) for page in PAGES)


@pytest.mark.parametrize("shared_deployment", ["distributed"], indirect=True)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_block_runs_and_prints_what_it_says(
    page: Path, shared_deployment: Deployment, user: str, tmp_path: Path
) -> None:
    shutil.copy(PICTURE, tmp_path / "sarah.jpg")
    # `make demo`, the README's first command, leaves this picture.
    demo = tmp_path / "avatar-creator-demo" / "upload.jpeg"
    demo.parent.mkdir()
    shutil.copy(PICTURE, demo)
    script = tmp_path / page.with_suffix(".py").name
    script.write_text(program(page).replace(ADDRESS, shared_deployment.target))

    printed = run(
        script.name,
        folder=tmp_path,
        AVATAR_CREATOR_TOKEN=shared_deployment.token(user),
        POSE_GENERATOR_TOKEN=shared_deployment.token(user, app_id="pose-generator"),
    )

    sections = printed.split(_BEGINS)[1:]
    ran = [block for block in blocks(page) if not block.file_name]
    for block, section in zip(ran, sections, strict=True):
        lines = iter(section.splitlines())
        for shown in block.shown:
            pattern = ".*".join(map(re.escape, shown.split("…")))
            # Consumes the lines up to the one that fits, so the next is looked for behind it.
            found = any(re.fullmatch(pattern, line) for line in lines)
            assert found, f"{page.name}, block of line {block.line}, never printed {shown!r}:\n{section}"


def test_the_example_of_an_apps_test_passes(tmp_path: Path) -> None:
    for block in blocks(GUIDE):
        if block.file_name:
            (tmp_path / block.file_name).write_text(block.code)

    printed = run("-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", folder=tmp_path)

    assert "2 passed" in printed
