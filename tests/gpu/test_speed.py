"""MODEL_SPEED of the provider `diffusers`, with tiny models on the CPU.

Random weights show that the pictures stay the same where they must, and that the cache acts. They do not show
what the cache does to the picture of a trained model.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from avatar_creator_server.generations.routes import OPTIONS, Lora, Route
from avatar_creator_server.people.person import Attributes
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reference, Reports
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings
from tests.support.random_models import calm

SIZE = 64
Folder = Callable[[str], Path]
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="this machine has no C++ compiler"
)


def request(**changes: Any) -> PortraitRequest:
    """Return a request for a small portrait, with some fields changed."""
    usual = PortraitRequest(
        route=Route("diffusers", "local", "tiny", "", None, OPTIONS),
        prompt="confident business woman",
        attributes=Attributes(),
        seed=1,
        width=SIZE,
        height=SIZE,
        steps=4,
        guidance_scale=3.5,
    )
    return replace(usual, **changes)


async def draw(provider: DiffusersProvider, **changes: Any) -> Portrait:
    """Draw a portrait."""

    async def ignored(_: object) -> None:
        """Ignore a report."""

    return await provider.generate(request(**changes), Reports(ignored, ignored))


def difference(one: Portrait, other: Portrait) -> float:
    """Return the average difference between the pixel values of two pictures, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.image, other.image)).mean)


@needs_compiler
async def test_compiled_blocks_with_a_lora_draw_the_same_picture(model: Path, lora_folder: Path) -> None:
    lora = Lora(str(lora_folder), "lora.safetensors", "", 1.0, "")
    exact = DiffusersProvider(ModelSettings(str(model), lora=lora))
    compiled = DiffusersProvider(ModelSettings(str(model), lora=lora, speed="compiled"))
    reference = (Reference(Image.linear_gradient("L").convert("RGB"), 0.6),)
    for options in ({}, {"references": reference}, {"negative_prompt": "cartoon"}):
        one, other = await draw(exact, **options), await draw(compiled, **options)
        assert difference(one, other) < 1
    assert (await draw(compiled)).image.tobytes() == (await draw(compiled)).image.tobytes()
    await exact.close()
    await compiled.close()


@needs_compiler
@pytest.mark.parametrize("model_id", ["black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.2-dev"])
async def test_the_cache_acts_between_similar_steps_and_is_empty_at_the_start_of_each(
    model_folder: Folder, model_id: str, tmp_path: Path
) -> None:
    folder = tmp_path / Path(model_id).name
    shutil.copytree(model_folder(model_id), folder)
    calm(folder)
    fast = DiffusersProvider(ModelSettings(str(folder), speed="fast"))
    first = await draw(fast, steps=20)
    cached, _, passes = first.facts["cached_passes"].partition(" of ")
    assert passes == "20"
    # The first step of each picture has nothing to compare with.
    assert 0 < int(cached) < 20

    async def stopping(_: object) -> None:
        raise stop

    stop = RuntimeError("the lease was lost")
    with pytest.raises(RuntimeError) as caught:
        await fast.generate(request(prompt="a fisherman", seed=2), Reports(stopping, stopping))
    assert caught.value is stop
    again = await draw(fast, steps=20)
    assert again.image.tobytes() == first.image.tobytes()
    assert again.facts["cached_passes"] == first.facts["cached_passes"]
    exact = DiffusersProvider(ModelSettings(str(folder)))
    assert difference(first, await draw(exact, steps=20)) < 10
    await exact.close()
    await fast.close()


@needs_compiler
async def test_the_cache_compares_the_passes_of_a_negative_prompt_with_themselves(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "FLUX.1-dev"
    shutil.copytree(model, folder)
    calm(folder)
    fast = DiffusersProvider(ModelSettings(str(folder), speed="fast"))
    exact = DiffusersProvider(ModelSettings(str(folder)))
    reference = (Reference(Image.linear_gradient("L").convert("RGB"), 1.0),)
    # The pipeline that draws from text names the passes for the cache itself. The other one does not.
    for references in ((), reference):
        options = {"steps": 20, "negative_prompt": "cartoon", "references": references}
        drawn = await draw(fast, **options)
        cached, _, passes = drawn.facts["cached_passes"].partition(" of ")
        assert passes == "40"
        assert 30 < int(cached) < 39
        assert difference(drawn, await draw(exact, **options)) < 10
    await fast.close()
    await exact.close()


async def load_error(settings: ModelSettings) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await DiffusersProvider(settings).load()
    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_GONE", False)
    return caught.value


@pytest.mark.parametrize("speed", ["compiled", "fast"])
async def test_a_worker_without_a_compiler_says_so_when_it_loads_the_model(
    model: Path, speed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    error = await load_error(ModelSettings(str(model), speed=speed))
    assert error.message == (
        f"MODEL_SPEED={speed} needs a compiler, and this worker has none: "
        "install g++, or set MODEL_SPEED=exact"
    )


@needs_compiler
async def test_a_compiler_that_fails_is_found_when_the_model_is_loaded(
    model_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    # Nothing that was compiled before helps.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    folder = model_folder("stabilityai/stable-diffusion-xl-base-1.0")
    error = await load_error(ModelSettings(str(folder), speed="compiled"))
    assert "cannot draw with MODEL_SPEED=compiled" in error.message
    assert error.message.endswith("or set MODEL_SPEED=exact")


@pytest.mark.parametrize(
    "model_id",
    ["Tongyi-MAI/Z-Image-Turbo", "krea/Krea-2-Turbo", "stabilityai/stable-diffusion-xl-base-1.0"],
)
async def test_a_model_without_a_cache_refuses_to_be_fast(model_folder: Folder, model_id: str) -> None:
    error = await load_error(ModelSettings(str(model_folder(model_id)), speed="fast"))
    assert error.message == "MODEL_SPEED=fast is not possible with this model: set MODEL_SPEED=compiled"


async def test_an_unknown_model_refuses_to_be_fast(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "another-model"
    folder.symlink_to(model)
    error = await load_error(ModelSettings(str(folder), speed="fast"))
    assert "MODEL_SPEED=fast is possible only with the models in docs/models.md" in error.message
