"""The provider `replicate` in the complete service, with the fake of Replicate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatar_creator import AttemptOutcome, AvatarCreator, ErrorReason
from tests.support.generations import CANCELLED, COMPLETED, FAILED, final_state, make_due
from tests.support.hosted_fake import Behavior
from tests.support.presence import present
from tests.support.replicate_api import ReplicateFake
from tests.support.service import Deployment
from tests.support.shared_services import deployed
from tests.support.waiting import wait_until

TOKEN = "r8_tEsTb6c1F0d2A97ePq5XkLmWzYvUj3RhNgBsDc"

SUCCEEDED = AttemptOutcome.SUCCEEDED


@pytest.fixture(scope="module", params=["embedded", "distributed"])
def deployment(request: pytest.FixtureRequest, replicate_process: ReplicateFake) -> Iterator[Deployment]:
    """A running service that draws through the fake, for all tests here.

    After the tests, no output of the service may contain the token.
    """
    settings = {
        "REPLICATE_API_TOKEN": TOKEN,
        "REPLICATE_BASE_URL": replicate_process.url,
        "MODEL": "black-forest-labs/FLUX.2-klein-4B",
    }
    with deployed(request, request.param, **settings) as running:
        running.start()
        yield running
        for process in (*running.servers, *running.workers):
            assert TOKEN not in process.output()


@pytest.fixture
def client(deployment: Deployment, replicate_api: ReplicateFake, user: str) -> Iterator[AvatarCreator]:
    """A client of the service, whose fake has no predictions yet."""
    with deployment.client(user) as connected:
        yield connected


on_one_stack = pytest.mark.parametrize("deployment", ["embedded"], indirect=True)


def test_a_portrait_and_one_with_a_reference_are_drawn_on_replicate(
    client: AvatarCreator, replicate_api: ReplicateFake
) -> None:
    project = client.projects.create("Replicate")
    first = final_state(client.generations.create(project.id, "a woman", width=512, height=512, seed=7))
    second = final_state(
        client.generations.create(project.id, "the same woman in a park", reference=present(first.avatar_id))
    )
    [attempt] = client.generations.attempts(first.id)
    recipes = [client.generations.recipe(each.id) for each in (first, second)]
    picture = client.avatars.get(present(first.avatar_id))

    assert (first.state, second.state) == (COMPLETED, COMPLETED)
    assert [(recipe.provider, recipe.route) for recipe in recipes if recipe is not None] == [
        ("replicate", "replicate"),
        ("replicate", "replicate-reference"),
    ]
    assert (picture.image.width, picture.image.height) == (512, 512)
    from_text, from_reference = replicate_api.submissions()
    assert (attempt.provider_request_id, attempt.outcome) == (from_text["request_id"], SUCCEEDED)
    assert from_text["body"]["input"]["seed"] == 7
    assert len(from_reference["body"]["input"]["images"]) == 1


@on_one_stack
def test_a_cancelled_generation_is_cancelled_on_replicate(
    client: AvatarCreator, replicate_api: ReplicateFake
) -> None:
    replicate_api.behave(Behavior(hold=True))
    project = client.projects.create("Replicate")
    generation = client.generations.create(project.id, "a woman")
    replicate_api.wait_until_polled()
    assert client.generations.cancel(generation.id).state == CANCELLED
    wait_until(lambda: replicate_api.counters()["cancelled"] == 1, 20.0)

    assert replicate_api.count == 1


@pytest.mark.parametrize("deployment", ["distributed"], indirect=True)
def test_a_prediction_of_a_lost_worker_is_fetched_by_the_next_one(
    deployment: Deployment, client: AvatarCreator, replicate_api: ReplicateFake
) -> None:
    replicate_api.behave(Behavior(hold=True))
    project = client.projects.create("Replicate")
    generation = client.generations.create(project.id, "a woman")
    replicate_api.wait_until_polled()
    deployment.workers[-1].kill()
    deployment.start_worker()
    # As after the end of the lease.
    assert make_due(deployment, generation.id, attempt=1)
    replicate_api.finish()
    *_, last = client.generations.watch(generation.id, timeout=60.0)

    assert last.state == COMPLETED
    assert replicate_api.count == 1


@on_one_stack
def test_a_picture_that_replicate_withholds_fails_the_generation(
    client: AvatarCreator, replicate_api: ReplicateFake
) -> None:
    replicate_api.behave(Behavior(run_seconds=0, nsfw=True))
    project = client.projects.create("Replicate")
    generation = client.generations.create(project.id, "a woman")
    *_, last = client.generations.watch(generation.id, timeout=30.0)

    assert (last.state, present(last.error).reason) == (FAILED, ErrorReason.PROVIDER_NSFW)
    assert replicate_api.count == 1
