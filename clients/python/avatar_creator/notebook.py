"""Cards and grids in place of texts, for notebooks: avatars with their pictures, presets, and generations.

The HTML takes its colors from the page around it, so it is readable on a light and on a dark page. All texts
are escaped. Nothing here calls the service: an avatar shows a picture only if it was read with thumbnails.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from io import BytesIO

from avatar_creator.values import Avatar, Generation, Preset

_SIDE = 150
"""Width and height of a picture, in pixels of the page. Thumbnails have twice as many, for sharp screens."""
_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_FAINT = "opacity:.65;font-size:85%"
_BORDER = "border:1px solid rgba(128,128,128,.4);border-radius:6px"


def avatar_card(avatar: Avatar) -> str:
    """Return the picture of an avatar with its name, origin and id."""
    facts = [avatar.source_type.replace("_", " ")]
    if avatar.picture_moderation and avatar.picture_moderation.flagged:
        facts.append("flagged")
    return _card(avatar.thumbnail_data, avatar.name, ", ".join(facts), avatar.id)


def preset_card(preset: Preset) -> str:
    """Return the picture of a preset with its name, category and id."""
    return _card(preset.image_data, preset.name, preset.category, preset.id)


def grid(items: Iterable[object], *, title: str = "") -> str:
    """Return the cards of avatars, presets or generations next to each other, in as many rows as needed."""
    heading = f'<div style="font-weight:bold;margin-bottom:6px">{escape(title)}</div>' if title else ""
    cards = "".join(_card_of(item) for item in items)
    return f'{heading}<div style="display:flex;flex-wrap:wrap;gap:8px">{cards}</div>'


def generation_card(generation: Generation) -> str:
    """Return the state of a generation, with its progress, prompt and result."""
    state = generation.state if generation.ended else generation.stage
    rows = [("prompt", generation.prompt)]
    if generation.error:
        rows.append(("error", f"{generation.error.reason}: {generation.error.explanation}"))
    rows += [("note", warning) for warning in generation.warnings]
    rows += [
        ("provider", generation.provider or ""),
        ("price", f"${generation.price_usd:f}" if generation.price_micros else ""),
        ("seed", str(generation.seed_used)),
        ("avatar", generation.avatar_id or ""),
        ("generation", generation.id),
    ]
    facts = "".join(
        f'<div style="{_FAINT}">{name}</div><div style="overflow-wrap:anywhere">{escape(text)}</div>'
        for name, text in rows
        if text
    )
    bar = f'<div style="width:{generation.progress_percent:d}%;height:100%;background:#3b82f6"></div>'
    return (
        f'<div style="{_BORDER};padding:10px;max-width:560px">'
        f'<div style="display:flex;justify-content:space-between"><b>{escape(generation.avatar_name)}</b>'
        f"<span>{escape(state.replace('_', ' '))}, {generation.progress_percent:d} %</span></div>"
        f'<div style="height:6px;margin:6px 0;background:rgba(128,128,128,.25)">{bar}</div>'
        f'<div style="display:grid;grid-template-columns:auto 1fr;gap:2px 12px">{facts}</div></div>'
    )


def _card_of(item: object) -> str:
    match item:
        case Avatar():
            return avatar_card(item)
        case Preset():
            return preset_card(item)
        case Generation():
            return generation_card(item)
    return f'<div style="{_BORDER};padding:6px">{escape(repr(item))}</div>'


def png(picture: bytes | None) -> bytes | None:
    """Return a picture as PNG, for frontends that show no HTML; None without a picture or without Pillow."""
    if not picture:
        return None
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return None
    file = BytesIO()
    with Image.open(BytesIO(picture)) as image:
        image.save(file, "PNG")
    return file.getvalue()


def _card(picture: bytes | None, name: str, fact: str, id: str) -> str:
    return (
        f'<div style="{_BORDER};padding:6px;width:{_SIDE}px;line-height:1.35">{_picture(picture, name)}'
        f'<div style="{_LINE};font-weight:bold" title="{escape(name)}">{escape(name)}</div>'
        f'<div style="{_LINE};{_FAINT}">{escape(fact)}</div>'
        f'<div style="{_LINE};{_FAINT}" title="{escape(id)}">{escape(id)}</div></div>'
    )


def _picture(picture: bytes | None, name: str) -> str:
    if picture:
        # Thumbnails and the pictures of presets are WebP.
        source = f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
        style = f"display:block;width:{_SIDE}px;height:{_SIDE}px;max-width:none"
        return f'<img src="{source}" alt="{escape(name)}" style="{style}">'
    initials = "".join(word[0] for word in name.split()[:2]).upper()
    return (
        f'<div style="width:{_SIDE}px;height:{_SIDE}px;display:flex;align-items:center;'
        f'justify-content:center;background:rgba(128,128,128,.2);font-size:48px" '
        f'title="read without its picture">'
        f"{escape(initials)}</div>"
    )
