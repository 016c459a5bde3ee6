"""The colors of people, clothes and backgrounds."""

from __future__ import annotations

from dataclasses import dataclass

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


def rgb(code: str) -> Color:
    """Return the color of a six-digit hexadecimal code."""
    return (int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16))


def mix(color: Color, other: Color, share: float) -> Color:
    """Mix `share` (0 to 1) of another color into the color."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return (red, green, blue)


def deeper(color: Color, share: float = 0.25) -> Color:
    """Return the color in shadow. It is mixed with plum, because black looks muddy."""
    return mix(color, _PLUM, share)


def lighter(color: Color, share: float = 0.25) -> Color:
    """Return the color in light."""
    return mix(color, _CREAM, share)


def brightness(color: Color) -> float:
    """Return the brightness of the color, 0 to 1 (luma weights of ITU-R BT.601)."""
    return (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]) / 255


_PLUM = rgb("2A1A3A")
_CREAM = rgb("FFF6EA")
WHITE = rgb("FFFFFF")
INK = rgb("2B2130")


@dataclass(frozen=True, slots=True)
class Skin:
    """The colors of one skin tone."""

    base: Color
    shade: Color
    light: Color
    blush: Color
    lip: Color
    line: Color


def _skin(base: str, shade: str, light: str, blush: str, lip: str, line: str) -> Skin:
    return Skin(rgb(base), rgb(shade), rgb(light), rgb(blush), rgb(lip), rgb(line))


SKIN = {
    "very_light": _skin("FCE4D6", "EDBFA9", "FFF3EA", "F59E94", "D9736F", "8A4B45"),
    "light": _skin("F7D2B7", "E2A887", "FFE6D2", "EE8D7C", "CC6A62", "84453A"),
    "medium": _skin("EBBB93", "CF9067", "F9D5B3", "E27D63", "BC5C50", "723B2B"),
    "olive": _skin("D9AB7A", "B98354", "EBC799", "CF7556", "AE5A4A", "633724"),
    "tan": _skin("C98F60", "A46B41", "DFAC7F", "C1603F", "9F4A3C", "52291A"),
    "brown": _skin("A66C46", "824D2D", "C38A60", "B9533A", "8E433B", "3C1D12"),
    "dark": _skin("7A4D35", "583421", "996748", "9E4436", "83393A", "2A140D"),
}

HAIR = {
    "black": rgb("2C2631"),
    "dark_brown": rgb("493229"),
    "brown": rgb("7C4D31"),
    "blonde": rgb("E0B56A"),
    "red": rgb("BC5730"),
    "gray": rgb("9B9CA6"),
    "white": rgb("ECE8E4"),
}

EYES = {
    "brown": rgb("7A4A2B"),
    "dark_brown": rgb("472A1D"),
    "hazel": rgb("94733A"),
    "amber": rgb("C2852B"),
    "green": rgb("4F8A5B"),
    "blue": rgb("4387C0"),
    "gray": rgb("7C8C9A"),
}


@dataclass(frozen=True, slots=True)
class Scheme:
    """Matching colors of a background and of clothes."""

    sky: Color
    """Top of the background."""
    haze: Color
    """Bottom of the background."""
    disc: Color
    """Circle behind the head."""
    garment: Color
    accent: Color
    fabric: Color
    """Headwear without a fixed color."""


def _scheme(sky: str, haze: str, disc: str, garment: str, accent: str, fabric: str) -> Scheme:
    return Scheme(rgb(sky), rgb(haze), rgb(disc), rgb(garment), rgb(accent), rgb(fabric))


SCHEMES = (
    _scheme("CBE6F3", "EAF5F6", "F8E3C4", "E2725B", "F6C667", "2F6F8F"),
    _scheme("F9D9CB", "FDF0E6", "F7BFA7", "2F7F86", "F4B860", "B4536A"),
    _scheme("D9D3F0", "F2EEFA", "BFB4E6", "F2A65A", "5C4B9B", "6C5AA8"),
    _scheme("CFE8DA", "EFF8F0", "A9D8C0", "D9576B", "F7D379", "2E7D6B"),
    _scheme("FBE6B8", "FEF6E1", "F8D07A", "3D6FA8", "E5694A", "3F7F77"),
    _scheme("F6CFD8", "FDEDF0", "F2AFC0", "4A5FA5", "F3C05F", "8C4A78"),
    _scheme("C9E4E6", "EDF6F4", "8CCBCB", "F0875C", "305A78", "C8606B"),
    _scheme("DDE6C7", "F5F7E8", "BFD197", "A9527A", "F0B94F", "55793F"),
    _scheme("F3DDC6", "FBF2E7", "E8BF95", "4C8C6B", "D5573B", "A8513F"),
    _scheme("CAD8F2", "EDF2FB", "A3BEEB", "E9A13B", "2E4A8C", "3A5BA0"),
)

SUITS = (rgb("2F3A56"), rgb("3B3F4A"), rgb("4A3B4F"), rgb("2F4C4C"), rgb("5B4636"))
SHIRTS = (rgb("FBFAF7"), rgb("DCE9F7"), rgb("FBE7E4"), rgb("F4EFD9"))
STRAW = rgb("EBCF95")
FELT = rgb("2A2730")
GOLD = rgb("E7B84B")
DENIM = rgb("5B7FAE")
