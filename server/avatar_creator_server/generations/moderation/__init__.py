"""Moderation: a check of a request's words before anything is created.

The operator can set up two checks: a deny list in a file, and a moderation service. Neither checks
`options.negative_prompt`: it names what the picture must not show, so denied words belong there.
"""

from __future__ import annotations

from avatar_creator_server.generations.moderation.moderation import Moderation

__all__ = ["Moderation"]
