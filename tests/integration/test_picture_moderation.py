"""Picture moderation in the complete service: verdicts, stored pictures, retries and prices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from avatar_creator import AttemptOutcome, Avatar, ErrorReason, Generation, ImageVariant, PictureModeration
from avatar_creator_server.operations.moderation_check import check_picture_moderation
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.picture_moderation.blurring import blurred
from avatar_creator_tasks.providers.base import Provider
from avatar_creator_tasks.providers.sketch.provider import SketchProvider
from tests import pictures
from tests.support.doctor import checks_of
from tests.support.generations import COMPLETED, FAILED, SMALLEST, make_due
from tests.support.huggingface_router import RouterFake
from tests.support.in_process import InProcessService
from tests.support.picture_classifier import PictureClassifierFake
from tests.support.presence import present
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment, run_in_turn
from tests.support.studio import Studio
from tests.support.waiting import wait_until

FATAL = AttemptOutcome.FATAL
RETRYABLE = AttemptOutcome.RETRYABLE
SUCCEEDED = AttemptOutcome.SUCCEEDED
NSFW = ErrorReason.PROVIDER_NSFW
UNAVAILABLE = ErrorReason.MODERATION_UNAVAILABLE
KEY = "hf_canary7f3a"
PRICE = 35_000
REQUEST_ID = "request-7"
NO_WAITING = "0.1"
"""Seconds that a silent classifier gets in tests in which it stays silent."""


@pytest.fixture
def classifier() -> Iterator[PictureClassifierFake]:
    with PictureClassifierFake(key=KEY) as fake:
        yield fake


@asynccontextmanager
async def serving(
    deployment: Deployment, user: str, classifier: PictureClassifierFake, **settings: str
) -> AsyncIterator[Studio]:
    """Start a service with a paid provider and a classifier, without a worker, and connect a user."""
    moderated = {
        "HUGGINGFACE_API_KEY": "hf_test",
        "PICTURE_MODERATION": classifier.url,
        "PICTURE_MODERATION_API_KEY": KEY,
    }
    service_of = InProcessService.serving(deployment, **{**moderated, **settings})
    async with service_of as service, service.client(user) as client:
        yield Studio(service, client, (await client.projects.create("Moderated")).id)


@pytest.fixture(params=["embedded", "distributed"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """Return a service on each of the two databases."""
    started: Deployment = request.getfixturevalue(request.param)
    return started


def face() -> Image.Image:
    return pictures.scene(SMALLEST, SMALLEST)


async def draw(studio: Studio, provider: ScriptedProvider, **options: Any) -> Generation:
    """Create a generation, let the provider draw a face, and wait for the end."""
    generation = await studio.create_generation(**options)
    drawing = await provider.next_drawing()
    drawing.submitted(REQUEST_ID)
    drawing.succeed(face())
    return await studio.wait_for_end(generation.id)


async def downloaded(studio: Studio, generation: Generation, **options: Any) -> Image.Image:
    return Image.open(BytesIO(await studio.client.avatars.download(present(generation.avatar_id), **options)))


async def avatar_of(studio: Studio, generation: Generation) -> Avatar:
    """Return the avatar, which a list shows with the same verdict."""
    avatar = await studio.client.avatars.get(present(generation.avatar_id))
    [listed] = [each async for each in studio.client.avatars.list(studio.project_id) if each.id == avatar.id]
    assert listed.picture_moderation == avatar.picture_moderation
    return avatar


# Verdicts


async def test_a_picture_that_passes_is_stored_with_its_verdict(
    deployment: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.score = 0.25
    provider = ScriptedProvider()
    async with serving(deployment, user, classifier) as studio, studio.service.working(provider):
        completed = await draw(studio, provider)
        avatar = await avatar_of(studio, completed)
        recipe = await studio.client.generations.recipe(completed.id)
        picture = await downloaded(studio, completed)

    verdict = PictureModeration(flagged=False, score=0.25, blurred=False)
    assert completed.state == COMPLETED
    assert completed.picture_moderation == avatar.picture_moderation == verdict
    assert not completed.warnings
    assert recipe is not None
    assert (recipe.picture_classifier, recipe.picture_score, recipe.blurred) == ("127.0.0.1", 0.25, False)
    assert ImageChops.difference(picture.convert("RGB"), face()).getbbox() is None
    [request] = classifier.requests
    assert (request.authorization, request.image.size) == (f"Bearer {KEY}", (SMALLEST, SMALLEST))


async def test_a_flagged_picture_fails_like_one_that_a_hosted_route_withholds(
    deployment: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.score = 0.5
    provider = ScriptedProvider()
    async with serving(deployment, user, classifier) as studio, studio.service.working(provider):
        failed = await draw(studio, provider)
        [attempt] = await studio.attempts(failed.id)
        await studio.wait_until_nothing_is_stored()

    assert (failed.state, present(failed.error).reason, failed.retry_count) == (FAILED, NSFW, 0)
    assert (failed.price_micros, attempt.price_micros, attempt.possibly_charged) == (PRICE, PRICE, True)
    assert attempt.outcome == FATAL
    assert failed.picture_moderation is None
    assert provider.cancelled == []


async def test_a_flagged_picture_is_stored_blurred(
    deployment: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.score = 0.75
    provider = ScriptedProvider()
    settings = {"PICTURE_MODERATION_ACTION": "blur"}
    async with serving(deployment, user, classifier, **settings) as studio, studio.service.working(provider):
        completed = await draw(studio, provider)
        avatar = await avatar_of(studio, completed)
        recipe = await studio.client.generations.recipe(completed.id)
        picture = await downloaded(studio, completed)
        thumbnail = await downloaded(studio, completed, variant=ImageVariant.THUMBNAIL)

    verdict = PictureModeration(flagged=True, score=0.75, blurred=True)
    assert completed.picture_moderation == avatar.picture_moderation == verdict
    [warning] = completed.warnings
    assert warning.endswith("with a score of 0.75; the stored picture is blurred")
    assert ImageChops.difference(picture.convert("RGB"), blurred(face())).getbbox() is None
    small = blurred(face()).resize(thumbnail.size)
    assert max(high for _, high in ImageChops.difference(thumbnail.convert("RGB"), small).getextrema()) < 16  # type: ignore[misc]
    assert recipe is not None
    assert (recipe.picture_classifier, recipe.picture_score, recipe.blurred) == ("127.0.0.1", 0.75, True)
    assert recipe.pixels_sha256 == pixels_of(picture)
    public = json.loads(picture.getxmp()["xmpmeta"]["RDF"]["Description"]["recipe"])
    assert (public["blurred"], public["pixels_sha256"]) == (True, recipe.pixels_sha256)
    assert "picture_classifier" not in public


def pixels_of(image: Image.Image) -> str:
    sides = b"".join(side.to_bytes(4, "big") for side in image.size)
    return hashlib.sha256(sides + image.convert("RGB").tobytes()).hexdigest()


async def test_a_flagged_picture_is_stored_as_it_is(
    deployment: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.score = 0.9
    provider = ScriptedProvider()
    settings = {"PICTURE_MODERATION_ACTION": "flag", "PICTURE_MODERATION_THRESHOLD": "0.9"}
    async with serving(deployment, user, classifier, **settings) as studio, studio.service.working(provider):
        completed = await draw(studio, provider)
        avatar = await avatar_of(studio, completed)
        picture = await downloaded(studio, completed)

    verdict = PictureModeration(flagged=True, score=0.9, blurred=False)
    assert completed.picture_moderation == avatar.picture_moderation == verdict
    [warning] = completed.warnings
    assert warning.endswith("with a score of 0.90")
    assert ImageChops.difference(picture.convert("RGB"), face()).getbbox() is None


async def test_without_a_classifier_and_for_uploads_there_is_no_verdict(
    embedded: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    provider = ScriptedProvider()
    settings = {"PICTURE_MODERATION": "", "PICTURE_MODERATION_API_KEY": ""}
    async with serving(embedded, user, classifier, **settings) as studio, studio.service.working(provider):
        completed = await draw(studio, provider)
        avatar = await avatar_of(studio, completed)
        uploaded = await studio.client.avatars.upload(studio.project_id, pictures.png(face()), name="Face")
        recipe = await studio.client.generations.recipe(completed.id)
    assert completed.picture_moderation is None
    assert avatar.picture_moderation is None
    assert uploaded.picture_moderation is None
    assert recipe is not None
    assert (recipe.picture_classifier, recipe.picture_score) == (None, 0.0)
    assert classifier.requests == []


async def test_sketches_are_not_checked(
    embedded: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    provider: Provider = SketchProvider()
    settings = {"PROVIDER": "sketch", "HUGGINGFACE_API_KEY": ""}
    async with serving(embedded, user, classifier, **settings) as studio, studio.service.working(provider):
        completed = await studio.wait_for_end((await studio.create_generation()).id)
    assert completed.state == COMPLETED
    assert completed.picture_moderation is None
    assert classifier.requests == []


# Every kind of generation


async def test_each_variation_has_its_own_verdict(
    embedded: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    provider = ScriptedProvider()
    classifier.score_of = lambda image: 0.9 if image.getpixel((5, 5))[0] > 128 else 0.1  # type: ignore[index]
    async with serving(embedded, user, classifier) as studio, studio.service.working(provider):
        variations = await studio.client.generations.create_variations(
            studio.project_id, "a portrait", 3, width=SMALLEST, height=SMALLEST, seed=5
        )
        for _ in variations:
            drawing = await provider.next_drawing()
            color = "red" if drawing.request.seed == 6 else "blue"
            drawing.succeed(Image.new("RGB", (SMALLEST, SMALLEST), color))
        ended = [await studio.wait_for_end(each.id) for each in variations]
    assert [each.state for each in ended] == [COMPLETED, FAILED, COMPLETED]
    assert present(ended[1].error).reason == NSFW
    assert len(classifier.requests) == 3


async def test_a_retry_is_checked_like_the_first_generation(
    embedded: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    provider = ScriptedProvider()
    classifier.score = 0.9
    async with serving(embedded, user, classifier) as studio, studio.service.working(provider):
        failed = await draw(studio, provider)
        classifier.score = 0.1
        retried = await studio.client.generations.retry(failed.id)
        (await provider.next_drawing()).succeed(face())
        completed = await studio.wait_for_end(retried.id)
    assert (present(failed.error).reason, completed.state) == (NSFW, COMPLETED)
    assert len(classifier.requests) == 2


async def test_a_reproduction_is_compared_with_the_stored_picture(
    embedded: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    provider = ScriptedProvider()
    classifier.score = 0.9
    settings = {"PICTURE_MODERATION_ACTION": "blur"}
    async with serving(embedded, user, classifier, **settings) as studio, studio.service.working(provider):
        original = await draw(studio, provider)
        again = await studio.client.generations.reproduce(original.id, project=studio.project_id)
        (await provider.next_drawing()).succeed(face())
        completed = await studio.wait_for_end(again.id)
    assert present(completed.picture_moderation).blurred
    assert present(completed.reproduction).identical_pixels
    assert present(completed.reproduction).color_difference == 0


# A classifier that does not answer


async def test_a_withheld_picture_is_fetched_again_and_paid_for_once(
    deployment: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.mode = "hang"
    provider = ScriptedProvider()
    settings = {"PICTURE_MODERATION_SECONDS": NO_WAITING}
    async with serving(deployment, user, classifier, **settings) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        drawing = await provider.next_drawing()
        drawing.submitted(REQUEST_ID)
        drawing.succeed(face())
        waiting, delay = await studio.wait_for_backoff(generation.id, 1)
        assert present(waiting.error).reason == UNAVAILABLE
        assert delay.total_seconds() == pytest.approx(10, abs=1)

        await studio.retry_now(generation.id, attempt=1)
        resumed = await provider.next_drawing()
        assert resumed.request.resume_request_id == REQUEST_ID
        resumed.succeed(face())
        await studio.wait_for_backoff(generation.id, 2)
        classifier.mode = "score"
    settings = {}
    async with serving(deployment, user, classifier, **settings) as studio, studio.service.working(provider):
        await studio.retry_now(generation.id, attempt=2)
        last = await provider.next_drawing()
        assert last.request.resume_request_id == REQUEST_ID
        last.succeed(face())
        completed = await studio.wait_for_end(generation.id)
        attempts = await studio.attempts(generation.id)
        assert studio.stored()[0] == 2

    assert (completed.state, completed.price_micros) == (COMPLETED, PRICE)
    assert [attempt.price_micros for attempt in attempts] == [PRICE, 0, 0]
    assert [attempt.outcome for attempt in attempts] == [RETRYABLE, RETRYABLE, SUCCEEDED]
    assert provider.cancelled == []


@pytest.mark.parametrize("route", ["hf-inference", "endpoint"])
async def test_a_withheld_picture_that_cannot_be_fetched_again_is_not_paid_twice(
    embedded: Deployment, user: str, classifier: PictureClassifierFake, route: str
) -> None:
    classifier.mode = "status"
    provider = ScriptedProvider()
    settings = {
        "PICTURE_MODERATION_SECONDS": NO_WAITING,
        "HUGGINGFACE_ROUTE": route,
        "HUGGINGFACE_ENDPOINT_URL": "https://endpoint.invalid",
        "PRICES_PER_MEGAPIXEL": f'{{"{route}": 0.035}}',
    }
    async with serving(embedded, user, classifier, **settings) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).succeed(face())
        failed = await studio.wait_for_end(generation.id)
        [attempt] = await studio.attempts(generation.id)

    assert (failed.state, present(failed.error).reason, failed.price_micros) == (FAILED, UNAVAILABLE, PRICE)
    assert present(failed.error).explanation.endswith("so the service does not retry")
    assert (attempt.outcome, attempt.possibly_charged, attempt.price_micros) == (FATAL, True, PRICE)
    assert not provider.has_begun()


async def test_a_withheld_picture_of_the_worker_itself_is_drawn_again(
    embedded: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.mode = "status"
    provider = ScriptedProvider()
    settings = {"PROVIDER": "diffusers", "PICTURE_MODERATION_SECONDS": NO_WAITING}
    async with serving(embedded, user, classifier, **settings) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        (await provider.next_drawing()).succeed(face())
        await studio.wait_for_backoff(generation.id, 1)
        await studio.retry_now(generation.id, attempt=1)
        assert (await provider.next_drawing()).request.resume_request_id == ""


async def test_after_the_last_retry_the_generation_fails_and_stores_nothing(
    deployment: Deployment, user: str, classifier: PictureClassifierFake
) -> None:
    classifier.mode, classifier.malformed_body = "malformed", '[{"label": "nsfw", "score": 2}]'
    provider = ScriptedProvider()
    settings = {"PICTURE_MODERATION_SECONDS": NO_WAITING, "PICTURE_MODERATION_ACTION": "flag"}
    async with serving(deployment, user, classifier, **settings) as studio, studio.service.working(provider):
        generation = await studio.create_generation()
        for attempt in (1, 2, 3):
            drawing = await provider.next_drawing()
            drawing.submitted(REQUEST_ID)
            drawing.succeed(face())
            await studio.wait_for_backoff(generation.id, attempt)
            await studio.retry_now(generation.id, attempt=attempt)
        (await provider.next_drawing()).succeed(face())
        failed = await studio.wait_for_end(generation.id)
        await studio.wait_until_nothing_is_stored()

    assert (failed.state, present(failed.error).reason, failed.attempt_number) == (FAILED, UNAVAILABLE, 4)
    assert present(failed.error).explanation == (
        "the service's picture moderation does not answer, so the picture was withheld"
    )
    assert failed.price_micros == PRICE


# Separate processes


@pytest.mark.parametrize("mode", ["embedded", "distributed"])
def test_a_hosted_picture_is_ordered_once_although_the_classifier_failed_first(
    embedded: Deployment,
    distributed: Deployment,
    router: RouterFake,
    classifier: PictureClassifierFake,
    mode: str,
    user: str,
) -> None:
    service = embedded if mode == "embedded" else distributed
    service.settings |= {
        "HUGGINGFACE_API_KEY": "hf_test",
        "HUGGINGFACE_BASE_URL": router.url,
        "PICTURE_MODERATION": classifier.url,
        "PICTURE_MODERATION_API_KEY": KEY,
        "PICTURE_MODERATION_ACTION": "blur",
        "PICTURE_MODERATION_SECONDS": "0.3",
    }
    classifier.mode, classifier.score = "status", 0.9
    service.start()
    with service.client(user) as client:
        project = client.projects.create("Hosted")
        generation = client.generations.create(project.id, "a woman", width=SMALLEST, height=SMALLEST)
        wait_until(
            lambda: (error := client.generations.get(generation.id).error) and error.reason == UNAVAILABLE,
            20.0,
        )
        classifier.mode = "score"
        assert make_due(service, generation.id, attempt=1)
        *_, completed = client.generations.watch(generation.id, timeout=30.0)
        file = Image.open(BytesIO(client.avatars.download(present(completed.avatar_id))))
        file.load()

    assert completed.picture_moderation == PictureModeration(flagged=True, score=0.9, blurred=True)
    assert completed.price_micros == PRICE
    assert len(router.submissions()) == 1
    outputs = "\n".join(str(process.output()) for process in (*service.servers, *service.workers))
    assert "picture_flagged" in outputs
    assert "picture_withheld" in outputs
    assert KEY not in outputs


def without_labels(folder: Path) -> Path:
    """Create the folder of a model that knows cats and dogs."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"id2label": {"0": "cat", "1": "dog"}}))
    return folder


