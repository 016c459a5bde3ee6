"""Each model of the table that has weights, as the worker runs it: tiny, with random weights, on the CPU."""

from __future__ import annotations

import json
import random
import re
import shutil
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Lora
from avatar_creator_server.model_table import MODELS, Guidance, References, find_model
from avatar_creator_server.people.person import Attributes
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.providers.base import Portrait, PortraitRequest, ProviderError, Reference, Reports
from avatar_creator_tasks.providers.diffusers.loading import quantization_of
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings
from tests.support.random_models import save_random_lora

SIZE = 64
LOCAL = [model.id for model in MODELS if model.is_local]
NO_EFFECT = "the negative prompt has no effect with a guidance scale of {} or less"
Folder = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Run:
    """The default run of a model, as its transformer or U-Net receives it."""

    pipeline: str
    steps: int
    passes: int = 1
    guidance: float | None = None
    batch: int = 1


RUNS = {
    "black-forest-labs/FLUX.1-dev": Run("FluxPipeline", 28, guidance=3.5),
    "black-forest-labs/FLUX.1-schnell": Run("FluxPipeline", 4),
    "black-forest-labs/FLUX.1-Krea-dev": Run("FluxPipeline", 28, guidance=4.5),
    "black-forest-labs/FLUX.1-Kontext-dev": Run("FluxKontextPipeline", 28, guidance=2.5),
    "black-forest-labs/FLUX.2-dev": Run("Flux2Pipeline", 28, guidance=4.0),
    "black-forest-labs/FLUX.2-klein-4B": Run("Flux2KleinPipeline", 4),
    "black-forest-labs/FLUX.2-klein-9B": Run("Flux2KleinPipeline", 4),
    "Tongyi-MAI/Z-Image-Turbo": Run("ZImagePipeline", 9),
    "krea/Krea-2-Turbo": Run("Krea2Pipeline", 8),
    "Qwen/Qwen-Image": Run("QwenImagePipeline", 50, passes=2),
    "Qwen/Qwen-Image-Edit": Run("QwenImageEditPipeline", 50, passes=2),
    "Qwen/Qwen-Image-Edit-2511": Run("QwenImageEditPlusPipeline", 40, passes=2),
    "stabilityai/stable-diffusion-xl-base-1.0": Run("StableDiffusionXLPipeline", 50, batch=2),
}


