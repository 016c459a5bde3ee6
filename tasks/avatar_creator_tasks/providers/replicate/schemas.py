"""The form of each model's input on Replicate, in addition to the names of inputs in the table of models.

Every model has its own names and ranges, and Replicate refuses values outside of them with 422. Sources:

- FLUX.1 dev, schnell, Krea dev, dev-lora: github.com/replicate/cog-flux, predict.py, and the models' pages
- FLUX.1 Kontext dev: replicate.com/black-forest-labs/flux-kontext-dev/versions/a1408d2c…/api
- FLUX.2 dev, pro, klein 4B: replicate.com/black-forest-labs/flux-2-dev/versions/7bba46bd…/api,
  …/flux-2-pro/versions/285631b5…/api and …/flux-2-klein-4b/versions/8e9c42d7…/api
- FLUX.2 flex: the page of black-forest-labs/flux-2-flex, as others copied it
- FLUX.2 klein 9B: only the schema of klein 9B base was found; it is assumed to have the inputs of klein 4B
- Qwen-Image, Qwen-Image-Edit and Z-Image-Turbo: schemas and examples in public code that calls them

No source has the choices of klein's `output_megapixels` except its default 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_RATIOS_OF_FLUX_1 = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
"""Aspect ratios, with width and height of their pictures (github.com/replicate/cog-flux, predict.py)."""
_RATIOS_OF_FLUX_2 = {
    ratio: (int(ratio.partition(":")[0]), int(ratio.partition(":")[2]))
    for ratio in ("1:1", "16:9", "3:2", "2:3", "4:5", "5:4", "9:16", "3:4", "4:3")
}
"""Aspect ratios whose exact sizes no source has."""
_RATIOS_OF_QWEN = {
    "1:1": (1328, 1328),
    "16:9": (1664, 928),
    "9:16": (928, 1664),
    "4:3": (1472, 1140),
    "3:4": (1140, 1472),
    "3:2": (1584, 1056),
    "2:3": (1056, 1584),
}
"""Aspect ratios, with the sizes that hosts of the model recommend (docs.siliconflow.com,
images-generations)."""


class Sizing(Enum):
    """The way in which a model receives the size of the picture."""

    RATIO = "an aspect ratio"
    """The model decides the size."""
    RATIO_OR_CUSTOM = "width and height, with the aspect ratio `custom`"
    EXACT = "width and height"


@dataclass(frozen=True, slots=True)
class Schema:
    """The form of one model's input."""

    sizing: Sizing
    ratios: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Accepted aspect ratios, with the proportions of their pictures."""
    megapixels: str = ""
    """Input for the size in megapixels, next to an aspect ratio; empty if there is none."""
    megapixel_choices: tuple[str, ...] = ()
    """Accepted values of that input, from the smallest to the largest."""
    side_multiple: int = 16
    """Number of which width and height are multiples, in pixels; they are rounded down."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Inputs with the same value in every request."""


_PNG = {"output_format": "png"}
_FLUX_1 = Schema(
    Sizing.RATIO,
    _RATIOS_OF_FLUX_1,
    "megapixels",
    ("0.25", "1"),
    fixed={**_PNG, "num_outputs": 1},
)
_FLUX_2 = Schema(Sizing.RATIO_OR_CUSTOM, side_multiple=32, fixed=_PNG)
_KLEIN = Schema(Sizing.RATIO, _RATIOS_OF_FLUX_2, "output_megapixels", ("1", "2"), fixed=_PNG)

SCHEMAS: Mapping[str, Schema] = {
    "black-forest-labs/flux-dev": _FLUX_1,
    "black-forest-labs/flux-dev-lora": _FLUX_1,
    "black-forest-labs/flux-krea-dev": _FLUX_1,
    "black-forest-labs/flux-schnell": _FLUX_1,
    "black-forest-labs/flux-kontext-dev": Schema(Sizing.RATIO, _RATIOS_OF_FLUX_1, fixed=_PNG),
    "black-forest-labs/flux-2-dev": _FLUX_2,
    "black-forest-labs/flux-2-pro": Schema(
        Sizing.RATIO_OR_CUSTOM, side_multiple=32, fixed={**_PNG, "safety_tolerance": 2}
    ),
    "black-forest-labs/flux-2-flex": Schema(
        Sizing.RATIO_OR_CUSTOM,
        side_multiple=32,
        # The model must get the prompt of the recipe.
        fixed={**_PNG, "safety_tolerance": 2, "prompt_upsampling": False},
    ),
    "black-forest-labs/flux-2-klein-4b": _KLEIN,
    "black-forest-labs/flux-2-klein-9b": _KLEIN,
    "qwen/qwen-image": Schema(
        Sizing.RATIO,
        _RATIOS_OF_QWEN,
        fixed={**_PNG, "enhance_prompt": False, "image_size": "optimize_for_quality"},
    ),
    "qwen/qwen-image-edit": Schema(Sizing.RATIO, _RATIOS_OF_QWEN, fixed=_PNG),
    "prunaai/z-image-turbo": Schema(Sizing.EXACT, fixed={**_PNG, "guidance_scale": 0}),
}
"""Schemas by the model's name on Replicate, `owner/name`."""
