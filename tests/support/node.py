"""Node and npm, which `make` installs into `.venv-node`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.child_process import run

REPOSITORY = Path(__file__).parents[2]
CLIENT = REPOSITORY / "clients" / "typescript"
"""Folder of the TypeScript client."""
BIN = REPOSITORY / ".venv-node" / "bin"
_COMMAND_SECONDS = 240.0


def node_environment(variables: Mapping[str, str], bin: Path = BIN) -> dict[str, str]:
    """Return our environment with these variables, and with the programs of `bin` first in the path."""
    return {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", **variables}


def run_node(
    *arguments: str | Path, directory: Path = CLIENT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Node to its end, and return its exit code and its output with its errors."""
    return run(
        [BIN / "node", *arguments],
        timeout=_COMMAND_SECONDS,
        directory=directory,
        environment=environment or node_environment({}),
        merge_errors=True,
    )


def require_built_client() -> None:
    """Fail if `make` has not built the TypeScript client."""
    assert (CLIENT / "dist" / ".built").exists(), "build the TypeScript client first: run 'make typescript'"


def run_node_tests(*files: Path, **variables: str) -> None:
    """Run tests of the TypeScript client, and fail with their report if one fails.

    Args:
        files: The tests. There must be at least one.
        variables: Environment variables that the tests read.

    Raises:
        AssertionError: A test failed, or `make typescript` has not built the client.
    """
    assert files, "no tests to run"
    require_built_client()
    finished = run_node("--test", "--test-timeout=120000", *files, environment=node_environment(variables))
    assert finished.returncode == 0, f"tests of the TypeScript client failed:\n{finished.stdout}"
