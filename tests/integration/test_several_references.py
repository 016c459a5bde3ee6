"""Portraits from several pictures of one person, with FLUX.2 at the fake of the router."""

from __future__ import annotations

import base64
import io
import math
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageColor

from avatar_creator import (
    AlreadyExistsError,
    Avatar,
    AvatarCreator,
    ErrorReason,
    Generation,
    GenerationHandle,
    InvalidArgumentError,
    NotFoundError,
    Resource,
    SourceType,
)
from tests import pictures
from tests.support.generations import COMPLETED, FAILED
from tests.support.huggingface_router import Behavior, RouterFake
from tests.support.presence import present
from tests.support.service import Deployment
from tests.support.shared_services import deployed

KEY = "hf_test_0c41d7be95a2"
MODEL = "black-forest-labs/FLUX.2-dev"
MAX_REFERENCES = 4
PRICE_PER_MEGAPIXEL = 12_000
COLORS = ("red", "lime", "blue", "yellow", "cyan")
SIZE: dict[str, Any] = {"width": 512, "height": 512}
"""The smallest size that fal's apps of FLUX.2 draw."""


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def deployment(request: pytest.FixtureRequest, router_process: RouterFake) -> Iterator[Deployment]:
    """A running service that draws with FLUX.2 through the fake, for all tests here."""
    with deployed(request, request.param) as made:
        use_flux_2(made, router_process)
        made.start()
        yield made


def use_flux_2(deployment: Deployment, router: RouterFake) -> None:
    """Let a service draw with FLUX.2 through the fake."""
    deployment.settings |= {
        "HUGGINGFACE_API_KEY": KEY,
        "HUGGINGFACE_BASE_URL": router.url,
        "MODEL": MODEL,
    }


@pytest.fixture
def client(deployment: Deployment, router: RouterFake, user: str) -> Iterator[AvatarCreator]:
    """A client of the running service, whose fake has no requests yet."""
    with deployment.client(user) as connected:
        yield connected


@pytest.fixture
def project_id(client: AvatarCreator) -> str:
    return client.projects.create("Several").id


@pytest.fixture
def people(client: AvatarCreator, project_id: str) -> list[Avatar]:
    """Avatars whose pictures have the colors of `COLORS`, in this order."""
    return [
        client.avatars.upload(project_id, pictures.png(Image.new("RGB", (64, 64), color)), name=color)
        for color in COLORS
    ]


def ids_of(avatars: list[Avatar]) -> list[str]:
    return [avatar.id for avatar in avatars]


def wait_for_end(client: AvatarCreator, generation: GenerationHandle) -> Generation:
    """Wait for the last state of a generation."""
    *_, last = client.generations.watch(generation.id, timeout=30.0)
    return last


def draw(client: AvatarCreator, project_id: str, references: list[str], **options: Any) -> Generation:
    """Create a generation with these references, and return its last state."""
    return wait_for_end(
        client,
        client.generations.create(project_id, "a woman", reference=references, **SIZE, **options),
    )


def received(router: RouterFake) -> list[list[str]]:
    """Return the colors of the pictures that each submission sent, in order."""
    return [[color_of(uri) for uri in sent["body"]["image_urls"]] for sent in router.submissions()]


