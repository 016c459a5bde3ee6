"""Counters have the numbers of the rows, also after many concurrent writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from avatar_creator import (
    AsyncAvatarCreator,
    AvatarCreator,
    FailedPreconditionError,
    Generation,
    GenerationState,
)
from avatar_creator_tasks.providers.base import ProviderError
from tests import pictures
from tests.support.child_process import ChildProcess
from tests.support.generations import SMALLEST, final_state, make_due
from tests.support.in_process import InProcessService
from tests.support.presence import present
from tests.support.scripted_provider import ScriptedProvider
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

RECORDER = Path(__file__).with_name("record_uses.py")
CLIENT = Path(__file__).parents[2] / "clients" / "python"

APPS = ("pose-generator", "video-generator", "story-teller")
CLIENTS = 8
"""Number of apps' clients that call at the same time."""
USES = {"embedded": 480, "distributed": 1000}
"""Number of uses to record. SQLite runs one write at a time, so a smaller number shows the same."""
USED_AVATARS = 10
ROUNDS = 6
"""Number of times that other resources are created and deleted at the same time."""

PICTURE = pictures.png()


@contextmanager
def recorders(
    deployment: Deployment, user: str, avatar_ids: Sequence[str], uses: int
) -> Iterator[ChildProcess]:
    """Start the process of apps that record uses of these avatars, each with a client of its own."""
    clients = [
        {
            "target": deployment.target,
            "token": deployment.token(user, app_id=APPS[number % len(APPS)]),
            "app_name": f"{APPS[number % len(APPS)]} {number}",
            "avatar_ids": avatar_ids,
            "uses": uses // CLIENTS,
            "seed": number,
        }
        for number in range(CLIENTS)
    ]
    with ChildProcess(
        [sys.executable, RECORDER],
        environment={**os.environ, "PYTHONPATH": str(CLIENT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(clients))
        process.stdin.close()
        process.stdin = None
        yield process


@dataclass
class OtherActions:
    """Actions of the user at the same time: creates, uses and deletes avatars, generations and projects."""

    client: AvatarCreator
    presets: Sequence[str]
    examples: Sequence[str]

    def create_and_delete_avatars(self) -> None:
        project = self.client.projects.create("Passing by").id
        for number in range(ROUNDS):
            avatars = [self.client.avatars.upload(project, PICTURE, name=f"Face {n}").id for n in range(2)]
            for avatar_id in avatars:
                for app_id in APPS[: 1 + number % len(APPS)]:
                    self.client.usage.record(avatar_id, action="try", app_id=app_id)
            self.client.avatars.delete(avatars[0])

    def create_and_delete_generations(self) -> Counter[str]:
        """Return how many generations started from each preset and each persona example."""
        started: Counter[str] = Counter()
        for number in range(ROUNDS):
            project = self.client.projects.create("Drawn").id
            preset = self.presets[number % len(self.presets)]
            example = self.examples[number % len(self.examples)]
            started.update([preset, preset, example])
            drawn = final_state(
                self.client.generations.create(project, preset=preset, width=SMALLEST, height=SMALLEST)
            )
            self.client.usage.record(present(drawn.avatar_id), action="try", app_id=APPS[0])
            # The cancellation comes before the drawing, during it, or too late.
            with suppress(FailedPreconditionError):
                self.client.generations.cancel(self._draw(project, preset=preset, persona_example=example).id)
            with suppress(FailedPreconditionError):
                cancelled = self.client.generations.cancel(self._draw(project, "a calm man").id)
                self.client.generations.retry(cancelled.id)
            if number % 2 == 0:
                self.client.projects.delete(project)
        return started

    def _draw(self, project: str, prompt: str = "", **start: Any) -> Generation:
        return self.client.generations.create(
            project, prompt, **start, width=SMALLEST, height=SMALLEST
        ).generation


def popularity(client: AvatarCreator) -> dict[str, int]:
    """Return how often each preset and each persona example was chosen."""
    presets = {preset.id: preset.usage_count for preset in client.presets.list()}
    return presets | {example.id: example.usage_count for example in client.personas.list()}


def test_no_count_is_lost_or_doubled_by_concurrent_writes(
    deployment: Deployment, client: AvatarCreator, user: str
) -> None:
    project = client.projects.create("Used").id
    used = [
        client.avatars.upload(project, PICTURE, name=f"Sarah {number}").id for number in range(USED_AVATARS)
    ]
    before = popularity(client)
    presets, examples = list(client.presets.list()), list(client.personas.list())
    others = OtherActions(
        client, [preset.id for preset in presets[:3]], [example.id for example in examples[:2]]
    )

    uses = USES["embedded" if deployment.is_embedded else "distributed"]
    with recorders(deployment, user, used, uses) as recording, Threads(2) as threads:
        avatars_done = threads.submit(others.create_and_delete_avatars)
        started = threads.submit(others.create_and_delete_generations)
        recorded = json.loads(recording.communicate(timeout=60)[0])
        avatars_done.result()
        assert started.result().total() == 3 * ROUNDS
    wait_until(lambda: not states_of(client, "PENDING", "PROCESSING"), 20.0)

    assert len(recorded) == uses
    rows = deployment.execute("SELECT id, avatar_id, action FROM avatar_usage_history")
    kept = [[row["id"], row["avatar_id"], row["action"]] for row in rows if row["avatar_id"] in used]
    assert sorted(kept) == sorted(recorded)
    assert uses_of_avatars(deployment) == counted_on_avatars(deployment)
    assert uses_by_app(deployment) == counted_by_app(deployment)
    assert uses_by_action(deployment) == counted_by_action(deployment)
    assert figures_of_the_user(deployment, user) == counted_for_the_user(deployment, user)
    assert uploads_by_day(deployment) == counted_by_day(deployment)
    assert avatars_by_project(deployment) == counted_on_projects(deployment)
    chosen = {chosen_id: number - before[chosen_id] for chosen_id, number in popularity(client).items()}
    assert {chosen_id: number for chosen_id, number in chosen.items() if number} == started.result()
    assert the_service_returns_these_numbers(deployment, client, user)


def test_concurrent_uses_are_listed_newest_first(client: AvatarCreator) -> None:
    avatar = client.avatars.upload(client.projects.create("Used").id, PICTURE, name="Sarah")

    def record(number: int) -> None:
        client.usage.record(avatar.id, action="pose", app_id=APPS[number % len(APPS)])

    with Threads(CLIENTS) as threads:
        threads.map(record, range(200))

    times = [use.create_time for use in client.usage.list(avatar.id, page_size=37)]
    assert len(times) == 200
    assert times == sorted(times, reverse=True)
    assert present(client.avatars.get(avatar.id).last_used_time) == times[0]


Rows = dict[Any, Any]


def by(rows: list[dict[str, Any]], *key: str) -> Rows:
    """Return the other values of the rows, by the values of `key`."""
    return {
        tuple(row[name] for name in key): tuple(row[name] for name in sorted(row) if name not in key)
        for row in rows
    }


def uses_of_avatars(deployment: Deployment) -> Rows:
    return by(
        deployment.execute(
            "SELECT avatars.id, count(h.id) AS usage_count, max(h.create_time) AS last_used_time"
            " FROM avatars LEFT JOIN avatar_usage_history h ON h.avatar_id = avatars.id GROUP BY avatars.id"
        ),
        "id",
    )


def counted_on_avatars(deployment: Deployment) -> Rows:
    return by(deployment.execute("SELECT id, usage_count, last_used_time FROM avatars"), "id")


def uses_by_app(deployment: Deployment) -> Rows:
    """Count the uses by app, with the name of the app in its last use."""
    return by(
        deployment.execute(
            "SELECT avatar_id, app_id, count(*) AS usage_count, min(create_time) AS first_used_time,"
            " max(create_time) AS last_used_time,"
            " (SELECT app_name FROM avatar_usage_history last WHERE last.avatar_id = h.avatar_id"
            "  AND last.app_id = h.app_id ORDER BY create_time DESC LIMIT 1) AS app_name"
            " FROM avatar_usage_history h GROUP BY avatar_id, app_id"
        ),
        "avatar_id",
        "app_id",
    )


def counted_by_app(deployment: Deployment) -> Rows:
    return by(deployment.rows("avatar_app_usage"), "avatar_id", "app_id")


def uses_by_action(deployment: Deployment) -> Rows:
    return by(
        deployment.execute(
            "SELECT avatar_id, app_id, action, count(*) AS usage_count"
            " FROM avatar_usage_history GROUP BY avatar_id, app_id, action"
        ),
        "avatar_id",
        "app_id",
        "action",
    )


def counted_by_action(deployment: Deployment) -> Rows:
    return by(deployment.rows("avatar_app_actions"), "avatar_id", "app_id", "action")


def figures_of_the_user(deployment: Deployment, user: str) -> Rows:
    (row,) = deployment.execute(
        "SELECT (SELECT count(*) FROM avatars WHERE user_id = %s) AS avatar_count,"
        " (SELECT count(*) FROM avatar_usage_history WHERE user_id = %s) AS usage_count",
        user,
        user,
    )
    states = deployment.execute(
        "SELECT state, count(*) AS number FROM avatar_generations WHERE user_id = %s GROUP BY state", user
    )
    none = dict.fromkeys(("pending", "processing", "completed", "failed", "cancelled"), 0)
    numbers = none | {row["state"]: row["number"] for row in states}
    return {**row, **{f"{state}_count": number for state, number in numbers.items()}}


def counted_for_the_user(deployment: Deployment, user: str) -> Rows:
    (row,) = deployment.rows("user_statistics")
    assert row.pop("user_id") == user
    return row


def uploads_by_day(deployment: Deployment) -> Rows:
    uploaded = deployment.execute("SELECT user_id, create_time FROM avatars WHERE source_type = 'uploaded'")
    days = Counter((row["user_id"], row["create_time"].date().isoformat()) for row in uploaded)
    return {day: (number,) for day, number in days.items()}


def counted_by_day(deployment: Deployment) -> Rows:
    return by(deployment.execute("SELECT * FROM daily_uploads WHERE upload_count <> 0"), "user_id", "day")


def avatars_by_project(deployment: Deployment) -> Rows:
    return by(
        deployment.execute(
            "SELECT p.id, count(a.id) AS avatar_count FROM avatar_projects p"
            " LEFT JOIN avatars a ON a.project_id = p.id GROUP BY p.id"
        ),
        "id",
    )


def counted_on_projects(deployment: Deployment) -> Rows:
    return by(deployment.execute("SELECT id, avatar_count FROM avatar_projects"), "id")


def the_service_returns_these_numbers(deployment: Deployment, client: AvatarCreator, user: str) -> bool:
    """Check that statistics, sums and lists have the numbers of the rows."""
    figures = figures_of_the_user(deployment, user)
    stats = client.usage.stats()
    assert (stats.avatar_count, stats.usage_count) == (figures["avatar_count"], figures["usage_count"])
    assert stats.average_usage_per_avatar == figures["usage_count"] / figures["avatar_count"]
    assert stats.recent_upload_count == sum(number for (number,) in uploads_by_day(deployment).values())
    assert {f"{count.state.value}_count": count.generation_count for count in stats.generations}.items() <= (
        figures.items()
    )
    apps, actions = uses_by_app(deployment), uses_by_action(deployment)
    for avatar in client.avatars.list(page_size=100):
        uses = list(client.usage.list(avatar.id, page_size=100))
        assert len(uses) == len({use.id for use in uses}) == avatar.usage_count
        summaries = client.usage.summarize(avatar.id)
        counts = [summary.usage_count for summary in summaries]
        assert counts == sorted(counts, reverse=True)
        assert Counter(use.app_id for use in uses) == {app.app_id: app.usage_count for app in summaries}
        for app in summaries:
            name, first, last, count = apps.pop((avatar.id, app.app_id))
            assert (app.app_name, app.usage_count) == (name, count)
            assert (app.first_used_time, app.last_used_time) == (first, last)
            for action in app.actions:
                assert actions.pop((avatar.id, app.app_id, action.action)) == (action.usage_count,)
    assert (apps, actions) == ({}, {})
    return True


def states_of(client: AvatarCreator, *names: str) -> int:
    """Return how many generations are in one of these states."""
    states = {GenerationState(name) for name in names}
    return sum(count.generation_count for count in client.usage.stats().generations if count.state in states)


# Sequential changes


@dataclass
class Figures:
    """The statistics of a user, as the service returns them."""

    service: InProcessService
    client: AsyncAvatarCreator

    async def are(self, **expected: int) -> None:
        """Check the statistics: the numbers without an expected value must be zero."""
        stats = await self.client.usage.stats()
        actual = {
            "avatars": stats.avatar_count,
            "uploads": stats.recent_upload_count,
            "uses": stats.usage_count,
            **{count.state.value: count.generation_count for count in stats.generations},
        }
        assert {name: number for name, number in actual.items() if number} == expected
        assert stats.average_usage_per_avatar == (
            stats.usage_count / stats.avatar_count if stats.avatar_count else 0
        )

    async def create(self, project_id: str) -> str:
        """Create a generation of a small picture, and return its id."""
        generation = await self.client.generations.create(
            project_id, "a portrait", width=SMALLEST, height=SMALLEST
        )
        return generation.id

    async def reaches(self, generation_id: str, state: str) -> None:
        """Wait until the generation is in this state."""
        async for caught in self.client.generations.watch(generation_id, timeout=20.0):
            if caught.state.value == state:
                return
        raise AssertionError(f"the generation ended without the state {state}")


@pytest.fixture(params=["embedded", "distributed"])
async def figures(request: pytest.FixtureRequest, user: str) -> AsyncIterator[Figures]:
    """Statistics of a user, from a service without a worker: on SQLite, and on PostgreSQL and Redis."""
    deployment = request.getfixturevalue(request.param)
    async with InProcessService.serving(deployment) as service, service.client(user) as client:
        yield Figures(service, client)


async def test_statistics_follow_every_transition(figures: Figures) -> None:
    client, service, provider = figures.client, figures.service, ScriptedProvider()
    busy = ProviderError("PROVIDER_UNAVAILABLE", "busy", retryable=True)
    refused = ProviderError("PROVIDER_REJECTED", "refused", retryable=False)
    await figures.are()
    project = (await client.projects.create("Lifecycle")).id
    await figures.are()

    completed = await figures.create(project)
    await figures.are(pending=1)
    async with service.working(provider):
        drawing = await provider.next_drawing()
        await figures.are(processing=1)
        drawing.fail(busy)
        await figures.reaches(completed, "pending")
        await figures.are(pending=1)
        assert make_due(service.deployment, completed, attempt=1)
        await service.wake_workers()
        drawing = await provider.next_drawing()
        await figures.are(processing=1)
    # The worker has stopped, and has released the generation.
    await figures.are(pending=1)
    async with service.working(provider):
        drawing = await provider.next_drawing()
        await figures.are(processing=1)
        drawing.succeed()
        await figures.reaches(completed, "completed")
        await figures.are(completed=1, avatars=1)

        failed = await figures.create(project)
        (await provider.next_drawing()).fail(refused)
        await figures.reaches(failed, "failed")
        await figures.are(completed=1, avatars=1, failed=1)

        again = await client.generations.retry(failed)
        drawing = await provider.next_drawing()
        await figures.are(completed=1, avatars=1, failed=1, processing=1)
        await client.generations.cancel(again.id)
        await drawing.over.wait()
        await figures.are(completed=1, avatars=1, failed=1, cancelled=1)

    cancelled = await figures.create(project)
    await figures.are(completed=1, avatars=1, failed=1, cancelled=1, pending=1)
    await client.generations.cancel(cancelled)
    await client.generations.cancel(cancelled)
    await figures.are(completed=1, avatars=1, failed=1, cancelled=2)
    await client.generations.retry(cancelled)
    await figures.are(completed=1, avatars=1, failed=1, cancelled=2, pending=1)

    await client.projects.delete(project)
    await figures.are()


async def test_statistics_follow_avatars_and_their_uses(figures: Figures) -> None:
    client = figures.client
    stays, goes = [(await client.projects.create(name)).id for name in ("Stays", "Goes")]
    # Uploads wait for the thumbnails, which the worker makes.
    async with figures.service.working(ScriptedProvider()):
        first, second, third = [
            (await client.avatars.upload(project, PICTURE, name="Sarah")).id
            for project in (stays, stays, goes)
        ]
    await figures.are(avatars=3, uploads=3)

    for avatar_id in (first, first, second, third):
        await client.usage.record(avatar_id, action="pose", app_id="pose-generator")
    await figures.are(avatars=3, uploads=3, uses=4)

    await client.avatars.delete(first)
    await figures.are(avatars=2, uploads=2, uses=2)

    await client.projects.delete(goes)
    await figures.are(avatars=1, uploads=1, uses=1)
    await client.avatars.delete(second)
    await figures.are()
