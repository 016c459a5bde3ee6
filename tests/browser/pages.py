"""The addresses of all pages, and the time when one is complete."""

from __future__ import annotations

from collections.abc import Mapping

PATHS: Mapping[str, str] = {
    "projects": "/",
    "project": "/projects/{project}",
    "generate": "/projects/{project}/generate",
    "avatar": "/avatars/{avatar}",
    "history": "/history",
    "presets": "/presets",
    "usage": "/usage",
}
"""Paths by the names of the pages, with the ids that they need."""


def path_of(page: str, *, project: str, avatar: str) -> str:
    """Return the path of a page for these ids."""
    return PATHS[page].format(project=project, avatar=avatar)
