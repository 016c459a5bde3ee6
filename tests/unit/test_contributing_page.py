"""The page for contributors names only files, tests and make targets that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text()
FOLDERS = ("", "server/avatar_creator_server/", "clients/python/avatar_creator/", "clients/typescript/")
"""Folders to which a section's paths are relative."""

PATHS = sorted(set(re.findall(r"`([\w.]+/[\w./-]*\w)`", PAGE)))
TESTS = sorted(set(re.findall(r"T=(\S+?)::(\w+)", PAGE)))
TARGETS = sorted(set(re.findall(r"make ([a-z][a-z-]*)", PAGE)))


def test_the_page_names_many_places() -> None:
    assert len(PATHS) > 25
    assert TESTS
    assert len(TARGETS) > 8


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    made = path.startswith(("build/", ".venv"))

    assert made or any((REPOSITORY / folder / path).exists() for folder in FOLDERS)


@pytest.mark.parametrize(("file", "test"), TESTS)
def test_every_test_exists(file: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\(", (REPOSITORY / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
