"""The Python examples of the client's guide and of both READMEs run and print the documented output."""

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
MIN_BLOCKS = 15

_PAGE_SECONDS = 60.0
_SECTION_MARK = "~~~ block of line"
_FILE = re.compile(r"# (\w+\.py)")
_PRINT_WITH_OUTPUT = re.compile(r"\bprint\(.*\),?  # (.+)")


@dataclass(frozen=True, slots=True)
class Block:
    """A Python block of a page."""

    line: int
    """Line number of its opening fence."""
    code: str

    @property
    def file_name(self) -> str:
        """File name in the first line, or empty if the block runs as part of the page."""
        named = _FILE.fullmatch(self.code.partition("\n")[0])
        return named[1] if named else ""

    @property
    def expected_output(self) -> list[str]:
        """Documented outputs: the comments after each `print`. In them, `…` stands for any text."""
        return _PRINT_WITH_OUTPUT.findall(self.code)


def python_blocks(page: Path) -> list[Block]:
    """Return every Python block of a page."""
    text = page.read_text()
    return [
        Block(text.count("\n", 0, fence.start()) + 1, fence[1])
        for fence in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def page_script(page: Path) -> str:
    """Join the blocks without a file name into one script, at their line numbers in the page."""
    lines: list[str] = []
    for block in python_blocks(page):
        if not block.file_name:
            lines += [""] * (block.line - 1 - len(lines))
            lines += [f'print("{_SECTION_MARK} {block.line}")', *block.code.splitlines()]
    return "\n".join(lines)


def run_python(*arguments: str, folder: Path, **environment: str) -> str:
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


def test_every_page_has_python_examples() -> None:
    assert len(python_blocks(GUIDE)) >= MIN_BLOCKS
    assert all(python_blocks(page) for page in PAGES)


@pytest.mark.parametrize("shared_deployment", ["distributed"], indirect=True)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_block_runs_and_prints_its_documented_output(
    page: Path, shared_deployment: Deployment, user: str, tmp_path: Path
) -> None:
    shutil.copy(PICTURE, tmp_path / "sarah.jpg")
    # `make demo`, the first command in the README, creates this picture.
    demo = tmp_path / "avatar-creator-demo" / "upload.jpeg"
    demo.parent.mkdir()
    shutil.copy(PICTURE, demo)
    script = tmp_path / page.with_suffix(".py").name
    script.write_text(page_script(page))

    printed = run_python(
        script.name,
        folder=tmp_path,
        AVATAR_CREATOR_TARGET=shared_deployment.target,
        AVATAR_CREATOR_TOKEN=shared_deployment.token(user),
        POSE_GENERATOR_TOKEN=shared_deployment.token(user, app_id="pose-generator"),
    )

    sections = printed.split(_SECTION_MARK)[1:]
    ran = [block for block in python_blocks(page) if not block.file_name]
    for block, section in zip(ran, sections, strict=True):
        lines = iter(section.splitlines())
        for expected in block.expected_output:
            pattern = ".*".join(map(re.escape, expected.split("…")))
            # The iterator consumes the lines up to the match: the search for the next output starts after it.
            found = any(re.fullmatch(pattern, line) for line in lines)
            assert found, f"{page.name}, block of line {block.line}, never printed {expected!r}:\n{section}"


def test_the_example_tests_of_an_app_pass(tmp_path: Path) -> None:
    for block in python_blocks(GUIDE):
        if block.file_name:
            (tmp_path / block.file_name).write_text(block.code)

    printed = run_python("-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", folder=tmp_path)

    assert "2 passed" in printed
