"""The provider `diffusers` in the complete service, with tiny models on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from avatar_creator import (
    AttemptOutcome,
    AvatarCreator,
    ErrorReason,
    FailedPreconditionError,
    Generation,
    GenerationStage,
    Recipe,
)
from tests.pictures import scene
from tests.support.generations import CANCELLED, COMPLETED, FAILED, SMALLEST, final_state
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.waiting import wait_until
from tests.support.watcher import Watcher

DRAWING = GenerationStage.DRAWING
LARGE = 1024
"""Width and height in pixels. A step takes about half a second, so that a watcher sees each step."""
SECONDS = 120.0
"""Timeout of a portrait. The first portrait waits for the import of torch."""


def service(directory: Path, model: Path, **settings: str) -> Deployment:
    """Create a service that draws with a model, without a LoRA unless the settings name one."""
    return Deployment.embedded(
        directory,
        PROVIDER="diffusers",
        MODEL=str(model),
        MODEL_DEVICE="cpu",
        **{"LORA_REPOSITORY": "none", **settings},
    )


@pytest.fixture(scope="module")
def drawing_service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start a service without a LoRA."""
    deployment = service(tmp_path_factory.mktemp("service"), model)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def client(drawing_service: Deployment, user: str) -> Iterator[AvatarCreator]:
    """Connect a client as a new user."""
    with drawing_service.client(user) as connected:
        yield connected


def draw(client: AvatarCreator, prompt: str = "confident business woman", **options: Any) -> Generation:
    """Draw a small portrait and return its generation."""
    options = {"width": SMALLEST, "height": SMALLEST, "seed": 1, "steps": 4, **options}
    project = client.projects.create("Drawn")
    return final_state(client.generations.create(project.id, prompt, **options), timeout=SECONDS)


def recipe_of(client: AvatarCreator, generation: Generation) -> Recipe:
    recipe = client.generations.recipe(generation.id)
    assert recipe is not None
    return recipe


def pixels(client: AvatarCreator, generation: Generation) -> str:
    return recipe_of(client, generation).pixels_sha256


def test_a_watch_shows_each_step(client: AvatarCreator) -> None:
    # Loads the model before the test.
    draw(client)
    project = client.projects.create("Steps")
    generation = client.generations.create(project.id, "a woman", width=LARGE, height=LARGE, steps=5)
    states = list(client.generations.watch(generation.id, timeout=SECONDS))

    assert states[-1].state == COMPLETED
    assert states[-1].provider == "diffusers"
    assert not any(state.progress_estimated for state in states)
    assert all(one.progress_percent <= other.progress_percent for one, other in pairwise(states))
    while_drawing = {state.progress_percent for state in states if state.stage == DRAWING}
    assert while_drawing >= {30, 40, 50, 60}
    # The next stage starts at 70 %, directly after the last step.
    assert 70 in {state.progress_percent for state in states}


def test_the_recipe_contains_model_options_and_device(client: AvatarCreator, model: Path) -> None:
    recipe = recipe_of(client, draw(client))
    assert (recipe.provider, recipe.route, recipe.model) == ("diffusers", "local", str(model))
    assert (recipe.lora, recipe.steps, recipe.seed) == (None, 4, 1)
    assert recipe.provider_facts["device"] == "cpu"
    assert recipe.provider_facts["dtype"] == "float32"
    assert float(recipe.provider_facts["seconds_per_step"]) > 0


def test_the_same_seed_gives_the_same_pixels_and_other_options_give_others(client: AvatarCreator) -> None:
    first = draw(client)
    assert pixels(client, first) == pixels(client, draw(client))
    changes: tuple[dict[str, Any], ...] = (
        {"seed": 2},
        {"prompt": "weathered fisherman"},
        {"negative_prompt": "cartoon"},
        {"steps": 5},
    )
    for change in changes:
        assert pixels(client, first) != pixels(client, draw(client, **change)), change


def test_a_reference_changes_the_pixels(client: AvatarCreator) -> None:
    file = BytesIO()
    scene(SMALLEST, SMALLEST).save(file, "PNG")
    project = client.projects.create("References")
    avatar = client.avatars.upload(project.id, file.getvalue(), name="Scene")
    from_text = draw(client)
    near = draw(client, reference=avatar.id, reference_strength=0.3)
    far = draw(client, reference=avatar.id, reference_strength=0.8)
    assert len({pixels(client, generation) for generation in (from_text, near, far)}) == 3
    assert recipe_of(client, near).reference_strength == pytest.approx(0.3)


def test_words_that_the_model_does_not_read_cause_a_warning(client: AvatarCreator) -> None:
    generation = draw(client, prompt="a " * 300)
    [warning] = generation.warnings
    assert "tokens and the model reads 512" in warning


