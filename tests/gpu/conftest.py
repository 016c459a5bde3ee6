"""Fixtures: tiny models with random weights, and LoRAs for them."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

# huggingface_hub reads this when it is imported. No test uses the hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

from tests.support.processors import replace_processors
from tests.support.random_models import save_random_lora, save_random_model

replace_processors()
# For tiny models, several threads only wait for each other.
torch.set_num_threads(1)
# A model that is unloaded collects garbage. It need not look at the objects of all these libraries again.
gc.collect()
gc.freeze()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that returns the folder of the tiny form of a model of the table."""
    parent = tmp_path_factory.mktemp("models")

    @cache
    def folder(model: str) -> Path:
        return save_random_model(parent, model)

    return folder


@pytest.fixture(scope="session")
def model(model_folder: Callable[[str], Path]) -> Path:
    """Return the folder of a tiny FLUX.1-dev."""
    return model_folder("black-forest-labs/FLUX.1-dev")


@pytest.fixture(scope="session")
def lora_folder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `lora.safetensors` for that model."""
    folder = tmp_path_factory.mktemp("lora")
    save_random_lora(folder, model, "lora.safetensors")
    return folder
