"""Request bodies of each route.

The inputs of fal's apps are in the table of models. Sources for single requests: huggingface_hub,
inference/_providers/hf_inference.py, and huggingface.co/docs/inference-providers/tasks/text-to-image.
"""

from __future__ import annotations

from typing import Any

from avatar_creator_server.model_table import App, Guidance
from avatar_creator_tasks.providers.base import PortraitRequest
from avatar_creator_tasks.providers.hosted.loras import weight_file_url
from avatar_creator_tasks.providers.hosted.pictures import reference_uri


def app_of(request: PortraitRequest) -> App:
    """Return the fal app that draws this request.

    Raises:
        ValueError: The route has no app.
    """
    if request.route.app is None:
        raise ValueError(f"the route {request.route.name} has no app")
    return request.route.app


def app_input(request: PortraitRequest) -> dict[str, Any]:
    """Return the request body for the fal app. Encoding references is slow: call this in a thread.

    Raises:
        ValueError: The app needs a reference and the request has none.
    """
    inputs = app_of(request).inputs
    size = request.width, request.height
    body: dict[str, Any] = {"prompt": request.prompt, "output_format": "png"}
    values: dict[str, Any] = {
        "size": {"width": request.width, "height": request.height},
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "negative_prompt": request.negative_prompt or None,
        "seed": request.seed,
        # Otherwise the app may skip steps, and the recipe would be wrong.
        "acceleration": "none",
        "safety_checker": True,
    }
    if request.route.lora is not None:
        lora = request.route.lora
        # fal finds a repository of the hub by its id.
        values["lora"] = [{"path": weight_file_url(lora) or lora.repository, "scale": lora.scale}]
    if "reference" in inputs or "references" in inputs:
        if not request.references:
            raise ValueError(f"the route {request.route.name} needs a reference, and the request has none")
        uris = [reference_uri(reference.image, size) for reference in request.references]
        values |= {"reference": uris[0], "references": uris}
        values["reference_strength"] = request.references[0].strength
        if "size" not in inputs:
            # The picture gets about the size of the reference.
            body["resolution_mode"] = "match_input"
    return body | {name: values[ours] for ours, name in inputs.items() if values.get(ours) is not None}


def single_input(request: PortraitRequest) -> dict[str, Any]:
    """Return the request body for hf-inference and for endpoints."""
    model = request.route.known_model
    # Otherwise the pipeline of a model that was distilled to draw without guidance has guidance by default.
    unguided = 0.0 if model is not None and model.guidance is Guidance.NONE else None
    parameters: dict[str, Any] = {
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "guidance_scale": unguided if request.guidance_scale is None else request.guidance_scale,
        "seed": request.seed,
        "negative_prompt": request.negative_prompt or None,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    return {"inputs": request.prompt, "parameters": given}
