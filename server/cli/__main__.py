"""`python -m server.cli`, for where the command `avatar-creator` is not installed."""

from __future__ import annotations

from server.cli import main

main()
