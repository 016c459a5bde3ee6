"""Models of the table, and one that is not in it, in the complete service with the fake of the router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import pytest

from avatar_creator import (
    AsyncAvatarCreator,
    Attributes,
    Gender,
    Generation,
    HairColor,
    InvalidArgumentError,
    Persona,
    Recipe,
)
from tests import pictures
from tests.support.generations import COMPLETED
from tests.support.huggingface_router import RouterFake
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.shared_services import deployed
from tests.support.waiting import wait_until

SIDE = 512
KLEIN = "black-forest-labs/FLUX.2-klein-4B"
FLUX_2 = "black-forest-labs/FLUX.2-dev"
FLUX_2_PRO = "black-forest-labs/FLUX.2-pro"
KREA_2 = "krea/Krea-2-Turbo"
QWEN = "Qwen/Qwen-Image"
UNKNOWN = "example/model"
SARAH = Persona(name="Sarah", age=32, personality=["warm"])
RED_HAIR = Attributes(gender=Gender.FEMALE, hair_color=HairColor.RED)
INSTRUCTION = (
    "Make a professional studio photograph of the person in the picture: in a garden. The person is 32 years "
    "old, female and a middle-aged adult (30-50 years old). The person has red hair and a warm personality. "
    "Keep the face, the identity and all other features of the person exactly as they are. The photograph is "
    "photorealistic, with an 85mm portrait lens, f/1.8 aperture, studio lighting and a bokeh background."
)

Serve = Callable[..., AbstractAsyncContextManager[AsyncAvatarCreator]]


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """The database and the files of all services of this file."""
    with deployed(request, "embedded") as deployment:
        yield deployment


@pytest.fixture
def serve(database: Deployment, router: RouterFake, user: str) -> Serve:
    """Return a function that runs a service with these settings and yields a client of it.

    It has a worker, unless `has_worker` is false.
    """

    @asynccontextmanager
    async def start(*, has_worker: bool = True, **settings: str) -> AsyncIterator[AsyncAvatarCreator]:
        hosted = {"HUGGINGFACE_API_KEY": "hf_x", "HUGGINGFACE_BASE_URL": router.url}
        async with InProcessService.serving(database, **{**hosted, **settings}) as service:
            worker = service.working() if has_worker else nullcontext()
            async with worker, service.client(user) as client:
                if has_worker:  # until its row is there, an estimate warns that there is none
                    await asyncio.to_thread(wait_until, lambda: database.rows("workers"))
                yield client

    return start


async def wait_for_end(client: AsyncAvatarCreator, generation_id: str) -> Generation:
    """Wait until a generation has made its avatar, and return its last state."""
    *_, last = [state async for state in client.generations.watch(generation_id, timeout=60.0)]
    assert last.state == COMPLETED, last
    return last


async def draw(
    client: AsyncAvatarCreator, prompt: str = "in a garden", **options: Any
) -> tuple[Generation, Recipe]:
    """Draw a picture, and check that the estimate had the same price and warnings."""
    project_id = (await client.projects.create("Models")).id
    request = {"width": SIDE, "height": SIDE, **options}
    estimate = await client.generations.estimate(project_id, prompt, **request)
    generation = await client.generations.create(project_id, prompt, **request)
    last = await wait_for_end(client, generation.id)
    assert last.price_micros == estimate.price_micros
    # Only the worker knows that an app draws another size than the requested one.
    known_before = [warning for warning in last.warnings if "scaled and cropped" not in warning]
    assert known_before == [warning for warning in estimate.warnings if "counts as $0.00" not in warning]
    recipe = await client.generations.recipe(last.id)
    assert recipe is not None
    return last, recipe


def sent(router: RouterFake) -> dict[str, Any]:
    """Return the last submission, which must have no input that the app does not know."""
    last = router.submissions()[-1]
    assert last["unknown_inputs"] == []
    return last


async def test_a_distilled_model_receives_no_guidance_and_no_negative_prompt(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(MODEL=KLEIN) as client:
        plain, recipe = await draw(client)
        body = sent(router)["body"]
        asked, _ = await draw(client, guidance_scale=5.0, negative_prompt="hats", steps=50)
        with pytest.raises(InvalidArgumentError, match="negative_prompt"):
            await draw(client, negative_prompt="hats", strict=True)

    assert sent(router)["path"] == "/fal-ai/fal-ai/flux-2/klein/4b"
    assert set(body) == {
        *("prompt", "output_format", "image_size", "num_inference_steps", "seed", "enable_safety_checker")
    }
    assert body["num_inference_steps"] == 4
    assert sent(router)["body"]["num_inference_steps"] == 8
    assert (plain.price_micros, list(plain.warnings)) == (5_000, [])
    assert (recipe.model, recipe.steps, recipe.guidance_scale, recipe.lora) == (KLEIN, 4, None, None)
    assert [
        next(word for word in ("negative", "guidance", "steps") if word in warning)
        for warning in asked.warnings
    ] == ["negative", "steps", "guidance"]


async def test_a_model_whose_steps_cannot_be_chosen_receives_none(serve: Serve, router: RouterFake) -> None:
    async with serve(MODEL=KREA_2) as client:
        generation, recipe = await draw(client, steps=20)

    body = sent(router)["body"]
    assert "num_inference_steps" not in body
    assert body["acceleration"] == "none"
    assert recipe.steps is None
    assert ["ignores the number of steps" in warning for warning in generation.warnings] == [True]


async def test_a_model_with_real_guidance_receives_the_default_negative_prompt(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(MODEL=QWEN) as client:
        first, recipe = await draw(client)
        plain = sent(router)
        edited, of_edit = await draw(client, reference=first.avatar_id)

    assert plain["path"] == "/fal-ai/fal-ai/qwen-image"
    assert (plain["body"]["num_inference_steps"], plain["body"]["guidance_scale"]) == (30, 2.5)
    assert plain["body"]["negative_prompt"] == recipe.negative_prompt != ""
    assert sent(router)["path"] == "/fal-ai/fal-ai/qwen-image-edit-2511"
    assert of_edit.model == "Qwen/Qwen-Image-Edit-2511"
    assert (first.price_micros, edited.price_micros) == (20_000, 30_000)


async def test_the_first_megapixel_and_each_reference_have_their_price(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(MODEL=FLUX_2_PRO) as client:
        first, _ = await draw(client)
        large, _ = await draw(client, width=1280, height=1024)
        second, _ = await draw(client, seed=2)
        both, recipe = await draw(client, reference=[first.avatar_id, second.avatar_id])

    assert (first.price_micros, large.price_micros, both.price_micros) == (30_000, 45_000, 60_000)
    assert len(sent(router)["body"]["image_urls"]) == 2
    assert "the person in the pictures" in recipe.provider_prompt


async def test_a_size_that_the_app_refuses_is_refused_before_it_costs(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(MODEL=FLUX_2) as client:
        with pytest.raises(InvalidArgumentError, match=r"width: .* from 512 pixels on \(got 256\)"):
            await draw(client, width=256)
        generation, _ = await draw(client)

    assert generation.price_micros == 12_000
    assert router.count == 1


async def test_an_edited_reference_has_an_instruction_and_keeps_it_when_reproduced(
    serve: Serve, router: RouterFake
) -> None:
    async with serve() as client:
        first, _ = await draw(client)
        edited, recipe = await draw(client, reference=first.avatar_id, persona=SARAH, attributes=RED_HAIR)
        body = sent(router)["body"]
        project_id = (await client.projects.create("Again")).id
        reproduction = await client.generations.reproduce(edited.id, project=project_id)
        again = await wait_for_end(client, reproduction.id)

    assert body["prompt"] == recipe.provider_prompt == edited.provider_prompt == INSTRUCTION
    assert body["guidance_scale"] == 2.5
    assert recipe.enhanced_prompt == edited.enhanced_prompt
    assert edited.enhanced_prompt.startswith("Sarah, 32 years old, warm personality, female, ")
    assert present(again.reproduction).identical_pixels
    assert sent(router)["body"] == body
    assert "LoRA" in " ".join(edited.warnings)


async def test_an_unknown_model_draws_with_its_own_defaults_and_a_warning(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(
        MODEL=UNKNOWN, HUGGINGFACE_ROUTE="endpoint", HUGGINGFACE_ENDPOINT_URL=router.url
    ) as client:
        plain, recipe = await draw(client, strict=True)
        parameters = router.submissions()[-1]["body"]["parameters"]
        await draw(client, steps=12, guidance_scale=2.0, negative_prompt="hats", strict=True)

    assert set(parameters) == {"width", "height", "seed"}
    assert list(plain.warnings) == [
        "MODEL example/model is not in the service's table of models: it draws with its own steps and "
        "guidance, and the service does not know which options it ignores"
    ]
    assert (recipe.model, recipe.steps, recipe.guidance_scale) == (UNKNOWN, None, None)
    asked = router.submissions()[-1]["body"]["parameters"]
    assert (asked["num_inference_steps"], asked["guidance_scale"], asked["negative_prompt"]) == (
        12,
        2,
        "hats",
    )


async def test_an_endpoint_for_a_distilled_model_is_asked_for_no_guidance(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(
        MODEL="Tongyi-MAI/Z-Image-Turbo", HUGGINGFACE_ROUTE="endpoint", HUGGINGFACE_ENDPOINT_URL=router.url
    ) as client:
        generation, recipe = await draw(client)

    assert list(generation.warnings) == []
    parameters = router.submissions()[-1]["body"]["parameters"]
    assert (parameters["num_inference_steps"], parameters["guidance_scale"]) == (9, 0)
    assert "negative_prompt" not in parameters
    assert (recipe.steps, recipe.guidance_scale) == (9, None)


async def test_the_prompt_can_be_sentences_and_a_reproduction_keeps_them(
    serve: Serve, router: RouterFake
) -> None:
    async with serve(MODEL=KLEIN, PROMPT_STYLE="prose") as client:
        generation, recipe = await draw(client, persona=SARAH, attributes=RED_HAIR)
    async with serve(MODEL=KLEIN, PROMPT_STYLE="tags") as client:
        project_id = (await client.projects.create("Again")).id
        reproduction = await client.generations.reproduce(generation.id, project=project_id)
        again = await wait_for_end(client, reproduction.id)

    assert recipe.provider_prompt == generation.enhanced_prompt == again.enhanced_prompt
    assert generation.enhanced_prompt.startswith(
        "A professional photo studio portrait of Sarah: in a garden. Sarah is 32 years old, female and a "
        "middle-aged adult (30-50 years old). Sarah has red hair and a warm personality. The photograph is "
    )
    first, second = router.submissions()
    assert first["body"] == second["body"]


@pytest.mark.parametrize(
    ("model", "tokens"), [("black-forest-labs/FLUX.1-schnell", 256), (KLEIN, 512)], ids=["256", "512"]
)
async def test_the_warning_about_a_long_prompt_has_the_limit_of_the_model(
    serve: Serve, router: RouterFake, model: str, tokens: int
) -> None:
    async with serve(MODEL=model) as client:
        project_id = (await client.projects.create("Models")).id
        words = "the woman " * 130
        estimate = await client.generations.estimate(project_id, words)

    expected = [f"the model reads {tokens}"] if tokens == 256 else []
    assert [warning.split(" and ")[1].split(":")[0] for warning in estimate.warnings] == expected


async def test_a_model_on_the_own_card_has_its_options_before_a_worker_loads_it(
    serve: Serve,
) -> None:
    own_card = {"PROVIDER": "diffusers", "MODEL": "Tongyi-MAI/Z-Image-Turbo"}
    async with serve(has_worker=False, **own_card) as client:
        project_id = (await client.projects.create("Models")).id
        estimate = client.generations.estimate
        fitting = await estimate(project_id, "a woman", steps=9)
        asked = await estimate(project_id, "a woman", guidance_scale=3, negative_prompt="hats")

    assert (fitting.provider, fitting.route, fitting.price_micros) == ("diffusers", "local", 0)
    assert not [warning for warning in fitting.warnings if "worker" not in warning]
    assert [warning for warning in asked.warnings if "worker" not in warning] == [
        "the route local of diffusers ignores the negative prompt",
        "the route local of diffusers ignores the guidance scale",
    ]


async def test_an_unknown_folder_on_the_own_card_has_a_warning(serve: Serve) -> None:
    async with serve(has_worker=False, PROVIDER="diffusers", MODEL="/models/mine") as client:
        project_id = (await client.projects.create("Models")).id
        estimate = await client.generations.estimate(
            project_id, "a woman", negative_prompt="hats", strict=True
        )

    assert [warning.split(":")[0] for warning in estimate.warnings if "no worker" not in warning] == [
        "MODEL /models/mine is not in the service's table of models"
    ]


async def test_a_model_that_only_edits_refuses_a_request_without_a_reference(serve: Serve) -> None:
    # A worker makes the thumbnail, for which the upload waits.
    async with serve() as client:
        project_id = (await client.projects.create("Models")).id
        sarah = await client.avatars.upload(project_id, pictures.png(), name="Sarah")
    for model in ("Qwen/Qwen-Image-Edit", "/models/Qwen-Image-Edit-2511"):
        async with serve(has_worker=False, PROVIDER="diffusers", MODEL=model) as client:
            project_id = (await client.projects.create("Models")).id
            with_reference = await client.generations.create(project_id, "a woman", reference=sarah.id)
            refused = []
            for call in (client.generations.estimate, client.generations.create):
                with pytest.raises(InvalidArgumentError) as caught:
                    await call(project_id, "a woman")
                refused.append(caught.value)
            created = [each.id async for each in client.generations.list(project_id)]
            await with_reference.cancel()  # so that no worker of another test draws it

        for error in refused:
            assert error.reason == "OPTION_NOT_SUPPORTED"
            assert f"reference_avatar_id: the model {model} only edits pictures" in str(error)
        assert created == [with_reference.id]