def test_a_worker_with_an_unusable_folder_does_not_start(
    embedded: Deployment, distributed: Deployment, router: RouterFake, tmp_path: Path
) -> None:
    folder = without_labels(tmp_path / "cats")
    settings = {
        "HUGGINGFACE_API_KEY": "hf_test",
        "HUGGINGFACE_BASE_URL": router.url,
        "PICTURE_MODERATION": str(folder),
    }
    sentence = (
        f"PICTURE_MODERATION {folder} has no label that is nsfw or unsafe: its config.json has cat, dog"
    )

    serve, serves_doctor, worker, workers_doctor = run_in_turn(
        [
            ([command], deployment.settings | settings, deployment.directory)
            for deployment, starts in ((embedded, "serve"), (distributed, "worker"))
            for command in (starts, "doctor")
        ]
    )

    for stopped in (serve, worker):
        assert (stopped.returncode, stopped.stdout) == (1, "")
        assert stopped.stderr.splitlines()[-1] == f"error: {sentence}"
    for doctor in (serves_doctor, workers_doctor):
        assert sentence in doctor.stdout
        assert doctor.returncode == 1
    assert "only workers need this folder" not in serves_doctor.stdout
    assert "only workers need this folder" in workers_doctor.stdout


def test_doctor_shows_what_checks_the_pictures(
    embedded: Deployment, classifier: PictureClassifierFake
) -> None:
    hosted = {"PROVIDER": "huggingface"}
    with PictureClassifierFake(key=KEY) as strange:
        strange.mode, strange.malformed_body = "malformed", '[{"label": "cat", "score": 1}]'
        checked = {
            **hosted,
            "PICTURE_MODERATION": classifier.url,
            "PICTURE_MODERATION_API_KEY": KEY,
            "PICTURE_MODERATION_ACTION": "blur",
            "PICTURE_MODERATION_THRESHOLD": "0.85",
        }
        without_verdict = {**checked, "PICTURE_MODERATION": strange.url}
        wrong_key = {**checked, "PICTURE_MODERATION_API_KEY": f"{KEY}wrong"}
        changes: list[dict[str, str]] = [{}, hosted, checked, without_verdict, wrong_key]
        reports = run_in_turn(
            [(["doctor"], embedded.settings | change, embedded.directory) for change in changes]
        )
    checks = [checks_of(report.stdout)["moderation"] for report in reports]
    rows = [(check.result, check.message if check.fix else check.found) for check in checks]

    assert rows[:3] == [
        ("ok", "not needed: sketch draws no photographs"),
        ("ok", "none; the filter of the provider applies, if it has one"),
        ("ok", f"{classifier.url}; pictures with a score from 0.85 are blurred"),
    ]
    assert [request.authorization for request in classifier.requests][:1] == [f"Bearer {KEY}"]
    mark, text = rows[3]
    assert mark == "failed"
    assert f"{strange.url} gives no verdict: no label of the answer is nsfw or unsafe" in text
    mark, text = rows[4]
    assert (mark, "gives no verdict: status 401" in text, KEY in text) == ("failed", True, False)


