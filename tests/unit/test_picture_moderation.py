"""The picture moderation: answers of a service, folders of weights, verdicts, and what follows from them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat
from pydantic import SecretStr
from structlog.testing import capture_logs

from avatar_creator_server.images.records import PictureModeration
from avatar_creator_server.settings import Settings, SettingsError
from avatar_creator_tasks.picture_moderation import PictureModerator, make_moderator
from avatar_creator_tasks.picture_moderation.blurring import REMAINING_PIXELS, blurred
from avatar_creator_tasks.picture_moderation.classifier import NoVerdictError
from avatar_creator_tasks.picture_moderation.moderator import Action
from avatar_creator_tasks.picture_moderation.service import MAX_SIDE_PIXELS, ServiceClassifier, ServiceLimits
from avatar_creator_tasks.picture_moderation.weights import require_weights
from avatar_creator_tasks.providers.base import Portrait, ProviderError
from tests import pictures
from tests.support.picture_classifier import Mode, PictureClassifierFake
from tests.support.ports import free_port

FACE = Path(__file__).parents[2] / "server/avatar_creator_server/demo/astronaut.jpg"
KEY = "hf_canary7f3a"
SHORT = ServiceLimits(answer_seconds=0.3, answer_bytes=1_000, first_pause=0.01, longest_pause=0.02)
PATIENT = ServiceLimits(answer_seconds=30.0, answer_bytes=1_000, first_pause=0.01, longest_pause=0.02)
"""Limits for answers that come: a busy machine may take longer than the short time to connect."""


@pytest.fixture
def service() -> Iterator[PictureClassifierFake]:
    with PictureClassifierFake() as fake:
        yield fake


@asynccontextmanager
async def classifier_at(
    url: str, limits: ServiceLimits = PATIENT, key: str = ""
) -> AsyncIterator[ServiceClassifier]:
    classifier = ServiceClassifier(url, SecretStr(key), limits)
    try:
        yield classifier
    finally:
        await classifier.close()


# The service


async def test_the_score_is_that_of_the_label_nsfw(service: PictureClassifierFake) -> None:
    service.score = 0.75
    async with classifier_at(service.url) as classifier:
        assert await classifier.nsfw_score(pictures.scene()) == 0.75
        assert classifier.name == "127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('[{"label": "UNSAFE", "score": 0.25}]', 0.25),
        ('[{"label": "safe", "score": 1}, {"label": " NSFW", "score": 0}]', 0.0),
        ('[{"label": "nsfw", "score": 0.25}, {"label": "unsafe", "score": 0.5, "box": null}]', 0.5),
    ],
)
async def test_labels_count_in_any_case_and_the_highest_score_wins(
    service: PictureClassifierFake, answer: str, score: float
) -> None:
    service.mode, service.malformed_body = "malformed", answer
    async with classifier_at(service.url) as classifier:
        assert await classifier.nsfw_score(pictures.scene()) == score


async def test_the_service_receives_the_picture_reduced_and_without_metadata(
    service: PictureClassifierFake,
) -> None:
    image = pictures.scene(1440, 720)
    image.info["comment"] = b"a secret of the picture"
    async with classifier_at(service.url) as classifier:
        await classifier.nsfw_score(image)
    [received] = service.requests
    assert received.image.format == "JPEG"
    assert received.image.size == (MAX_SIDE_PIXELS, MAX_SIDE_PIXELS // 2)
    assert not {"comment", "exif", "xmp"} & set(received.image.info)
    difference = ImageChops.difference(received.image, image.resize(received.image.size))
    assert max(ImageStat.Stat(difference).mean) < 4


async def test_the_key_is_sent_and_never_logged(capfd: pytest.CaptureFixture[str]) -> None:
    with PictureClassifierFake(key=KEY) as service:
        async with classifier_at(service.url, key=KEY) as classifier:
            await classifier.nsfw_score(pictures.scene())
        assert [request.authorization for request in service.requests] == [f"Bearer {KEY}"]
        with capture_logs() as logs:
            async with classifier_at(service.url, key=f"{KEY}wrong") as classifier:
                with pytest.raises(NoVerdictError, match="status 401") as refused:
                    await classifier.ask(b"")
                moderator = PictureModerator(classifier, seconds=0.3)
                with pytest.raises(ProviderError) as withheld:
                    await moderator.check(Portrait(pictures.scene()), fetchable=False)
    texts = [str(logs), str(refused.value), withheld.value.message, repr(withheld.value), *capfd.readouterr()]
    assert "picture_moderation_unanswered" in str(logs)
    assert not [text for text in texts if KEY in text]


MALFORMED = {
    "no JSON": "nsfw",
    "an empty body": "",
    "an object": '{"label": "nsfw", "score": 0.9}',
    "an error with status 200": '{"error": "Model is loading"}',
    "no label": "[]",
    "only labels of something else": '[{"label": "cat", "score": 0.9}]',
    "a score above 1": '[{"label": "nsfw", "score": 1.01}]',
    "a score below 0": '[{"label": "nsfw", "score": -0.01}]',
    "a score that is not a number": '[{"label": "nsfw", "score": NaN}]',
    "a score without an end": '[{"label": "nsfw", "score": Infinity}]',
    "a score that is a text": '[{"label": "nsfw", "score": "0.9"}]',
    "a score that is a truth value": '[{"label": "nsfw", "score": true}]',
    "no score": '[{"label": "nsfw"}]',
    "another broken label": '[{"label": "nsfw", "score": 0.1}, {"label": "normal", "score": 7}]',
    "a list in a list": '[[{"label": "nsfw", "score": 0.9}]]',
    "more than the limit": json.dumps([{"label": "nsfw", "score": 0.9, "words": "x" * 2_000}]),
    "deep nesting": "[" * 100_000,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_answer_is_no_answer(service: PictureClassifierFake, body: str) -> None:
    service.mode, service.malformed_body, service.failures_left = "malformed", body, 1
    service.score = 0.5
    with capture_logs() as logs:
        async with classifier_at(service.url) as classifier:
            assert await classifier.nsfw_score(pictures.scene()) == 0.5
    assert [entry["event"] for entry in logs] == ["picture_moderation_unanswered"]
    assert len(service.requests) == 2


@pytest.mark.parametrize("mode", ["hang", "trickle", "drop", "compressed", "endless", "redirect", "status"])
async def test_the_same_picture_is_sent_again_until_there_is_an_answer(
    service: PictureClassifierFake, mode: Mode
) -> None:
    service.mode, service.failures_left, service.score = mode, 2, 0.5
    limits = SHORT if mode in ("hang", "trickle") else PATIENT
    async with classifier_at(service.url, limits) as classifier:
        assert await classifier.nsfw_score(pictures.scene()) == 0.5
    first, *others = service.requests
    assert len(others) >= 2
    assert all(other.image.tobytes() == first.image.tobytes() for other in others)
    assert service.redirected == 0


@pytest.mark.parametrize("status", [201, 204, 302, 400, 404, 413, 429, 500, 502, 503, 504])
async def test_every_status_but_200_is_no_answer(service: PictureClassifierFake, status: int) -> None:
    service.mode, service.status = "status", status
    async with classifier_at(service.url) as classifier:
        with pytest.raises(NoVerdictError, match=f"status {status}"):
            await classifier.ask(_jpeg())


async def test_an_address_without_a_service_is_no_answer() -> None:
    async with classifier_at(f"http://127.0.0.1:{free_port()}/") as classifier:
        with pytest.raises(NoVerdictError, match="no connection to its address"):
            await classifier.ask(_jpeg())


def _jpeg() -> bytes:
    from avatar_creator_tasks.picture_moderation.service import jpeg_to_send

    return jpeg_to_send(pictures.scene())


# Verdicts


class FixedClassifier:
    """Gives every picture the same score, or the same error, or no answer."""

    name = "fixed"

    def __init__(self, score: float | None = 0.0, error: NoVerdictError | None = None) -> None:
        self._score = score
        self._error = error

    async def load(self) -> None:
        pass

    async def nsfw_score(self, image: Image.Image) -> float:
        if self._error:
            raise self._error
        if self._score is None:
            await asyncio.Event().wait()
        assert self._score is not None
        return self._score

    async def close(self) -> None:
        pass


def portrait() -> Portrait:
    return Portrait(pictures.scene(), {"device": "H100"}, ("a warning of the provider",))


async def test_without_a_classifier_every_picture_passes_unchanged() -> None:
    drawn = portrait()
    checked = await PictureModerator(None).check(drawn, fetchable=False)
    assert checked.portrait is drawn
    assert (checked.verdict, checked.classifier) == (None, "")


@pytest.mark.parametrize("action", ["refuse", "blur", "flag"])
async def test_a_picture_below_the_threshold_passes_unchanged(action: Action) -> None:
    drawn = portrait()
    moderator = PictureModerator(FixedClassifier(0.79), action=action, threshold=0.8)
    checked = await moderator.check(drawn, fetchable=False)
    assert checked.portrait is drawn
    assert checked.verdict == PictureModeration(flagged=False, score=0.79, blurred=False)
    assert checked.classifier == "fixed"


async def test_a_flagged_picture_is_refused_as_a_hosted_route_refuses_it() -> None:
    moderator = PictureModerator(FixedClassifier(0.8), threshold=0.8)
    with pytest.raises(ProviderError) as refused:
        await moderator.check(portrait(), fetchable=True)
    error = refused.value
    assert (error.reason, error.retryable, error.charged) == ("PROVIDER_NSFW", False, True)
    assert (error.request_alive, error.submit_unknown) == (False, False)


async def test_a_flagged_picture_is_stored_as_it_is_with_a_warning() -> None:
    drawn = portrait()
    checked = await PictureModerator(FixedClassifier(0.987), action="flag").check(drawn, fetchable=False)
    assert checked.portrait.image is drawn.image
    assert checked.portrait.warnings == (
        "a warning of the provider",
        "the picture moderation flagged the picture as not safe for work, with a score of 0.99",
    )
    assert checked.verdict == PictureModeration(flagged=True, score=0.987, blurred=False)


async def test_a_flagged_picture_is_blurred_with_a_warning() -> None:
    drawn = portrait()
    checked = await PictureModerator(FixedClassifier(1.0), action="blur").check(drawn, fetchable=False)
    assert checked.portrait.image.tobytes() == blurred(drawn.image).tobytes() != drawn.image.tobytes()
    assert checked.portrait.warnings[-1].endswith("with a score of 1.00; the stored picture is blurred")
    assert checked.portrait.facts == drawn.facts
    assert checked.verdict == PictureModeration(flagged=True, score=1.0, blurred=True)


@pytest.mark.parametrize("fetchable", [True, False])
@pytest.mark.parametrize(
    "classifier",
    [FixedClassifier(None), FixedClassifier(error=NoVerdictError("a score is not a number"))],
    ids=["no answer", "no verdict"],
)
async def test_a_picture_without_a_verdict_is_withheld_and_retried(
    classifier: FixedClassifier, fetchable: bool
) -> None:
    with pytest.raises(ProviderError) as withheld:
        await PictureModerator(classifier, action="flag", seconds=0.05).check(portrait(), fetchable=fetchable)
    error = withheld.value
    assert (error.reason, error.retryable, error.charged) == ("MODERATION_UNAVAILABLE", True, True)
    assert error.request_alive == fetchable


# Blur


@pytest.mark.parametrize("size", [(256, 256), (1440, 256), (256, 1440), (1440, 1440)])
def test_a_blurred_picture_keeps_its_size(size: tuple[int, int]) -> None:
    result = blurred(pictures.scene(*size))
    assert (result.mode, result.size) == ("RGB", size)


def test_all_features_within_a_twelfth_of_the_picture_are_gone() -> None:
    face = Image.open(FACE).convert("RGB").resize((768, 768))
    side = 768 // REMAINING_PIXELS
    blocks = np.asarray(face).reshape(REMAINING_PIXELS, side, REMAINING_PIXELS, side, 3)
    # In each block, all pixels change their places: only the mean color stays.
    pixels = blocks.transpose(0, 2, 1, 3, 4).reshape(REMAINING_PIXELS, REMAINING_PIXELS, side * side, 3)
    pixels = np.random.default_rng(1).permutation(pixels, axis=2)
    blocks = pixels.reshape(REMAINING_PIXELS, REMAINING_PIXELS, side, side, 3).transpose(0, 2, 1, 3, 4)
    noise = Image.fromarray(blocks.reshape(768, 768, 3))

    # Pillow rounds the rows before it adds them up.
    difference = ImageChops.difference(blurred(face), blurred(noise)).getextrema()
    assert all(high <= 2 for _, high in difference)  # type: ignore[misc]
    assert any(high > 100 for _, high in ImageChops.difference(face, noise).getextrema())  # type: ignore[misc]


# Folders of weights


def folder_of(place: Path, **files: Any) -> Path:
    """Create the folder of a classifier with Falconsai's names and labels; a file that is None is missing."""
    defaults: dict[str, Any] = {
        "config.json": {"id2label": {"0": "normal", "1": "nsfw"}, "model_type": "vit"},
        "preprocessor_config.json": {"image_processor_type": "ViTImageProcessor"},
        "model.safetensors": "",
    }
    place.mkdir()
    for name, content in {**defaults, **files}.items():
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (place / name).write_text(text)
    return place