def test_a_cancelled_generation_stops_between_two_steps(
    client: AvatarCreator, drawing_service: Deployment
) -> None:
    draw(client)
    project = client.projects.create("Cancelled")
    generation = client.generations.create(project.id, "a woman", width=LARGE, height=LARGE, steps=50)
    watcher = Watcher(client, generation.id)
    # Each step is one percent.
    first = watcher.wait_for(lambda state: state.progress_percent > 20, timeout=SECONDS)
    later = watcher.wait_for(lambda state: state.progress_percent > first.progress_percent, timeout=SECONDS)
    seconds_per_step = (later.update_time - first.update_time).total_seconds() / (
        later.progress_percent - first.progress_percent
    )
    client.generations.cancel(generation.id)

    next_one = draw(client)

    cancelled = watcher.states()[-1]
    assert cancelled.state == CANCELLED
    # The next drawing received the model after the current step, not after all other steps.
    assert cancelled.progress_percent < 30
    assert (present(next_one.end_time) - present(cancelled.end_time)).total_seconds() < 20 * seconds_per_step
    [attempt] = client.generations.attempts(generation.id)
    assert attempt.outcome == AttemptOutcome.CANCELLED
    wait_until(lambda: [row["state"] for row in drawing_service.rows("files")].count("staged") == 0)


def test_a_lora_changes_the_pixels(
    client: AvatarCreator, model: Path, lora_folder: Path, user: str, tmp_path: Path
) -> None:
    without = pixels(client, draw(client))
    deployment = service(
        tmp_path,
        model,
        LORA_REPOSITORY=str(lora_folder),
        LORA_WEIGHT_FILE="lora.safetensors",
        # Only the LoRA must differ.
        LORA_TRIGGER="",
    )
    try:
        deployment.start()
        with deployment.client(user) as with_lora:
            recipe = recipe_of(with_lora, draw(with_lora))
    finally:
        deployment.close()
    assert (recipe.lora, recipe.lora_scale) == (str(lora_folder), 1.0)
    assert recipe.pixels_sha256 != without


def test_another_family_draws_from_its_own_defaults_and_references(
    model_folder: Callable[[str], Path], user: str, tmp_path: Path
) -> None:
    klein = model_folder("black-forest-labs/FLUX.2-klein-4B")
    file = BytesIO()
    scene(SMALLEST, SMALLEST).save(file, "PNG")
    deployment = service(tmp_path, klein)
    try:
        deployment.start()
        with deployment.client(user) as client:
            project = client.projects.create("Klein")
            avatar = client.avatars.upload(project.id, file.getvalue(), name="Scene")
            plain = draw(client, steps=0)
            guided = draw(client, steps=0, guidance_scale=3.0, negative_prompt="cartoon")
            drawn = draw(client, steps=0, reference=avatar.id)
            recipes = [recipe_of(client, one) for one in (plain, guided, drawn)]
    finally:
        deployment.close()
    assert [recipe.steps for recipe in recipes] == [4, 4, 4]
    assert {recipe.guidance_scale for recipe in recipes} == {None}
    assert {recipe.negative_prompt for recipe in recipes} == {None}
    assert {recipe.speed for recipe in recipes} == {"exact"}
    assert recipes[0].provider_facts["pipeline"] == "Flux2KleinPipeline"
    assert plain.warnings == ()
    # The model has neither option, so it draws the same picture, and the generation says so.
    assert recipes[1].pixels_sha256 == recipes[0].pixels_sha256
    assert {warning.split(" ignores ")[1] for warning in guided.warnings} == {
        "the guidance scale",
        "the negative prompt",
    }
    assert recipes[2].pixels_sha256 != recipes[0].pixels_sha256


def test_a_recipe_is_not_reproduced_at_another_speed(model: Path, user: str, tmp_path: Path) -> None:
    exact, compiled = service(tmp_path, model), service(tmp_path, model, MODEL_SPEED="compiled")
    try:
        exact.start()
        with exact.client(user) as client:
            project = client.projects.create("Speed")
            generation = draw(client)
            reproduced = client.generations.reproduce(generation.id, project=project.id)
            *_, last = client.generations.watch(reproduced.id, timeout=SECONDS)
    finally:
        exact.close()
    assert present(last.reproduction).identical_pixels
    try:
        compiled.start()
        with compiled.client(user) as client, pytest.raises(FailedPreconditionError) as refusal:
            client.generations.reproduce(generation.id, project=project.id)
    finally:
        compiled.close()
    assert refusal.value.reason == "NOT_REPRODUCIBLE"
    assert refusal.value.metadata == {"difference": "speed"}
    assert "the speed was exact and is now compiled" in str(refusal.value)


def test_a_model_that_cannot_be_loaded_fails_at_the_first_attempt(user: str, tmp_path: Path) -> None:
    folder = tmp_path / "no-model"
    folder.mkdir()
    deployment = service(tmp_path, folder)
    try:
        deployment.start()
        with deployment.client(user) as client:
            project = client.projects.create("Failing")
            generation = client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)
            *_, last = client.generations.watch(generation.id, timeout=SECONDS)
    finally:
        deployment.close()
    assert last.state == FAILED
    assert present(last.error).reason == ErrorReason.PROVIDER_GONE
    assert last.attempt_number == 1
