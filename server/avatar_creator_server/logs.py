"""Structured logs on standard error: one JSON object per line, or aligned text on a terminal.

No line has a secret: the last step of every log removes them, also from the texts of libraries.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from structlog.typing import EventDict

from avatar_creator_server.redaction import Redactor


def configure_logging(level: str, redactor: Redactor) -> None:
    """Set up the logs of this process.

    Args:
        level: Lowest level to log: `debug`, `info`, `warning` or `error`.
        redactor: Removes the secrets from each line.
    """

    def redact_values(_logger: Any, _method: str, event: EventDict) -> EventDict:
        # Before the renderer, which would escape what a value has escaped already.
        return {
            name: redactor.redact(value) if isinstance(value, str) else value for name, value in event.items()
        }

    def redact_line(_logger: Any, _method: str, line: Any) -> Any:
        return redactor.redact(line)

    on_terminal = sys.stderr.isatty()
    # Plain tracebacks, because structlog's own show local variables, and so keys and prompts.
    terminal_renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if on_terminal else [structlog.processors.format_exc_info]),
            redact_values,
            terminal_renderer if on_terminal else structlog.processors.JSONRenderer(),
            redact_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log only warnings and errors.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, force=True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_RedactingFormatter(redactor))


class _RedactingFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.redact(super().format(record))
