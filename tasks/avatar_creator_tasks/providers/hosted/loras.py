"""Addresses of LoRAs for providers that download them from the Hugging Face Hub."""

from __future__ import annotations

from urllib.parse import quote

from avatar_creator_server.generations.routes import Lora

_HUB = "https://huggingface.co"


def weight_file_url(lora: Lora) -> str | None:
    """Return the URL of the LoRA's weight file; None if its name is not set.

    A provider then gets the repository, which must have only one weight file. Its revision cannot be chosen.
    """
    if not lora.weight_file:
        return None
    revision = quote(lora.revision or "main", safe="")
    return f"{_HUB}/{quote(lora.repository)}/resolve/{revision}/{quote(lora.weight_file)}"
