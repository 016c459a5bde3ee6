"""Recipes: what made a picture, and how two pictures compare."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from PIL import Image, ImageCms

from avatar_creator_server.database.json_columns import from_json

_COMPARED_SIDE = 64
"""Pixels, both sides: keeps how a face looks and drops single strands of hair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What made a picture: the same provider makes the same or nearly the same of it again."""

    provider: str
    """`sketch`, `huggingface` or `diffusers`."""
    route: str
    """The provider's way of making it; see `avatar_creator_server.generations.routes.Route.name`."""
    model: str
    """Its id on the hub, a folder, or empty for `sketch`."""
    model_revision: str = ""
    """Commit or tag of the model; empty where the route does not say."""
    lora: str = ""
    """The LoRA's repository or folder; empty without one."""
    lora_weight_file: str = ""
    """The LoRA's file in it; empty: its only one."""
    lora_revision: str = ""
    """Commit or tag of the LoRA; empty where it is not pinned."""
    lora_scale: float = 0.0
    """How strongly the LoRA acted; 0 without one."""
    seed: int
    """0 to 2^32-1."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    steps: int = 0
    """Denoising steps; 0 where there are none."""
    guidance_scale: float = 0.0
    """0 where there is none."""
    enhanced_prompt: str
    """The prompt built from persona, attributes and prompt."""
    provider_prompt: str
    """The prompt as it was sent."""
    negative_prompt: str = ""
    """As it was sent; empty if none was."""
    reference_avatar_id: str = ""
    """The avatar it started from; empty if none."""
    reference_sha256: str = ""
    """Of that avatar's picture file as it was then, in lower-case hexadecimal; empty if none."""
    reference_strength: float = 0.0
    """How far it was let go from the reference; 0 without one."""
    provider_facts: Mapping[str, str] = field(default_factory=dict)
    """The provider's own; see `avatar_creator_tasks.providers.base.Portrait.facts`."""
    pixels_sha256: str
    """See the function of this name."""
    software: str
    """What `this_software` says."""

    def to_json(self) -> dict[str, Any]:
        """The recipe as it is kept in a JSON column, its fields in their order here."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Recipe:
        """Read a recipe that `to_json` wrote, in this version of the code or a later one.

        Fields that only the later one knows are left out: during an upgrade both read the same rows.
        """
        return from_json(cls, stored)


@cache
def this_software() -> str:
    """Name and version of this service, `avatar-creator 0.1.0`, as the installed package states them."""
    return f"avatar-creator {version('avatar-creator')}"


def pixels_sha256(image: Image.Image) -> str:
    """SHA-256 of a picture's pixels, whatever file they come in, in lower-case hexadecimal.

    Hashed are width and height as unsigned integers of 4 bytes each, most significant byte first, and then
    the pixels row by row from the top, each row from the left, as 3 bytes each: red, green, blue.
    Transparency and colour profiles do not count.
    """
    digest = hashlib.sha256()
    for side in image.size:
        digest.update(side.to_bytes(4, "big"))
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def colour_difference(one: Image.Image, other: Image.Image) -> float:
    """How far apart two pictures look: their mean colour difference when both are scaled to 64 by 64 pixels.

    It is the Euclidean distance in L*a*b* (CIE 1976 delta E*ab, ISO/CIE 11664-4), averaged over the pixels:
    0 for the same picture, about 2.3 for a just noticeable difference (M. Mahy, L. Van Eycken and
    A. Oosterlinck in Color Research and Application 19, 1994), 100 between black and white. The pictures may
    be of different sizes. They are taken for sRGB; L*a*b* is relative to the white D50, as ICC profiles have
    it, and as LittleCMS codes it in bytes: L* to 0.4, a* and b* to 1.
    """
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    return math.fsum(map(math.dist, _lab(one, to_lab), _lab(other, to_lab))) / _COMPARED_SIDE**2


def _lab(image: Image.Image, to_lab: ImageCms.ImageCmsTransform) -> Iterator[tuple[float, int, int]]:
    small = image.convert("RGB").resize((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX)
    coded = to_lab.apply(small).tobytes()
    signed = memoryview(coded).cast("b")
    return zip((level * 100 / 255 for level in coded[::3]), signed[1::3], signed[2::3], strict=True)
