"""The finished portrait of a hosted model: in the requested size, with warnings about what differs."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image

from avatar_creator_server.images.processing import fitted
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest


def finished_portrait(
    image: Image.Image, request: PortraitRequest, facts: Mapping[str, str], seed: int | None = None
) -> Portrait:
    """Return the portrait in the requested size. Scaling is slow: call this in a thread.

    Args:
        image: The provider's picture.
        request: The request.
        facts: The provider's facts for the recipe.
        seed: The seed that the provider reports; None if it reports none.
    """
    warnings = []
    size = request.width, request.height
    if image.size != size:
        warnings.append(
            f"the provider drew {image.width}x{image.height} pixels; "
            f"the picture was scaled and cropped to {size[0]}x{size[1]}"
        )
        image = fitted(image, size)
    if seed is not None and seed != request.seed:
        warnings.append(f"the provider used the seed {seed} instead of {request.seed}")
    lora = request.route.lora
    if lora is not None and lora.revision and not lora.weight_file:
        warnings.append(
            "the LoRA's revision was not sent to the provider, because it needs the name of the weight file: "
            "the operator must set LORA_WEIGHT_FILE"
        )
    return Portrait(image, dict(facts), tuple(warnings))