FOLDERS: dict[str, tuple[dict[str, Any], str]] = {
    "no config.json": ({"config.json": None}, "has no config.json"),
    "no JSON": ({"config.json": "{"}, "has a config.json that is not JSON"),
    "deep JSON": ({"config.json": "[" * 100_000}, "has a config.json that is not JSON"),
    "another model": ({"config.json": {"model_type": "clip"}}, "is not an image classifier"),
    "no object": ({"config.json": []}, "is not an image classifier"),
    "other labels": (
        {"config.json": {"id2label": {"0": "cat", "1": "dog"}}},
        "has no label that is nsfw or unsafe: its config.json has cat, dog",
    ),
    "no preprocessor": ({"preprocessor_config.json": None}, "has no preprocessor_config.json"),
    "other weights": (
        {"model.safetensors": None, "pytorch_model.bin": ""},
        "has no weights in the format safetensors",
    ),
}


@pytest.mark.parametrize(("files", "problem"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_no_classifier_is_refused_with_the_cause(
    tmp_path: Path, files: dict[str, Any], problem: str
) -> None:
    folder = folder_of(tmp_path / "classifier", **files)
    with pytest.raises(SettingsError) as refused:
        require_weights(str(folder))
    assert str(refused.value).startswith(f"PICTURE_MODERATION {folder} {problem}")


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, problem in (
        ("none", "this folder does not exist on this machine: copy the model's folder there, or set a URL"),
        ("file", "this is not a folder: set the model's folder, or a URL"),
    ):
        with pytest.raises(SettingsError, match=f"PICTURE_MODERATION is .*{name}, but {problem}"):
            require_weights(str(tmp_path / name))


def test_a_folder_needs_the_extra_gpu(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"needs torch, transformers on each worker: install the extra gpu"
    ):
        require_weights(str(folder_of(tmp_path / "classifier")))


def test_a_moderator_of_a_missing_folder_is_not_created_except_for_sketches(tmp_path: Path) -> None:
    folder = str(tmp_path / "none")
    with pytest.raises(SettingsError, match="does not exist"):
        make_moderator(Settings(provider="huggingface", picture_moderation=folder))
    make_moderator(Settings(provider="sketch", picture_moderation=folder))
