"""Hair: the part behind the head and the part that frames the face, for each cut."""

from __future__ import annotations

from collections.abc import Callable

from avatar_creator_tasks.providers.sketch.art.hair.braids import paint_braided, paint_braided_behind
from avatar_creator_tasks.providers.sketch.art.hair.curls import (
    paint_afro,
    paint_afro_behind,
    paint_curly,
    paint_curly_behind,
)
from avatar_creator_tasks.providers.sketch.art.hair.falling import (
    paint_falling,
    paint_falling_behind,
    paint_wavy,
    paint_wavy_behind,
)
from avatar_creator_tasks.providers.sketch.art.hair.short import (
    paint_bald,
    paint_buzz_cut,
    paint_short,
    paint_short_behind,
)
from avatar_creator_tasks.providers.sketch.art.hair.tied import (
    paint_bun,
    paint_bun_behind,
    paint_ponytail,
    paint_ponytail_behind,
    paint_put_away,
)
from avatar_creator_tasks.providers.sketch.art.scene import Scene

__all__ = ["paint_hair_behind", "paint_hair_in_front", "shows_ears", "top_of_hair"]

_HIDDEN = frozenset({"hijab", "turban"})
"""Headwear that hides all hair."""

_BEHIND: dict[str, Callable[[Scene], None]] = {
    "short": paint_short_behind,
    "shoulder_length": paint_falling_behind,
    "long": paint_falling_behind,
    "wavy": paint_wavy_behind,
    "curly": paint_curly_behind,
    "afro": paint_afro_behind,
    "braided": paint_braided_behind,
    "bun": paint_bun_behind,
    "ponytail": paint_ponytail_behind,
}

_IN_FRONT: dict[str, Callable[[Scene], None]] = {
    "bald": paint_bald,
    "buzz_cut": paint_buzz_cut,
    "short": paint_short,
    "shoulder_length": paint_falling,
    "long": paint_falling,
    "wavy": paint_wavy,
    "curly": paint_curly,
    "afro": paint_afro,
    "braided": paint_braided,
    "bun": paint_bun,
    "ponytail": paint_ponytail,
    "put_away": paint_put_away,
}


def paint_hair_behind(scene: Scene) -> None:
    """Paint the hair behind the head and the shoulders."""
    if scene.look.headwear not in _HIDDEN:
        behind = _BEHIND.get(_worn_cut(scene))
        if behind:
            behind(scene)


def paint_hair_in_front(scene: Scene) -> None:
    """Paint the hair on top of the head and around the face."""
    if scene.look.headwear not in _HIDDEN:
        _IN_FRONT[_worn_cut(scene)](scene)


def shows_ears(scene: Scene) -> bool:
    """Return whether hair and headwear leave the ears uncovered."""
    look = scene.look
    if look.headwear in _HIDDEN or look.headwear == "headscarf":
        return False
    bare = ("bald", "buzz_cut", "bun", "ponytail", "braided")
    return look.cut in bare or (look.cut in ("short", "curly", "wavy") and not look.soft)


def top_of_hair(scene: Scene) -> float:
    """Return the height of the hair above the crown, in v."""
    tall = {"bald": 0.0, "buzz_cut": 0.02, "afro": 0.28, "curly": 0.15, "bun": 0.06, "ponytail": 0.06}
    return tall.get(scene.look.cut, 0.085)


def _worn_cut(scene: Scene) -> str:
    """Return the visible cut: a draped scarf covers full or tied hair."""
    look = scene.look
    if look.draped and look.cut in ("curly", "afro", "braided", "bun", "ponytail"):
        return "put_away"
    return look.cut
