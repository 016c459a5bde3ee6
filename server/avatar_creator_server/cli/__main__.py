"""`python -m avatar_creator_server.cli`, for environments without the command `avatar-creator`."""

from __future__ import annotations

from avatar_creator_server.cli import main

main()
