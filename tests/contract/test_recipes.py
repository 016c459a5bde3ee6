"""Recipes, reproductions, references, variations and estimates, with the provider `sketch`."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest
from PIL import Image

from avatar_creator import (
    Attributes,
    AvatarCreator,
    FailedPreconditionError,
    Generation,
    ImageVariant,
    InvalidArgumentError,
    NotFoundError,
    SourceType,
)
from tests.contract.conftest import ONE_STACK
from tests.support.generations import COMPLETED, SMALLEST, create_cancelled, final_state
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread

SMALL: dict[str, Any] = {"width": SMALLEST, "height": SMALLEST}


@pytest.fixture
def project_id(shared_client: AvatarCreator) -> str:
    return shared_client.projects.create("Recipes").id


def drawn(client: AvatarCreator, project_id: str, **parameters: Any) -> Generation:
    generation = client.generations.create(project_id, "a woman", **SMALL, **parameters)
    *_, last = client.generations.watch(generation.id, timeout=30.0)
    assert last.state == COMPLETED
    return last


def picture_of(client: AvatarCreator, generation: Generation) -> Image.Image:
    image = Image.open(io.BytesIO(client.avatars.download(present(generation.avatar_id))))
    image.load()
    return image


def pixels_of(image: Image.Image) -> str:
    sides = b"".join(side.to_bytes(4, "big") for side in image.size)
    return hashlib.sha256(sides + image.convert("RGB").tobytes()).hexdigest()


def test_a_completed_generation_has_a_recipe(shared_client: AvatarCreator, project_id: str) -> None:
    generation = drawn(shared_client, project_id, seed=11)
    recipe = shared_client.generations.recipe(generation.id)

    assert recipe is not None
    assert (recipe.provider, recipe.route, recipe.model, recipe.seed) == ("sketch", "local", None, 11)
    assert (recipe.width, recipe.height, recipe.steps, recipe.guidance_scale) == (256, 256, None, None)
    assert recipe.enhanced_prompt == recipe.provider_prompt == generation.enhanced_prompt
    assert recipe.software.startswith("avatar-creator ")
    assert recipe.pixels_sha256 == pixels_of(picture_of(shared_client, generation))


@ONE_STACK
def test_the_file_of_the_picture_has_the_recipe_and_its_digital_source_type(
    shared_client: AvatarCreator, project_id: str, user: str
) -> None:
    generation = drawn(shared_client, project_id, seed=11)
    picture = picture_of(shared_client, generation)
    text = "\n".join(str(value) for value in picture.info.values())

    assert "Seed: 11" in picture.info["parameters"]
    assert "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia" in text
    assert "pixels_sha256" in text
    assert user not in text
    assert project_id not in text


@ONE_STACK
def test_a_recipe_can_be_left_out_of_the_file_but_is_always_stored(
    shared_client: AvatarCreator, project_id: str
) -> None:
    generation = drawn(shared_client, project_id, omit_recipe=True)

    picture = picture_of(shared_client, generation)
    assert list(picture.text) == ["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
    [description] = [picture.getxmp()["xmpmeta"]["RDF"]["Description"]]
    assert description == {
        "about": "",
        "DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia",
    }
    assert shared_client.generations.recipe(generation.id) is not None


@ONE_STACK
def test_the_thumbnail_has_no_recipe(shared_client: AvatarCreator, project_id: str) -> None:
    generation = drawn(shared_client, project_id)
    avatar = shared_client.avatars.get(present(generation.avatar_id))
    thumbnail = shared_client.avatars.download(avatar.id, variant=ImageVariant.THUMBNAIL)
    assert len(thumbnail) == present(avatar.thumbnail).size_bytes
    assert b"recipe" not in thumbnail


def test_a_cancelled_generation_has_no_recipe(embedded: Deployment, user: str) -> None:
    with ServiceInThread.serving(embedded), embedded.client(user) as client:
        project = client.projects.create("Cancelled")
        generation = create_cancelled(client, project.id)
        assert client.generations.recipe(generation.id) is None
        with pytest.raises(FailedPreconditionError) as refusal:
            client.generations.reproduce(generation.id, project=project.id)
    assert refusal.value.reason == "NOT_REPRODUCIBLE"
    assert refusal.value.metadata == {"difference": "state"}


def test_a_reproduction_has_the_same_pixels(shared_client: AvatarCreator, project_id: str) -> None:
    first = drawn(shared_client, project_id)
    again = shared_client.generations.reproduce(first.id, project=project_id, avatar_name="Again")
    *_, last = shared_client.generations.watch(again.id, timeout=30.0)

    assert last.reproduce_of == first.id
    assert last.avatar_name == "Again"
    assert last.seed_used == first.seed_used
    assert present(last.reproduction).identical_pixels
    assert present(last.reproduction).color_difference == 0
    assert pixels_of(picture_of(shared_client, last)) == pixels_of(picture_of(shared_client, first))


def test_a_reproduction_is_compared_with_the_recipe_if_the_picture_is_gone(
    shared_client: AvatarCreator, project_id: str
) -> None:
    first = drawn(shared_client, project_id)
    shared_client.avatars.delete(present(first.avatar_id))
    again = shared_client.generations.reproduce(first.id, project=project_id)
    *_, last = shared_client.generations.watch(again.id, timeout=30.0)

    assert present(last.reproduction).identical_pixels
    assert present(last.reproduction).color_difference is None


def test_a_reproduction_completes_although_the_picture_cannot_be_decoded(
    shared_client: AvatarCreator, shared_deployment: Deployment, project_id: str
) -> None:
    files_before = shared_deployment.files()
    first = drawn(shared_client, project_id)
    for file in shared_deployment.files() - files_before:
        file.write_bytes(bytes(file.stat().st_size))
    again = shared_client.generations.reproduce(first.id, project=project_id)
    *_, last = shared_client.generations.watch(again.id, timeout=30.0)

    assert last.state == COMPLETED
    assert present(last.reproduction).identical_pixels
    assert present(last.reproduction).color_difference is None


def test_another_users_picture_cannot_be_reproduced_or_used_as_a_reference(
    shared_client: AvatarCreator, shared_deployment: Deployment, project_id: str
) -> None:
    first = drawn(shared_client, project_id)
    with shared_deployment.client("another-user") as other:
        theirs = other.projects.create("Theirs").id
        with pytest.raises(NotFoundError):
            other.generations.reproduce(first.id, project=theirs)
        references: tuple[dict[str, Any], ...] = (
            {"reference": first.avatar_id},
            {"reference": [first.avatar_id]},
        )
        for reference in references:
            with pytest.raises(NotFoundError):
                other.generations.create(theirs, "a woman", **reference)
            with pytest.raises(NotFoundError):
                other.generations.estimate(theirs, "a woman", **reference)
        assert list(other.generations.list()) == []


def test_a_picture_can_start_from_the_picture_of_another_avatar(
    shared_client: AvatarCreator, project_id: str
) -> None:
    first = drawn(shared_client, project_id)
    near = drawn(shared_client, project_id, reference=first.avatar_id, reference_strength=0.1)
    far = drawn(shared_client, project_id, reference=first.avatar_id, reference_strength=1.0)
    avatar = shared_client.avatars.get(present(near.avatar_id))
    recipe = shared_client.generations.recipe(near.id)

    assert avatar.source_type == SourceType.FROM_REFERENCE
    assert avatar.reference_avatar_id == near.reference_avatar_id == first.avatar_id
    assert list(avatar.reference_avatar_ids) == list(near.reference_avatar_ids) == [first.avatar_id]
    assert recipe is not None
    assert list(recipe.reference_avatar_ids) == [recipe.reference_avatar_id] == [first.avatar_id]
    assert recipe.reference_sha256 == shared_client.avatars.get(present(first.avatar_id)).image.sha256
    assert list(recipe.reference_sha256s) == [recipe.reference_sha256]
    assert recipe.reference_strength == pytest.approx(0.1)
    pixels = {pixels_of(picture_of(shared_client, generation)) for generation in (first, near, far)}
    assert len(pixels) == 3


@ONE_STACK
def test_a_route_that_takes_one_reference_refuses_two(shared_client: AvatarCreator, project_id: str) -> None:
    first, second = drawn(shared_client, project_id), drawn(shared_client, project_id)
    with pytest.raises(InvalidArgumentError) as refusal:
        shared_client.generations.create(
            project_id, "a woman", reference=[present(first.avatar_id), present(second.avatar_id)]
        )

    assert refusal.value.reason == "OPTION_NOT_SUPPORTED"
    assert refusal.value.metadata == {"provider": "sketch", "route": "local"}
    [violation] = refusal.value.field_violations
    assert violation.field == "reference"
    assert violation.description == "the route local of sketch takes at most 1 reference (got 2): give fewer"
    alone = drawn(shared_client, project_id, reference=[second.avatar_id])
    assert alone.reference_avatar_id == second.avatar_id


def test_a_generation_fails_if_its_reference_is_deleted_before_the_drawing(
    distributed: Deployment, user: str
) -> None:
    with ServiceInThread.serving(distributed) as service, distributed.client(user) as client:
        project = client.projects.create("Gone")
        with service.working():
            first = drawn(client, project.id)
        generation = client.generations.create(
            project.id, "a woman", reference=present(first.avatar_id), **SMALL
        )
        client.avatars.delete(present(first.avatar_id))
        with service.working():
            *_, last = client.generations.watch(generation.id, timeout=30.0)

    assert present(last.error).explanation == (
        f"the reference avatar {first.avatar_id} has been deleted: choose another reference"
    )
    assert last.attempt_number == 1
    assert last.reference_avatar_id == first.avatar_id


def test_variations_have_consecutive_seeds_and_are_listed_and_watched_as_a_group(
    shared_client: AvatarCreator, project_id: str
) -> None:
    alone = drawn(shared_client, project_id)
    variations = shared_client.generations.create_variations(
        project_id, "a woman", count=4, seed=2**32 - 2, **SMALL
    )

    assert [each.generation.seed_used for each in variations] == [2**32 - 2, 2**32 - 1, 0, 1]
    assert {each.generation.group_id for each in variations} == {variations.id}
    assert alone.group_id is None
    ids = {generation.id for generation in variations}
    assert {each.id for each in shared_client.generations.list(group_id=variations.id)} == ids
    ends = {}
    for state in shared_client.generations.watch_many(group_id=variations.id, timeout=30.0):
        ends[state.id] = state.state
    assert ends == dict.fromkeys(ids, COMPLETED)
    pixels = {
        pixels_of(picture_of(shared_client, shared_client.generations.get(generation_id)))
        for generation_id in ids
    }
    assert len(pixels) == 4


def test_a_repeated_request_for_variations_creates_them_once(
    shared_client: AvatarCreator, project_id: str
) -> None:
    request_id = "5f2b9c1e-8a1d-4c39-9d0f-0c9d5b8f7a10"
    calls = [
        shared_client.generations.create_variations(
            project_id, "a woman", count=3, request_id=request_id, **SMALL
        )
        for _ in range(2)
    ]
    assert [each.id for each in calls[0]] == [each.id for each in calls[1]]
    assert len(list(shared_client.generations.list(project=project_id))) == 3


def test_a_group_of_another_user_is_not_found(
    shared_client: AvatarCreator, shared_deployment: Deployment, project_id: str
) -> None:
    variations = shared_client.generations.create_variations(project_id, "a woman", count=2, **SMALL)
    with shared_deployment.client("another-user") as other:
        assert list(other.generations.list(group_id=variations.id)) == []
        with pytest.raises(NotFoundError):
            list(other.generations.watch_many(group_id=variations.id))


@ONE_STACK
def test_an_option_that_sketch_does_not_support_is_a_warning_or_with_strict_an_error(
    shared_client: AvatarCreator, project_id: str
) -> None:
    parameters: dict[str, Any] = {"steps": 20, "guidance_scale": 5.0, "negative_prompt": "hats"}
    generation = shared_client.generations.create(project_id, "a woman", **SMALL, **parameters).generation
    estimate = shared_client.generations.estimate(project_id, "a woman", **SMALL, **parameters)

    assert list(generation.warnings) == list(estimate.warnings)
    assert len(generation.warnings) == 4
    for call in (shared_client.generations.create, shared_client.generations.estimate):
        with pytest.raises(InvalidArgumentError) as refusal:
            call(project_id, "a woman", strict=True, **SMALL, **parameters)
        assert refusal.value.reason == "OPTION_NOT_SUPPORTED"
        assert refusal.value.metadata == {"provider": "sketch", "route": "local"}
        assert [violation.field for violation in refusal.value.field_violations] == [
            "prompt",
            "negative_prompt",
            "steps",
            "guidance_scale",
        ]
    assert len(list(shared_client.generations.list(project=project_id))) == 1


@ONE_STACK
def test_the_warning_of_sketch_says_which_words_it_read_and_nothing_else_changes(
    shared_client: AvatarCreator, project_id: str
) -> None:
    prompt = "professional Indonesian woman with modern hijab, tanpa kacamata"
    generation = final_state(shared_client.generations.create(project_id, prompt, seed=7, **SMALL))
    same_words = "Norwegian woman, professional, hijab, without glasses"
    other = final_state(shared_client.generations.create(project_id, same_words, seed=7, **SMALL))

    assert list(generation.warnings) == [
        "the route local of sketch draws from the attributes and from words of the prompt that it knows: it "
        "uses “professional”, “woman”, “hijab”, “tanpa kacamata” and ignores “Indonesian”, “modern”"
    ]
    assert generation.attributes == Attributes()
    assert generation.enhanced_prompt.startswith(f"{prompt}, professional photo studio portrait")
    pixels = [pixels_of(picture_of(shared_client, each)) for each in (generation, other)]
    assert pixels[0] == pixels[1]


def test_a_recipe_of_another_version_of_the_drawing_is_refused(embedded: Deployment, user: str) -> None:
    with (
        ServiceInThread.serving(embedded) as service,
        service.working(),
        embedded.client(user) as client,
    ):
        project = client.projects.create("Older")
        generation = drawn(client, project.id)
        again = client.generations.reproduce(generation, project=project)
        *_, last = client.generations.watch(again.id, timeout=30.0)
        assert present(last.reproduction).identical_pixels
        # Earlier versions stored no revision.
        embedded.execute("UPDATE generation_recipes SET recipe = json_set(recipe, '$.model_revision', '')")
        with pytest.raises(FailedPreconditionError) as refusal:
            client.generations.reproduce(generation, project=project)

    assert refusal.value.reason == "NOT_REPRODUCIBLE"
    assert refusal.value.metadata == {"difference": "model_revision"}
    assert "the model revision was none and is now 2" in str(refusal.value)


def test_an_estimate_creates_nothing_and_uses_the_times_of_earlier_drawings(
    embedded: Deployment, user: str
) -> None:
    embedded.start_server()
    with embedded.client(user) as client:
        project = client.projects.create("Estimates")
        unknown = client.generations.estimate(project.id, "a woman")
        for _ in range(3):
            drawn(client, project.id)
        known = client.generations.estimate(project.id, "a woman", variation_count=8)
        assert len(list(client.generations.list())) == 3

    assert unknown.seconds_p50 is None
    assert unknown.expected_seconds is None
    assert (known.provider, known.route, known.price_micros) == ("sketch", "local", 0)
    assert 0 < present(known.seconds_p50) <= present(known.seconds_p90)
    assert present(known.expected_seconds) >= present(known.seconds_p50)
