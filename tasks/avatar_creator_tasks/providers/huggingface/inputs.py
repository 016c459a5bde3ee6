"""Request bodies of each route.

Sources for fal's apps: fal.ai/models/fal-ai/flux-lora/llms.txt and the same page of `fal-ai/flux/dev`,
`fal-ai/flux-kontext/dev` and `fal-ai/flux-kontext-lora`. Sources for single requests: huggingface_hub,
inference/_providers/hf_inference.py, and huggingface.co/docs/inference-providers/tasks/text-to-image.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from avatar_creator_server.generations.routes import Lora
from avatar_creator_tasks.providers.base import PortraitRequest
from avatar_creator_tasks.providers.hosted.pictures import reference_uri

_HUB = "https://huggingface.co"


def app_of(request: PortraitRequest) -> str:
    """Return the name of the fal app that draws this request."""
    has_lora = request.route.lora is not None
    if request.route.name == "fal-ai-kontext":
        return "fal-ai/flux-kontext-lora" if has_lora else "fal-ai/flux-kontext/dev"
    return "fal-ai/flux-lora" if has_lora else "fal-ai/flux/dev"


def app_input(request: PortraitRequest) -> dict[str, Any]:
    """Return the request body for the fal app. Encoding a reference is slow: call this in a thread.

    Raises:
        ValueError: The app needs a reference and the request has none.
    """
    body: dict[str, Any] = {
        "prompt": request.prompt,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
        "num_images": 1,
        "output_format": "png",
        "enable_safety_checker": True,
    }
    size = request.width, request.height
    if request.route.name != "fal-ai-kontext":
        body["image_size"] = {"width": request.width, "height": request.height}
    elif request.reference is None:
        raise ValueError("the route fal-ai-kontext needs a reference, and the request has none")
    else:
        # The app has no size parameter: the picture gets about the size of the reference.
        body["image_url"] = reference_uri(request.reference.image, size)
        body["resolution_mode"] = "match_input"
    lora = request.route.lora
    if lora is not None:
        body["loras"] = [{"path": lora_path(lora), "scale": lora.scale}]
    return body


def lora_path(lora: Lora) -> str:
    """Return the path at which fal finds the LoRA.

    The path is the URL of the weight file or, without a weight file, the repository on the hub. The
    repository must then have only one weight file, and its revision cannot be chosen.
    """
    if not lora.weight_file:
        return lora.repository
    revision = quote(lora.revision or "main", safe="")
    return f"{_HUB}/{quote(lora.repository)}/resolve/{revision}/{quote(lora.weight_file)}"


def single_input(request: PortraitRequest) -> dict[str, Any]:
    """Return the request body for hf-inference and for endpoints."""
    parameters: dict[str, Any] = {
        "width": request.width,
        "height": request.height,
        "num_inference_steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
    }
    if request.negative_prompt:
        parameters["negative_prompt"] = request.negative_prompt
    return {"inputs": request.prompt, "parameters": parameters}
