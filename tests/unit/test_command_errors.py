"""Errors of the command line: one sentence on standard error for each cause, and no traceback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from avatar_creator_server import cli
from avatar_creator_server.cli import app
from avatar_creator_server.cli.errors import error_message
from avatar_creator_server.settings import SettingsError


def test_a_system_error_reads_as_a_sentence() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Path("/nonexistent/file").read_bytes()

    assert error_message(caught.value) == "/nonexistent/file: No such file or directory"


def test_an_error_inside_a_task_group_reads_as_the_error_itself() -> None:
    group = ExceptionGroup("unhandled errors in a TaskGroup", [SettingsError("JWT_SECRET is not set")])

    assert error_message(ExceptionGroup("outer", [group])) == "JWT_SECRET is not set"
    assert error_message(ExceptionGroup("outer", [group, TypeError("a defect")])) is None


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo what a command configures in this process."""
    configuration, handlers = structlog.get_config(), list(logging.root.handlers)
    level = logging.root.level
    yield
    structlog.configure(**configuration)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.usefixtures("restored_logging")
def test_a_defect_is_logged_and_ends_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise TypeError("unexpected keyword argument 'family'")

    monkeypatch.setattr(app, "app", fail)

    with pytest.raises(SystemExit) as ended:
        cli.main()

    logged, sentence = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert json.loads(logged)["event"] == "command_failed"
    assert "unexpected keyword argument" in json.loads(logged)["exception"]
    assert sentence == (
        "error: a defect of Avatar Creator (TypeError): report it with the log entry command_failed"
    )
