"""Structured logs on standard error: one JSON object a line, or aligned text when a person is watching."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging(level: str) -> None:
    """Log from `level` up: `debug`, `info`, `warning` or `error`."""
    person_watches = sys.stderr.isatty()
    # With tracebacks as Python writes them: structlog's own show local variables, and so keys and prompts.
    for_a_person = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if person_watches else [structlog.processors.format_exc_info]),
            for_a_person if person_watches else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log for themselves only what is worth a warning.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s", force=True)