def color_of(uri: str) -> str:
    """Return the one of `COLORS` that the picture in a data URI has."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        assert picture.size == (512, 512)
        found = picture.convert("RGB").resize((1, 1)).tobytes()
    nearest = {color: math.dist(ImageColor.getrgb(color), found) for color in COLORS}
    return min(nearest, key=lambda color: nearest[color])


def test_the_model_receives_the_pictures_in_the_order_of_the_request(
    client: AvatarCreator, router: RouterFake, project_id: str, people: list[Avatar]
) -> None:
    chosen = [people[2], people[0], people[3]]
    estimate = client.generations.estimate(project_id, "a woman", reference=ids_of(chosen), **SIZE)
    generation = draw(client, project_id, ids_of(chosen))
    avatar = client.avatars.get(present(generation.avatar_id))
    recipe = client.generations.recipe(generation.id)
    [submission] = router.submissions()

    assert generation.state == COMPLETED
    assert submission["path"] == "/fal-ai/fal-ai/flux-2/edit"
    assert received(router) == [["blue", "red", "yellow"]]
    assert recipe is not None
    for answer in (generation, avatar, recipe):
        assert answer.reference_avatar_id == chosen[0].id
        assert list(answer.reference_avatar_ids) == ids_of(chosen)
    assert list(recipe.reference_sha256s) == [reference.image.sha256 for reference in chosen]
    assert recipe.reference_sha256 == chosen[0].image.sha256
    assert (recipe.route, recipe.model) == ("fal-ai-reference", MODEL)
    assert avatar.source_type == SourceType.FROM_REFERENCE
    # The picture and each of the three references have one megapixel.
    assert estimate.price_micros == generation.price_micros == 4 * PRICE_PER_MEGAPIXEL


def test_the_file_of_the_picture_says_how_many_references_it_has_and_names_none(
    client: AvatarCreator, project_id: str, people: list[Avatar]
) -> None:
    generation = draw(client, project_id, ids_of(people[:2]))
    data = client.avatars.download(present(generation.avatar_id))

    with Image.open(io.BytesIO(data)) as picture:
        assert picture.info["Description"].startswith("Portrait generated from 2 other pictures with")
    assert [person.image.sha256.encode() in data for person in people[:3]] == [True, True, False]
    assert not [person.id for person in people if person.id.encode() in data]


def test_the_single_field_means_a_list_of_one(
    client: AvatarCreator, router: RouterFake, project_id: str, people: list[Avatar]
) -> None:
    single = wait_for_end(
        client,
        client.generations.create(project_id, "a woman", reference=people[1].id, seed=1, **SIZE),
    )
    several = draw(client, project_id, [people[1].id], seed=1)

    assert list(single.reference_avatar_ids) == list(several.reference_avatar_ids) == [people[1].id]
    assert single.reference_avatar_id == several.reference_avatar_id == people[1].id
    assert received(router) == [["lime"], ["lime"]]
    one, other = router.submissions()
    assert one["body"] == other["body"]


def test_a_reproduction_sends_the_same_pictures_in_the_same_order(
    client: AvatarCreator, router: RouterFake, project_id: str, people: list[Avatar]
) -> None:
    first = draw(client, project_id, ids_of([people[1], people[0]]))
    again = wait_for_end(client, client.generations.reproduce(first.id, project=project_id))

    assert present(again.reproduction).identical_pixels
    assert again.reference_avatar_ids == first.reference_avatar_ids
    one, other = router.submissions()
    assert one["body"] == other["body"]

    client.avatars.delete(people[0].id)
    with pytest.raises(NotFoundError) as refusal:
        client.generations.reproduce(first.id, project=project_id)
    assert refusal.value.resource == Resource("avatar", people[0].id)


def test_variations_and_retries_have_the_same_references(
    client: AvatarCreator, router: RouterFake, project_id: str, people: list[Avatar]
) -> None:
    references = ids_of([people[4], people[2]])
    router.behave(Behavior(nsfw=True))
    failed = draw(client, project_id, references)
    assert failed.state == FAILED
    retried = wait_for_end(client, client.generations.retry(failed.id))
    variations = client.generations.create_variations(
        project_id, "a woman", count=2, reference=references, **SIZE
    )
    ended = [retried, *(wait_for_end(client, variation) for variation in variations)]

    assert {generation.state for generation in ended} == {COMPLETED}
    assert {tuple(generation.reference_avatar_ids) for generation in ended} == {tuple(references)}
    assert received(router) == [["cyan", "blue"]] * 4


def test_a_retry_fails_if_one_reference_was_deleted_and_names_it(
    client: AvatarCreator, router: RouterFake, project_id: str, people: list[Avatar]
) -> None:
    router.behave(Behavior(nsfw=True))
    failed = draw(client, project_id, ids_of(people[:3]))
    client.avatars.delete(people[1].id)
    last = wait_for_end(client, client.generations.retry(failed.id))

    assert present(last.error).reason == ErrorReason.REFERENCE_GONE
    assert present(last.error).explanation == (
        f"the reference avatar {people[1].id} has been deleted: choose another reference"
    )
    assert (last.attempt_number, last.price_micros) == (1, 0)
    assert list(last.reference_avatar_ids) == ids_of(people[:3])
    assert router.count == 1


def test_more_references_than_the_route_takes_are_refused_with_the_maximum(
    client: AvatarCreator, project_id: str, people: list[Avatar]
) -> None:
    for call in (client.generations.create, client.generations.estimate):
        with pytest.raises(InvalidArgumentError) as refusal:
            call(project_id, "a woman", reference=ids_of(people), **SIZE)
        assert refusal.value.reason == "OPTION_NOT_SUPPORTED"
        assert refusal.value.metadata == {"provider": "huggingface", "route": "fal-ai-reference"}
        [violation] = refusal.value.field_violations
        assert violation.field == "reference"
        assert violation.description.endswith("takes at most 4 references (got 5): give fewer")
    assert list(client.generations.list()) == []
    assert draw(client, project_id, ids_of(people[:MAX_REFERENCES])).state == COMPLETED


def test_a_worker_whose_model_takes_fewer_references_fails_and_requests_nothing(
    distributed: Deployment, router: RouterFake, user: str
) -> None:
    use_flux_2(distributed, router)
    distributed.start_server()
    distributed.start_worker(MODEL="black-forest-labs/FLUX.1-Kontext-dev")
    with distributed.client(user) as client:
        project = client.projects.create("Mixed")
        faces = [client.avatars.upload(project.id, pictures.png(), name=name) for name in ("One", "Two")]
        prompt = "a woman in two faces"
        last = wait_for_end(
            client, client.generations.create(project.id, prompt, reference=ids_of(faces), **SIZE)
        )

    assert present(last.error).reason == ErrorReason.PROVIDER_REJECTED
    assert present(last.error).explanation.endswith("takes at most 1 reference (got 2): give fewer")
    assert last.attempt_number == 1
    # Others may come from a service that the tests of this file share.
    assert not [sent for sent in router.submissions() if prompt in sent["body"]["prompt"]]


def test_each_reference_must_be_an_avatar_of_the_caller_in_a_project_that_exists(
    client: AvatarCreator, deployment: Deployment, project_id: str, people: list[Avatar]
) -> None:
    own = people[0].id
    deleted_project = client.projects.create("Deleted")
    with_project = client.avatars.upload(deleted_project.id, pictures.png(), name="Gone with it").id
    client.projects.delete(deleted_project.id)
    with deployment.client(f"stranger-{uuid.uuid4().hex}") as other:
        theirs = other.avatars.upload(other.projects.create("Theirs").id, pictures.png(), name="Theirs").id

    for missing in (str(uuid.uuid4()), theirs, with_project):
        for call in (client.generations.create, client.generations.estimate):
            with pytest.raises(NotFoundError) as refusal:
                call(project_id, "a woman", reference=[own, missing], **SIZE)
            assert refusal.value.resource == Resource("avatar", missing)
    assert list(client.generations.list()) == []


def test_a_repeated_request_with_the_references_in_another_order_is_refused(
    client: AvatarCreator, project_id: str, people: list[Avatar]
) -> None:
    request_id, references = str(uuid.uuid4()), ids_of(people[:2])

    def create(chosen: list[str]) -> Generation:
        return client.generations.create(
            project_id, "a woman", reference=chosen, request_id=request_id, **SIZE
        ).generation

    assert create(references).id == create(references).id
    with pytest.raises(AlreadyExistsError) as refusal:
        create(references[::-1])
    assert refusal.value.reason == "REQUEST_ID_REUSED"
