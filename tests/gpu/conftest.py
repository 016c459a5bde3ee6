"""Fixtures: a tiny FLUX model with random weights, and a LoRA for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# huggingface_hub reads this when it is imported. No test uses the hub.
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.support.random_flux import save_random_flux, save_random_lora


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the model."""
    folder = tmp_path_factory.mktemp("flux")
    save_random_flux(folder)
    return folder


@pytest.fixture(scope="session")
def lora_folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `lora.safetensors`."""
    folder = tmp_path_factory.mktemp("lora")
    save_random_lora(folder, model, "lora.safetensors")
    return folder
