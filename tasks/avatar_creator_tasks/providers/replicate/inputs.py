"""The input of a prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from avatar_creator_server.generations.routes import Lora
from avatar_creator_server.model_table import MODELS, App
from avatar_creator_tasks.providers.base import PortraitRequest
from avatar_creator_tasks.providers.hosted.loras import weight_file_url
from avatar_creator_tasks.providers.hosted.pictures import reference_uri
from avatar_creator_tasks.providers.replicate.schemas import SCHEMAS, Schema, Sizing

MAX_REFERENCE_BYTES = 256_000
"""Maximum size of a reference's file. The HTTP API asks for data URIs of at most 256 kB, which "Replicate
will not store"; the page on input files allows 1 MB. A larger file would need the files API, which keeps a
copy."""

_MAX_REFERENCES = max(
    app.max_references
    for model in MODELS
    if (hosted := model.hosted.get("replicate")) is not None
    for app in (hosted.reference, hosted.reference_lora)
    if app is not None
)
MAX_REFERENCES_BYTES = _MAX_REFERENCES * 2 * MAX_REFERENCE_BYTES
"""Maximum size of all references of a request in JSON. Base64 adds a third, and JSON may escape its `/`."""

_MAX_LORA_SCALE = 3.0
"""Maximum of flux-dev-lora (github.com/replicate/cog-flux, predict.py)."""


def app_of(request: PortraitRequest) -> App:
    """Return the model on Replicate that draws this request.

    Raises:
        ValueError: The route has no such model.
    """
    app = request.route.app
    if app is None or app.name not in SCHEMAS:
        raise ValueError(f"the route {request.route.name} has no model on Replicate")
    return app


def prediction_input(request: PortraitRequest) -> dict[str, Any]:
    """Return the input of a prediction. Encoding a reference is slow: call this in a thread.

    Raises:
        ValueError: The model needs a reference and the request has none.
    """
    app = app_of(request)
    schema = SCHEMAS[app.name]
    size = request.width, request.height
    values: dict[str, Any] = {
        "seed": request.seed,
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "negative_prompt": request.negative_prompt or None,
        # `go_fast` runs a quantized model, whose "outputs will not be deterministic […], even if you set a
        # seed" (github.com/replicate/cog-flux, predict.py). The recipe would be wrong.
        "acceleration": False,
        # Replicate's input is `disable_safety_checker`.
        "safety_checker": False,
    }
    body: dict[str, Any] = {"prompt": request.prompt, **schema.fixed}
    lora = request.route.lora
    if lora is not None:
        values["lora"] = _lora_address(lora)
        body["lora_scale"] = min(lora.scale, _MAX_LORA_SCALE)
    if app.max_references:
        if not request.references:
            raise ValueError(f"the route {request.route.name} needs a reference, and the request has none")
        uris = [
            reference_uri(reference.image, size, max_bytes=MAX_REFERENCE_BYTES)
            for reference in request.references
        ]
        values |= {"reference": uris[0], "references": uris}
        # The references have the requested size, so their aspect ratio is the requested one.
        body["aspect_ratio"] = "match_input_image"
        body |= _megapixels(schema, size)
    else:
        body |= _size(schema, size)
    return body | {name: values[ours] for ours, name in app.inputs.items() if values.get(ours) is not None}


def _lora_address(lora: Lora) -> str:
    """Return the address at which Replicate finds the LoRA: the file on the hub, or the repository.

    Models take `huggingface.co/{owner}/{name}` and the address of any `.safetensors` file
    (github.com/replicate/cog-flux, predict.py).
    """
    return weight_file_url(lora) or f"huggingface.co/{lora.repository}"


def _size(schema: Schema, size: tuple[int, int]) -> dict[str, Any]:
    if schema.sizing is Sizing.RATIO:
        return {"aspect_ratio": _closest_ratio(schema.ratios, size), **_megapixels(schema, size)}
    multiple = schema.side_multiple
    width, height = (max(1, round(side / multiple)) * multiple for side in size)
    chosen: dict[str, Any] = {"width": width, "height": height}
    return chosen | ({"aspect_ratio": "custom"} if schema.sizing is Sizing.RATIO_OR_CUSTOM else {})


def _closest_ratio(ratios: Mapping[str, tuple[int, int]], size: tuple[int, int]) -> str:
    wanted = math.log(size[0] / size[1])

    def distance(ratio: str) -> float:
        width, height = ratios[ratio]
        return abs(math.log(width / height) - wanted)

    return min(ratios, key=distance)


def _megapixels(schema: Schema, size: tuple[int, int]) -> dict[str, str]:
    """Return the smallest choice that is not smaller than the requested picture, or the largest one."""
    if not schema.megapixels:
        return {}
    wanted = size[0] * size[1] / (1024 * 1024)
    choices = schema.megapixel_choices
    return {schema.megapixels: next((each for each in choices if float(each) >= wanted), choices[-1])}