@pytest.mark.parametrize(
    ("model", "demands_filter"),
    [
        ("black-forest-labs/FLUX.1-dev", True),
        ("/models/FLUX.1-Kontext-dev", True),
        ("black-forest-labs/FLUX.1-Krea-dev", True),
        ("black-forest-labs/FLUX.2-dev", True),
        ("black-forest-labs/FLUX.2-klein-9B", True),
        ("black-forest-labs/FLUX.2-klein-4B", False),
        ("black-forest-labs/FLUX.1-schnell", False),
        ("Tongyi-MAI/Z-Image-Turbo", False),
        ("krea/Krea-2-Turbo", True),
        ("/models/FLUX.1-Krea-dev", True),
    ],
)
async def test_doctor_warns_about_a_model_of_the_operator_whose_license_demands_a_filter(
    model: str, demands_filter: bool
) -> None:
    async def unused(_settings: Settings) -> None:
        raise AssertionError("there is no classifier")

    for settings in (
        Settings(provider="diffusers", model=model),
        Settings(provider="huggingface", huggingface_route="endpoint", model=model),
    ):
        result = await check_picture_moderation(settings, unused)
        assert result.passed
        assert ("the license of" in result.found) == ("PICTURE_MODERATION" in result.fix) == demands_filter
    hosted = Settings(provider="huggingface", huggingface_route="fal-ai", model=model)
    assert not (await check_picture_moderation(hosted, unused)).fix