class Studio:
    """A provider with one model, and a record of what the model's transformer or U-Net receives."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self.provider = DiffusersProvider(settings)
        self.calls: list[dict[str, Any]] = []
        self.progress: list[float] = []

    async def load(self) -> None:
        """Load the model and begin the record."""
        pipeline = (await self.provider.load()).pipeline
        denoiser = getattr(pipeline, "transformer", None) or pipeline.unet

        def record(_: object, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            latents = arguments[0] if arguments else named["hidden_states"]
            guidance = named.get("guidance")
            self.calls.append(
                {"batch": len(latents), "guidance": None if guidance is None else float(guidance[0])}
            )

        denoiser.register_forward_pre_hook(record, with_kwargs=True)

    def request(self, **changes: Any) -> PortraitRequest:
        """Return a request as the worker makes it from one without options, with some fields changed."""
        settings = Settings(provider="diffusers", model=self._settings.model, lora_repository="none")
        route = routes_of(settings).from_text
        request = PortraitRequest(
            route=route,
            prompt="confident business woman",
            attributes=Attributes(),
            seed=1,
            width=SIZE,
            height=SIZE,
            steps=route.steps_for(0),
            guidance_scale=route.guidance_scale_for(0),
            references=(Reference(picture(), 0.6),) if needs_reference(self._settings.model) else (),
        )
        return replace(request, **changes)

    async def draw(self, **changes: Any) -> Portrait:
        """Draw a request, with a new record."""
        self.calls.clear()
        self.progress.clear()

        async def progress(part: float) -> None:
            self.progress.append(part)

        async def submitted(_: str) -> None:
            raise AssertionError("a local model has no request id")

        return await self.provider.generate(self.request(**changes), Reports(submitted, progress))

    async def pixels(self, **changes: Any) -> bytes:
        """Draw a request and return the pixels."""
        return (await self.draw(**changes)).image.tobytes()


@pytest.fixture
async def studio(model_folder: Folder, request: pytest.FixtureRequest) -> Any:
    """Return the studio of the model whose id is the parameter."""
    opened = Studio(ModelSettings(str(model_folder(request.param))))
    await opened.load()
    yield opened
    await opened.provider.close()


def each(models: list[str]) -> pytest.MarkDecorator:
    """Run a test once for each of these models."""
    return pytest.mark.parametrize(
        "studio", models, indirect=True, ids=[model.rpartition("/")[2] for model in models]
    )


def models_with(condition: Callable[[Any], bool]) -> list[str]:
    return [model.id for model in MODELS if model.is_local and condition(model)]


def needs_reference(model: str) -> bool:
    known = find_model(model)
    return known is not None and known.needs_reference


def picture(turn: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> Image.Image:
    """Return a colored gradient; each number turns it further."""
    across = Image.linear_gradient("L").rotate(90 * turn).resize(size)
    return Image.merge("RGB", (across, across.point(lambda value: 255 - value), across))


@each(LOCAL)
async def test_a_request_without_options_runs_as_the_table_says(studio: Studio) -> None:
    portrait = await studio.draw()
    model = find_model(studio.request().route.model)
    assert model is not None
    run = RUNS[model.id]
    assert portrait.facts["pipeline"] == run.pipeline
    assert portrait.image.size == (SIZE, SIZE)
    assert portrait.warnings == ()
    assert len(studio.progress) == run.steps
    assert studio.progress == sorted(studio.progress)
    assert studio.progress[-1] == 1.0
    assert studio.calls == [{"batch": run.batch, "guidance": run.guidance}] * run.steps * run.passes


@each(LOCAL)
async def test_seed_prompt_and_steps_decide_the_pixels(studio: Studio) -> None:
    first = await studio.pixels(steps=3)
    assert len(studio.progress) == 3
    assert first == await studio.pixels(steps=3)
    assert first != await studio.pixels(steps=3, seed=2)
    assert first != await studio.pixels(steps=3, prompt="weathered fisherman")
    assert first != await studio.pixels(steps=4)
    wide = await studio.draw(steps=2, width=96, height=64)
    assert wide.image.size == (96, 64)


@each(models_with(lambda model: model.guidance_scale is not None))
async def test_the_guidance_scale_changes_the_pixels(studio: Studio) -> None:
    assert await studio.pixels(steps=3) != await studio.pixels(steps=3, guidance_scale=9.0)


@each(models_with(lambda model: model.guidance is Guidance.CLASSIFIER_FREE))
async def test_a_negative_prompt_costs_nothing_with_classifier_free_guidance(studio: Studio) -> None:
    plain = await studio.pixels(steps=3)
    passes = len(studio.calls)
    guided = await studio.draw(steps=3, negative_prompt="cartoon")
    assert len(studio.calls) == passes
    assert guided.image.tobytes() not in (plain, await studio.pixels(steps=3, negative_prompt="mannequin"))
    off = await studio.draw(steps=3, negative_prompt="cartoon", guidance_scale=1.0)
    assert off.warnings == (NO_EFFECT.format("1"),)
    assert off.image.tobytes() == await studio.pixels(steps=3, guidance_scale=1.0)


@each(models_with(lambda model: model.true_guidance))
async def test_a_negative_prompt_takes_a_second_pass_on_a_distilled_model(studio: Studio) -> None:
    plain = await studio.pixels(steps=3)
    assert len(studio.calls) == 3
    guided = await studio.draw(steps=3, negative_prompt="cartoon")
    assert len(studio.calls) == 6
    assert guided.facts["true_cfg_scale"] == "2.0"
    assert guided.image.tobytes() not in (plain, await studio.pixels(steps=3, negative_prompt="mannequin"))


@each(models_with(lambda model: model.guidance is not Guidance.CLASSIFIER_FREE and not model.true_guidance))
async def test_a_model_without_negative_prompts_refuses_one(studio: Studio) -> None:
    with pytest.raises(ProviderError) as caught:
        await studio.draw(steps=2, negative_prompt="cartoon")
    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_REJECTED", False)
    assert "no negative prompt" in caught.value.message
    assert studio.calls == []


@each(models_with(lambda model: model.references is not References.NONE))
async def test_a_reference_of_any_size_changes_the_pixels_and_not_the_size(studio: Studio) -> None:
    one = await studio.draw(steps=4, references=(Reference(picture(0), 0.6),))
    assert one.image.size == (SIZE, SIZE)
    other = await studio.draw(steps=4, references=(Reference(picture(1), 0.6),))
    assert one.image.tobytes() != other.image.tobytes()
    for size in ((20, 30), (640, 40), (300, 1200)):
        shaped = await studio.draw(steps=2, references=(Reference(picture(0, size), 0.6),))
        assert shaped.image.size == (SIZE, SIZE)


@each(models_with(lambda model: model.references is References.COMBINED))
async def test_several_references_are_read_in_their_order(studio: Studio) -> None:
    model = find_model(studio.request().route.model)
    assert model is not None
    pictures = tuple(Reference(picture(turn), 0.6) for turn in range(model.max_references))
    choices = [pictures[:1], pictures[:2], pictures, pictures[::-1]]
    if not model.needs_reference:
        choices.append(())
    drawn = {await studio.pixels(steps=2, references=chosen) for chosen in choices}
    assert len(drawn) == len(choices)


@each(models_with(lambda model: model.max_references == 1))
async def test_a_model_of_one_reference_refuses_two(studio: Studio) -> None:
    with pytest.raises(ProviderError) as caught:
        await studio.draw(steps=2, references=(Reference(picture(), 0.6),) * 2)
    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_REJECTED", False)
    assert "takes only one reference" in caught.value.message


@each(models_with(lambda model: model.references is References.NONE))
async def test_a_model_without_references_refuses_one(studio: Studio) -> None:
    with pytest.raises(ProviderError) as caught:
        await studio.draw(steps=2, references=(Reference(picture(), 0.6),))
    assert caught.value.reason == "PROVIDER_REJECTED"
    assert "takes no reference" in caught.value.message


@each(models_with(lambda model: model.needs_reference))
async def test_a_model_that_only_edits_refuses_a_request_without_a_reference(studio: Studio) -> None:
    with pytest.raises(ProviderError) as caught:
        await studio.draw(steps=2, references=())
    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_REJECTED", False)
    assert "choose a reference avatar" in caught.value.message


@each(LOCAL)
async def test_a_stopped_drawing_leaves_the_model_as_it_was(studio: Studio) -> None:
    before = await studio.pixels(steps=3)
    stop = RuntimeError("the lease was lost")

    async def stopping(_: object) -> None:
        raise stop

    with pytest.raises(RuntimeError) as caught:
        await studio.provider.generate(studio.request(steps=3), Reports(stopping, stopping))
    assert caught.value is stop
    assert await studio.pixels(steps=3) == before


@pytest.mark.parametrize("model", models_with(lambda model: model.lora))
async def test_a_lora_loads_and_changes_the_pixels(model_folder: Folder, model: str, tmp_path: Path) -> None:
    folder = model_folder(model)
    save_random_lora(tmp_path, folder, "lora.safetensors")
    drawn = []
    for scale in (0.0, 1.0):
        lora = Lora(str(tmp_path), "lora.safetensors", "", scale, "")
        studio = Studio(ModelSettings(str(folder), lora=lora))
        drawn.append(await studio.pixels(steps=2))
        await studio.provider.close()
    assert drawn[0] != drawn[1]


@each(
    models_with(lambda model: not model.needs_reference)  # those read prompts of any length
)
async def test_a_warning_names_the_first_word_that_the_model_does_not_read(studio: Studio) -> None:
    letters = random.Random(1).choices(string.ascii_lowercase, k=1500)
    # A CLIP alone has another token for the last letter of a word.
    only_clip = studio.request().route.model.endswith("stable-diffusion-xl-base-1.0")
    prompt = (" " if only_clip else "").join(letters)
    cut = await studio.draw(steps=1, prompt=prompt)
    [warning] = cut.warnings
    found = re.search(r"the prompt has (\d+) tokens and the model reads (\d+): the last (\d+) were", warning)
    assert found is not None
    tokens, read, unread = map(int, found.groups())
    assert tokens == read + unread
    # `shorten` leaves out a word that is too long, so the words without blanks are counted from the end.
    whole = (
        prompt[: prompt.rindex(warning.split("“")[1].removesuffix(" …”"))] if only_clip else prompt[:-unread]
    )

    complete = await studio.draw(steps=1, prompt=whole.rstrip())

    assert complete.warnings == ()
    assert complete.image.tobytes() == cut.image.tobytes()
    assert cut.image.tobytes() != await studio.pixels(steps=1, prompt="x" + whole.rstrip()[1:])


def renamed(folder: Path, parent: Path, name: str = "another-model") -> Path:
    """Copy a model to a folder whose name the table does not have."""
    shutil.copytree(folder, parent / name)
    return parent / name


async def test_an_unknown_model_runs_with_the_defaults_of_its_pipeline(
    model_folder: Folder, tmp_path: Path
) -> None:
    studio = Studio(ModelSettings(str(renamed(model_folder("Tongyi-MAI/Z-Image-Turbo"), tmp_path))))
    await studio.load()
    await studio.draw()
    # The pipeline's own 50 steps, and its own guidance, which needs both predictions.
    assert studio.calls == [{"batch": 2, "guidance": None}] * 50
    plain = await studio.pixels(steps=3)
    assert plain != await studio.pixels(steps=3, guidance_scale=2.0)
    assert plain != await studio.pixels(steps=3, negative_prompt="cartoon")
    await studio.provider.close()


async def test_the_guidance_of_an_unknown_krea_2_begins_above_zero(
    model_folder: Folder, tmp_path: Path
) -> None:
    studio = Studio(ModelSettings(str(renamed(model_folder("krea/Krea-2-Turbo"), tmp_path))))
    await studio.load()
    for guidance_scale, passes, warnings in ((0.5, 2, ()), (0.0, 1, (NO_EFFECT.format("0"),))):
        drawn = await studio.draw(steps=2, negative_prompt="cartoon", guidance_scale=guidance_scale)
        assert len(studio.calls) == 2 * passes
        assert drawn.warnings == warnings
    await studio.provider.close()


async def test_an_unknown_pipeline_gets_only_what_it_takes(model_folder: Folder, tmp_path: Path) -> None:
    folder = renamed(model_folder("black-forest-labs/FLUX.1-dev"), tmp_path)
    change_index(folder, _class_name="FluxImg2ImgPipeline")
    studio = Studio(ModelSettings(str(folder)))
    await studio.load()
    portrait = await studio.draw(steps=2, guidance_scale=2.0, references=(Reference(picture(), 0.6),))
    assert portrait.facts["pipeline"] == "FluxImg2ImgPipeline"
    assert studio.calls[0]["guidance"] == 2.0
    await studio.provider.close()


def change_index(folder: Path, **changes: Any) -> None:
    """Change the index of a model."""
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


async def load_error(folder: Path) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await DiffusersProvider(ModelSettings(str(folder))).load()
    assert (caught.value.reason, caught.value.retryable) == ("PROVIDER_GONE", False)
    return caught.value


@pytest.mark.parametrize(
    ("class_name", "shown"),
    [("SecretPipeline", "SecretPipeline"), (["pipeline", "SecretPipeline"], "of its own")],
    ids=["unknown", "in the repository"],
)
async def test_a_pipeline_that_diffusers_does_not_have_is_refused(
    model: Path, tmp_path: Path, class_name: object, shown: str
) -> None:
    folder = renamed(model, tmp_path)
    change_index(folder, _class_name=class_name)
    run = tmp_path / "run"
    (folder / "pipeline.py").write_text(f"open({str(run)!r}, 'w')\nclass SecretPipeline: ...\n")
    error = await load_error(folder)
    assert f"needs the pipeline {shown}, which diffusers" in error.message
    assert not run.exists()


async def test_a_part_with_code_from_the_repository_is_refused(model: Path, tmp_path: Path) -> None:
    folder = renamed(model, tmp_path)
    change_index(folder, transformer=["secret", "SecretTransformer"])
    run = tmp_path / "run"
    (folder / "transformer" / "secret.py").write_text(f"open({str(run)!r}, 'w')\n")
    assert "could not be loaded" in (await load_error(folder)).message
    assert not run.exists()


async def test_a_model_that_draws_no_pictures_from_texts_is_refused(model: Path, tmp_path: Path) -> None:
    folder = renamed(model, tmp_path)
    change_index(folder, _class_name="DDPMPipeline")
    assert "does not draw pictures from a text" in (await load_error(folder)).message


async def test_weights_that_can_execute_code_are_refused(model: Path, tmp_path: Path) -> None:
    folder = renamed(model, tmp_path)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    assert "could not be loaded" in (await load_error(folder)).message


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
@pytest.mark.parametrize(
    ("model_id", "processor"),
    [
        ("Qwen/Qwen-Image-Edit", "Qwen2VLProcessor"),
        ("black-forest-labs/FLUX.2-dev", "PixtralProcessor"),
    ],
)
async def test_a_model_that_needs_torchvision_says_so(
    model_folder: Folder, model_id: str, processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder(model_id)
    # The real one is there again.
    monkeypatch.delattr(transformers, processor)
    error = await load_error(folder)
    assert error.message.endswith("needs torchvision: install the extra gpu-vision too")


@pytest.mark.parametrize(
    ("model_id", "parts"),
    [
        ("black-forest-labs/FLUX.1-dev", {"transformer", "text_encoder_2"}),
        ("black-forest-labs/FLUX.2-dev", {"transformer", "text_encoder"}),
        ("Tongyi-MAI/Z-Image-Turbo", {"transformer", "text_encoder"}),
        ("Qwen/Qwen-Image", {"transformer", "text_encoder"}),
        ("stabilityai/stable-diffusion-xl-base-1.0", {"unet"}),
    ],
)
def test_quantization_is_for_the_large_parts_of_each_model(
    model_folder: Folder, model_id: str, parts: set[str]
) -> None:
    index = json.loads((model_folder(model_id) / "model_index.json").read_text())
    for bits in ("8bit", "4bit"):
        assert set(quantization_of(bits, index).components_to_quantize) == parts
    assert quantization_of("none", index) is None
