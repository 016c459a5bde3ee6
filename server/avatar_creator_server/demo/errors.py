"""The error of the demo."""

from __future__ import annotations


class DemoError(Exception):
    """The demo could not draw its portrait; the message says why."""
