"""The provider `replicate` in the complete service, with the fake of Replicate."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from avatar_creator import AttemptOutcome, ErrorReason
from tests.support.generations import CANCELLED, COMPLETED, FAILED, final_state
from tests.support.hosted_fake import Behavior
from tests.support.presence import present
from tests.support.replicate_api import ReplicateFake
from tests.support.service import Deployment
from tests.support.waiting import wait_until

TOKEN = "r8_tEsTb6c1F0d2A97ePq5XkLmWzYvUj3RhNgBsDc"

SUCCEEDED = AttemptOutcome.SUCCEEDED

Hosted = Callable[..., Deployment]


@pytest.fixture
def hosted(embedded: Deployment, distributed: Deployment, replicate_api: ReplicateFake) -> Iterator[Hosted]:
    """Return a function that creates a service that draws through the fake.

    After the test, no output of the service may contain the token.
    """
    deployments: list[Deployment] = []

    def make(mode: str, **settings: str) -> Deployment:
        deployment = embedded if mode == "embedded" else distributed
        deployment.settings |= {
            "REPLICATE_API_TOKEN": TOKEN,
            "REPLICATE_BASE_URL": replicate_api.url,
            "MODEL": "black-forest-labs/FLUX.2-klein-4B",
            **settings,
        }
        deployments.append(deployment)
        return deployment

    yield make
    for deployment in deployments:
        for process in (*deployment.servers, *deployment.workers):
            assert TOKEN not in process.output()


@pytest.mark.parametrize("mode", ["embedded", "distributed"])
def test_a_portrait_and_one_with_a_reference_are_drawn_on_replicate(
    hosted: Hosted, replicate_api: ReplicateFake, mode: str, user: str
) -> None:
    deployment = hosted(mode)
    deployment.start()
    with deployment.client(user) as client:
        project = client.projects.create("Replicate")
        first = final_state(client.generations.create(project.id, "a woman", width=512, height=512, seed=7))
        second = final_state(
            client.generations.create(
                project.id, "the same woman in a park", reference=present(first.avatar_id)
            )
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


def test_a_cancelled_generation_is_cancelled_on_replicate(
    hosted: Hosted, replicate_api: ReplicateFake, user: str
) -> None:
    replicate_api.behave(Behavior(hold=True))
    deployment = hosted("embedded")
    deployment.start()
    with deployment.client(user) as client:
        project = client.projects.create("Replicate")
        generation = client.generations.create(project.id, "a woman")
        replicate_api.wait_until_polled()
        assert client.generations.cancel(generation.id).state == CANCELLED
        wait_until(lambda: replicate_api.counters()["cancelled"] == 1, 20.0)

    assert replicate_api.count == 1


def test_a_prediction_of_a_lost_worker_is_fetched_by_the_next_one(
    hosted: Hosted, replicate_api: ReplicateFake, user: str
) -> None:
    replicate_api.behave(Behavior(hold=True))
    deployment = hosted("distributed")
    deployment.start()
    with deployment.client(user) as client:
        project = client.projects.create("Replicate")
        generation = client.generations.create(project.id, "a woman")
        replicate_api.wait_until_polled()
        deployment.workers[0].kill()
        deployment.start_worker()
        replicate_api.finish()
        *_, last = client.generations.watch(generation.id, timeout=60.0)

    assert last.state == COMPLETED
    assert replicate_api.count == 1


def test_a_picture_that_replicate_withholds_fails_the_generation(
    hosted: Hosted, replicate_api: ReplicateFake, user: str
) -> None:
    replicate_api.behave(Behavior(run_seconds=0, nsfw=True))
    deployment = hosted("embedded")
    deployment.start()
    with deployment.client(user) as client:
        project = client.projects.create("Replicate")
        generation = client.generations.create(project.id, "a woman")
        *_, last = client.generations.watch(generation.id, timeout=30.0)

    assert (last.state, present(last.error).reason) == (FAILED, ErrorReason.PROVIDER_NSFW)
    assert replicate_api.count == 1
