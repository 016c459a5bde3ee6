"""What a request looks like to each route.

fal's apps: fal.ai/models/fal-ai/flux-lora/llms.txt, and likewise of `fal-ai/flux/dev`,
`fal-ai/flux-kontext/dev` and `fal-ai/flux-kontext-lora`. A single request: huggingface_hub,
inference/_providers/hf_inference.py, and huggingface.co/docs/inference-providers/tasks/text-to-image.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from avatar_creator_server.generations.routes import Lora
from avatar_creator_tasks.providers.base import PortraitRequest
from avatar_creator_tasks.providers.huggingface.pictures import reference_uri

_HUB = "https://huggingface.co"


def app_of(request: PortraitRequest) -> str:
    """The app of fal that a request is for."""
    has_lora = request.route.lora is not None
    if request.route.name == "fal-ai-kontext":
        return "fal-ai/flux-kontext-lora" if has_lora else "fal-ai/flux-kontext/dev"
    return "fal-ai/flux-lora" if has_lora else "fal-ai/flux/dev"


def app_input(request: PortraitRequest) -> dict[str, Any]:
    """The body for the app. Takes a while if there is a reference: call it in a thread.

    Raises:
        ValueError: the app draws from a reference and there is none.
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
        raise ValueError("the route fal-ai-kontext draws from a reference, and there is none")
    else:
        # The app has no size of its own: the picture gets that of the reference, or one close to it.
        body["image_url"] = reference_uri(request.reference.image, size)
        body["resolution_mode"] = "match_input"
    lora = request.route.lora
    if lora is not None:
        body["loras"] = [{"path": lora_path(lora), "scale": lora.scale}]
    return body


def lora_path(lora: Lora) -> str:
    """Where fal finds it: a repository of the hub, which must have one weight file only, or the file's URL.

    Only the latter can be of a revision.
    """
    if not lora.weight_file:
        return lora.repository
    revision = quote(lora.revision or "main", safe="")
    return f"{_HUB}/{quote(lora.repository)}/resolve/{revision}/{quote(lora.weight_file)}"


def single_input(request: PortraitRequest) -> dict[str, Any]:
    """The body for hf-inference and for endpoints."""
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
