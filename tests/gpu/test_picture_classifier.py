"""The classifier in a folder of weights, alone and in the complete service, with tiny models on the CPU."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from safetensors.torch import load_file, save_file

from avatar_creator_server.settings import SettingsError
from avatar_creator_tasks.picture_moderation.blurring import blurred
from avatar_creator_tasks.picture_moderation.folder import FolderClassifier
from tests.pictures import scene
from tests.support.generations import COMPLETED, SMALLEST
from tests.support.ports import free_port
from tests.support.presence import present
from tests.support.random_classifier import save_random_classifier
from tests.support.service import Deployment

SECONDS = 120.0
"""Timeout of a portrait. The first portrait waits for the import of torch."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a classifier whose scores depend on the picture."""
    saved = tmp_path / "nsfw_image_detection"
    save_random_classifier(saved)
    return saved


@asynccontextmanager
async def loaded(folder: Path) -> AsyncIterator[FolderClassifier]:
    classifier = FolderClassifier(str(folder))
    try:
        await classifier.load()
        yield classifier
    finally:
        await classifier.close()


async def refusal(folder: Path) -> str:
    """Return the message with which a folder is refused."""
    with pytest.raises(SettingsError) as refused:
        async with loaded(folder):
            pass
    message = str(refused.value)
    assert message.startswith(f"PICTURE_MODERATION {folder} ")
    return message


async def test_the_score_is_the_probability_of_the_label_nsfw(tmp_path: Path) -> None:
    save_random_classifier(tmp_path / "fixed", score=0.85)
    async with loaded(tmp_path / "fixed") as classifier:
        assert classifier.name == "fixed"
        for image in (scene(), Image.new("RGB", (1440, 256), "white")):
            assert await classifier.nsfw_score(image) == pytest.approx(0.85, abs=1e-4)


async def test_the_score_depends_on_the_picture_alone(folder: Path) -> None:
    async with loaded(folder) as classifier:
        scores = [await classifier.nsfw_score(image) for image in (scene(), scene(640, 640), scene())]
        white = await classifier.nsfw_score(Image.new("RGB", (64, 64), "white"))
    assert scores[0] == scores[2]
    assert abs(scores[0] - white) > 1e-4
    assert all(0 <= score <= 1 for score in (*scores, white))


async def test_weights_that_are_missing_are_not_replaced_by_random_ones(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks weights, for example classifier.bias" in await refusal(folder)


async def test_a_damaged_file_is_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be loaded as an image classifier" in await refusal(folder)


async def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    assert "cannot be loaded as an image classifier" in await refusal(folder)


async def test_weights_that_give_no_number_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] += math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "gives a gray picture no usable score" in await refusal(folder)


async def test_code_in_the_folder_does_not_run(folder: Path) -> None:
    marker = folder.parent / "ran"
    code = f"open({str(marker)!r}, 'w')\nclass Model: pass\n"
    (folder / "modeling_evil.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    evil = {
        **config,
        "model_type": "evil",
        "auto_map": {
            "AutoConfig": "modeling_evil.Model",
            "AutoModelForImageClassification": "modeling_evil.Model",
        },
    }
    (folder / "config.json").write_text(json.dumps(evil))
    assert "cannot be loaded as an image classifier" in await refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize(("action", "score"), [("blur", 0.9), ("blur", 0.1), ("refuse", 0.9)])
def test_a_local_model_is_checked_by_a_local_classifier(
    model: Path, tmp_path: Path, user: str, action: str, score: float
) -> None:
    classifier = tmp_path / "nsfw_image_detection"
    save_random_classifier(classifier, score=score)
    deployment = Deployment.embedded(
        tmp_path,
        PROVIDER="diffusers",
        MODEL=str(model),
        MODEL_DEVICE="cpu",
        LORA_REPOSITORY="none",
        PICTURE_MODERATION=str(classifier),
        PICTURE_MODERATION_ACTION=action,
    )
    try:
        deployment.start()
        with deployment.client(user) as client:
            project = client.projects.create("Moderated")
            generation = client.generations.create(
                project.id, "a woman", width=SMALLEST, height=SMALLEST, steps=2, seed=1
            )
            *_, ended = client.generations.watch(generation.id, timeout=SECONDS)
            if action == "refuse":
                assert present(ended.error).explanation.endswith("withheld the picture as not safe for work")
                return
            recipe = client.generations.recipe(generation.id)
            picture = Image.open(BytesIO(client.avatars.download(present(ended.avatar_id)))).convert("RGB")
    finally:
        deployment.close()

    flagged = score > 0.5
    verdict = ended.picture_moderation
    assert ended.state == COMPLETED
    assert (present(verdict).flagged, present(verdict).blurred) == (flagged, flagged)
    assert present(verdict).score == pytest.approx(score, abs=1e-4)
    assert recipe is not None
    assert (recipe.picture_classifier, recipe.blurred) == ("nsfw_image_detection", flagged)
    # A blurred picture hardly changes when it is blurred again.
    change = ImageChops.difference(picture, blurred(picture)).getextrema()
    assert (max(high for _, high in change) < 60) == flagged  # type: ignore[misc]


def test_a_service_with_damaged_weights_does_not_start(model: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"damaged")
    deployment = Deployment.embedded(
        tmp_path,
        PROVIDER="diffusers",
        MODEL=str(model),
        LORA_REPOSITORY="none",
        PICTURE_MODERATION=str(folder),
        # The server listens before the weights are read.
        LISTEN_ADDRESS=f"127.0.0.1:{free_port()}",
    )
    stopped = deployment.run_command("serve")
    assert stopped.returncode == 1
    [message] = [line for line in stopped.stderr.splitlines() if line.startswith("error: ")]
    assert message.startswith(f"error: PICTURE_MODERATION {folder} cannot be loaded")
    assert "picture_classifier_load_failed" in stopped.stderr
