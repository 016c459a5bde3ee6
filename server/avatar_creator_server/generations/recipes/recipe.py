"""Recipes of pictures, and the comparison of two pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from PIL import Image, ImageCms

from avatar_creator_server.database.json_columns import from_json
from avatar_creator_server.generations.routes import current_name

_COMPARED_SIDE = 64
"""Width and height for the comparison, in pixels: it keeps the look of a face, without strands of hair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that made a picture. The same provider makes the same or nearly the same picture from it."""

    provider: str
    """`sketch`, `huggingface`, `replicate` or `diffusers`."""
    route: str
    """Name of the provider's route; see `avatar_creator_server.generations.routes.Route.name`."""
    model: str
    """Id of the model on the hub, or a folder; empty for `sketch`."""
    model_revision: str = ""
    """Commit or tag of the model; empty if the route does not say."""
    lora: str = ""
    """Repository or folder of the LoRA; empty without a LoRA."""
    lora_weight_file: str = ""
    """File of the LoRA in its repository; empty if the repository has only one."""
    lora_revision: str = ""
    """Commit or tag of the LoRA; empty if it is not pinned."""
    lora_scale: float = 0.0
    """Strength of the LoRA; 0 without a LoRA."""
    seed: int
    """Seed of the random numbers, 0 to 2^32-1."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    steps: int = 0
    """Number of denoising steps; 0 if the provider has no steps."""
    guidance_scale: float = 0.0
    """Strength of the guidance; 0 if the provider has no guidance."""
    enhanced_prompt: str
    """The prompt built from persona, attributes and prompt."""
    provider_prompt: str
    """The prompt that was sent to the provider."""
    negative_prompt: str = ""
    """The negative prompt that was sent to the provider; empty if none was sent."""
    reference_avatar_ids: tuple[str, ...] = ()
    """Ids of the reference avatars, in the order in which the model received their pictures."""
    reference_sha256s: tuple[str, ...] = ()
    """SHA-256 of each reference's picture file, in lower-case hexadecimal."""
    reference_strength: float = 0.0
    """Allowed distance from the reference; 0 without a reference."""
    speed: str = "exact"
    """Value of `avatar_creator_server.generations.routes.Route.speed`."""
    provider_facts: Mapping[str, str] = field(default_factory=dict)
    """Facts from the provider; see `avatar_creator_tasks.providers.base.Portrait.facts`."""
    pixels_sha256: str
    """Result of the function of this name for the picture."""
    software: str
    """Result of `this_software` when the picture was made."""
    picture_classifier: str = ""
    """Name of the classifier's folder, or host of its address; empty if none has checked the picture."""
    picture_score: float = 0.0
    """Score of the classifier; see `avatar_creator_server.images.records.PictureModeration`."""
    blurred: bool = False
    """True if the picture is blurred because the classifier flagged it."""

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as the value of a JSON column, with its fields in their order here.

        `reference_avatar_id` and `reference_sha256` repeat the first reference, for earlier versions and for
        readers of the file.
        """
        return {
            **asdict(self),
            "reference_avatar_id": first(self.reference_avatar_ids),
            "reference_sha256": first(self.reference_sha256s),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Recipe:
        """Read a recipe that `to_json` wrote, in this version of the code or a later one.

        Fields that only a later version has are left out: during an upgrade, both read the same rows.
        """
        recipe = from_json(cls, stored)
        return replace(
            recipe,
            route=current_name(recipe.route),
            reference_avatar_ids=_references(stored, "reference_avatar_id"),
            reference_sha256s=_references(stored, "reference_sha256"),
        )


def first(values: Sequence[str]) -> str:
    """Return the first value, or an empty text if there is none."""
    return values[0] if values else ""


def _references(stored: Mapping[str, Any], field_of_one: str) -> tuple[str, ...]:
    """Return a field of all references. Earlier versions stored that of one reference."""
    one = stored.get(field_of_one)
    return tuple(stored.get(f"{field_of_one}s") or ([one] if one else []))


@cache
def this_software() -> str:
    """Return the name and version of the installed package, for example `avatar-creator 0.1.0`."""
    return f"avatar-creator {version('avatar-creator')}"


def pixels_sha256(image: Image.Image) -> str:
    """Return the SHA-256 of a picture's pixels in lower-case hexadecimal, independent of the file format.

    The hash is over the width and the height, each an unsigned big-endian integer of 4 bytes, and then the
    pixels, row by row from the top and each row from the left, each as 3 bytes: red, green, blue.
    Transparency and color profiles do not count.
    """
    digest = hashlib.sha256()
    for side in image.size:
        digest.update(side.to_bytes(4, "big"))
    digest.update(image.convert("RGB").tobytes())
    return digest.hexdigest()


def colour_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean color difference of two pictures, both scaled to 64x64 pixels.

    The difference of two pixels is the Euclidean distance in L*a*b* (CIE 1976 delta E*ab, ISO/CIE 11664-4).
    It is 0 for the same picture, about 2.3 for a just noticeable difference (M. Mahy, L. Van Eycken and
    A. Oosterlinck in Color Research and Application 19, 1994), and 100 between black and white. The pictures
    may have different sizes. They count as sRGB. L*a*b* is relative to the white D50, as in ICC profiles, and
    has the precision of LittleCMS's bytes: 0.4 for L*, and 1 for a* and b*.
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
