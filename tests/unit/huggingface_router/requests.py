"""Helpers that send requests to the fake and decode its pictures."""

from __future__ import annotations

import base64
import io
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from tests.support.huggingface_router import Behavior

LORA = "fal-ai/flux-lora"
KONTEXT = "fal-ai/flux-kontext/dev"
IMMEDIATE = Behavior(run_seconds=0)
# Loading the system's certificates takes most of a test's time.
PLAIN: Any = {"verify": False, "trust_env": False}
SHORT = httpx.Timeout(10.0, read=0.05)
"""Timeout for an answer that never arrives."""
INPUT = {
    "prompt": "confident business woman",
    "image_size": {"width": 256, "height": 320},
    "num_inference_steps": 28,
    "guidance_scale": 3.5,
    "seed": 7,
    "loras": [{"path": "XLabs-AI/flux-RealismLora", "scale": 0.8}],
}


def submit(http: httpx.Client, app: str = LORA, **changed: Any) -> httpx.Response:
    """Submit a job to an app and return the answer."""
    return http.post(f"/fal-ai/{app}", params={"_subdomain": "queue"}, json={**INPUT, **changed})


def submit_job(http: httpx.Client, app: str = LORA, **changed: Any) -> str:
    """Submit a job and return its path, derived in the same way as in huggingface.js."""
    response = submit(http, app, **changed)
    assert response.status_code == 200, response.text
    return f"/fal-ai{urlsplit(response.json()['response_url']).path}"


def get(http: httpx.Client, path: str, **query: str) -> httpx.Response:
    """Send a GET request to the queue."""
    return http.get(path, params={"_subdomain": "queue", **query})


def fetch_picture(http: httpx.Client, app: str = LORA, **changed: Any) -> httpx.Response:
    """Submit a job and download its picture."""
    job = submit_job(http, app, **changed)
    result = get(http, job)
    assert result.status_code == 200, result.text
    return httpx.get(result.json()["images"][0]["url"], **PLAIN)


def decode(content: bytes) -> Image.Image:
    """Decode a picture completely."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def data_uri(color: str, size: tuple[int, int] = (300, 200)) -> str:
    """Return a picture of one color as a data URI."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
