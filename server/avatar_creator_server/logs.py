"""Structured logs on standard error: one JSON object per line, or aligned text on a terminal.

No line has a secret that `redaction.py` knows or recognizes, also not in the texts of libraries and in the
tracebacks of exceptions that nothing catches. Numbers stay as they are.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict

from avatar_creator_server.redaction import Redactor

log = structlog.get_logger()


def configure_logging(level: str, redactor: Redactor, *, process: int | None = None) -> None:
    """Set up the logs of this process, and log the exceptions that nothing catches.

    Args:
        level: Lowest level to log: `debug`, `info`, `warning` or `error`.
        redactor: Removes the secrets from each line.
        process: Number of this process in each line, if it is one of several of the same server.
    """

    def redact(value: Any) -> Any:
        match value:
            case str():
                return redactor.redact(value)
            case None | bool() | int() | float():
                return value
            case Mapping():
                return {redact(str(name)): redact(each) for name, each in value.items()}
            case list() | tuple() | set() | frozenset():
                return [redact(each) for each in value]
        return redactor.redact(repr(value))

    of_process = {} if process is None else {"process": process}

    def complete(_logger: Any, level: str, event: EventDict) -> EventDict:
        # Before the renderer: it escapes the values, and a hidden part of an escaped line could end a text.
        redacted = {
            name: redactor.redact(value) if type(value) is str else redact(value)
            for name, value in event.items()
        }
        # After the redaction: a secret such as `info` must not change them.
        timestamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {**redacted, **of_process, "level": level, "timestamp": timestamp}

    on_terminal = sys.stderr.isatty()
    # Plain tracebacks, because structlog's own show local variables, and so keys and prompts.
    terminal_renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            complete,
            terminal_renderer if on_terminal else _render_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # It writes a line at once: several processes write to the same file.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log only warnings and errors.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_RedactingFormatter(redactor, process))
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    sys.unraisablehook = _log_unraisable


def _render_json(_logger: Any, _method: str, event: EventDict) -> str:
    # structlog's own renderer makes an encoder for each line, for values that the redaction has replaced.
    return json.dumps(event)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, Exception):
        log.error("exception_not_caught", exc_info=(kind, error, traceback))
    else:  # for example the user's Ctrl-C
        sys.__excepthook__(kind, error, traceback)


def _log_uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and found.exc_type is not SystemExit:
        log.error(
            "exception_not_caught",
            thread=found.thread.name if found.thread is not None else "",
            exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
        )


def _log_unraisable(found: sys.UnraisableHookArgs) -> None:
    if found.exc_value is not None:
        log.error(
            "exception_not_caught",
            place=repr(found.object),
            exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
        )


class _RedactingFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor, process: int | None) -> None:
        super().__init__("%(message)s" if process is None else f"process {process}: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact(super().format(record))
