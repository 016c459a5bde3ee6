"""`python -m avatar_creator_server.cli`, for where the command `avatar-creator` is not installed."""

from __future__ import annotations

from avatar_creator_server.cli import main

main()
