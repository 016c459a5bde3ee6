"""The effect of an attack on another user, and on the memory and threads of a server."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from avatar_creator import AvatarCreator, AvatarCreatorError
from tests import pictures
from tests.abuse.attack_process import run_attack
from tests.abuse.attacks import FOUND_WORDS, Target
from tests.abuse.gauge import MIB, Gauge
from tests.abuse.witness import Witness
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.large_project import fill_project
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment
from tests.support.waiting import let_pass, wait_until

GENERATION_SECONDS = 60.0
"""Longest time that another user waits for a picture."""
USUAL_THREADS = 24
"""Threads that start with the first work: of the database, decoders, spool, and gRPC."""
IDLE_THREAD_SECONDS = 20.0
"""Time after which idle threads have ended: the storage keeps its own for 10 s."""
SETTLING_SECONDS = 5.0
"""Time after the attack until the memory is read, so that versions of the service can be compared."""


@dataclass(frozen=True)
class Figures:
    """Figures of one attack, as another user and the operator see them."""

    quiet_p50: float
    p50: float
    p99: float
    """Latencies of the other user's GetAvatar in milliseconds."""
    failed: int
    reads: int
    draws: bool
    """True if a worker draws, and the other user requests a picture."""
    generation_seconds: float | None
    """Time of the other user's picture; None if none was requested or it was not ready in time."""
    before_mib: float
    peak_mib: float
    after_mib: float
    """Memory of the server and its children, proportional for shared pages."""
    threads_before: int
    threads_after: int
    """Threads of the server."""
    outcomes: dict[str, int]
    """Outcomes of the attacker's calls."""


def _fill(deployment: Deployment, target: Target) -> Target:
    """Return a target whose project has 50,000 avatars."""
    fill_project(deployment, target.project_id, 50_000)
    words = " ".join(FOUND_WORDS)
    deployment.execute("UPDATE avatars SET search_text = %s WHERE user_id = %s", words, target.user)
    return target


def _queue(deployment: Deployment, target: Target) -> Target:
    """Clone a pending generation of the attacker for 1,000 users."""
    with AvatarCreator(target.address, token=deployment.token(target.user)) as client:
        for _ in range(50):
            client.generations.create(target.project_id, prompt="a face", width=256, height=256)
    deployment.execute("UPDATE avatar_generations SET due_time = now() + interval '1 hour'")
    columns = [
        row["column_name"]
        for row in deployment.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'avatar_generations'"
        )
    ]
    values = {"id": "'deep-' || n", "user_id": "'deep-' || n % 1000", "due_time": "now()"}
    deployment.execute(
        f"INSERT INTO avatar_generations ({', '.join(columns)})"
        f" SELECT {', '.join(values.get(column, 'g.' + column) for column in columns)}"
        " FROM (SELECT * FROM avatar_generations LIMIT 1) g, generate_series(1, 50000) n"
    )
    deployment.execute("UPDATE avatar_generations SET due_time = now()")
    deployment.execute("ANALYZE avatar_generations")
    return target


def _apps(deployment: Deployment, target: Target) -> Target:
    """Record the use of an avatar by 20,000 apps."""
    deployment.execute(
        "INSERT INTO avatar_app_usage"
        " (avatar_id, app_id, app_name, usage_count, first_used_time, last_used_time)"
        " SELECT %s, 'app-' || n || repeat('x', 40), repeat('n', 60), 1, now(), now()"
        " FROM generate_series(1, 20000) n",
        target.avatar_id,
    )
    return target


def _noise(deployment: Deployment, target: Target) -> Target:
    """Upload 100 pictures whose thumbnails are large."""
    data = pictures.png(Image.effect_noise((600, 600), 90).convert("RGB"))
    with AvatarCreator(target.address, token=deployment.token(target.user)) as client:
        for _ in range(100):
            client.avatars.upload(target.project_id, data, name="Noise", timeout=60)
    return target


def _large_avatar(deployment: Deployment, target: Target) -> Target:
    """Return a target with a picture of almost 10 MiB."""
    data = pictures.png(Image.effect_noise((2000, 1740), 60).convert("RGB"))
    with AvatarCreator(target.address, token=deployment.token(target.user)) as client:
        avatar = client.avatars.upload(target.project_id, data, name="Noise", timeout=60)
    return replace(target, avatar_id=avatar.id)


PREPARATIONS: dict[str, Callable[[Deployment, Target], Target]] = {
    "searches of 66 words over 50,000 avatars": _fill,
    "searches of 8 words over 50,000 avatars": _fill,
    "abandoned searches over 50,000 avatars": _fill,
    "deletion of a project of 50,000 avatars": _fill,
    "reads of generations behind 50,000 pending": _queue,
    "a summary of 20,000 apps": _apps,
    "lists of 100 avatars with thumbnails": _noise,
    "downloads that nothing reads": _large_avatar,
}

LETTERS = "a provider's answer of 120 KB of letters"
"""The attack of a provider, which needs no attacker process."""

WITHOUT_WORKER = {"reads of generations behind 50,000 pending"}
"""Attacks whose queue must stay as it is."""

STEADY_CALLERS = {
    "calls without a token and without a server's name": 3,
    "calls without a token and with metadata above the limit": 3,
}
"""Number of the other user's reads at the same time, where it is not one.

A server that counts malformed calls as waiting ones refuses a user who has a call that runs.
"""


def measure(name: str, postgres: Postgres, redis: Redis, *, seconds: float) -> Figures:
    """Run one attack for some seconds against a new deployment."""
    with tempfile.TemporaryDirectory() as folder, RouterFake() as router:
        deployment = Deployment.distributed(Path(folder), postgres.create_database(), redis.url(1))
        deployment.settings |= {"SPEND_LIMIT_PER_DAY": "0"}
        if name == LETTERS:
            # In one process, so that the worker's event loop is the server's.
            deployment = Deployment.embedded(
                Path(folder), HUGGINGFACE_API_KEY="hf_bench", HUGGINGFACE_BASE_URL=router.url
            )
        else:
            deployment.run_command("migrate")
        try:
            return _measure(name, deployment, router, redis, seconds)
        finally:
            deployment.close()


def _measure(name: str, deployment: Deployment, router: RouterFake, redis: Redis, seconds: float) -> Figures:
    deployment.start_server()
    if not deployment.is_embedded and name not in WITHOUT_WORKER:
        deployment.start_worker()
    with Witness(deployment) as witness, deployment.client("attacker") as attacker:
        theirs = attacker.projects.create("Attack")
        target = Target(
            address=deployment.target,
            secret=deployment.settings["JWT_SECRET"],
            user="attacker",
            project_id=theirs.id,
            avatar_id="",
            redis_url=redis.url(1),
        )
        if name not in PREPARATIONS or PREPARATIONS[name] is not _fill:
            target = replace(
                target, avatar_id=attacker.avatars.upload(theirs.id, pictures.png(), name="Face").id
            )
        if name in PREPARATIONS:
            target = PREPARATIONS[name](deployment, target)
        quiet = witness.quiet_median()
        gauge = Gauge(deployment)
        before, threads_before = gauge.bytes(), gauge.threads()
        picture = _Picture(witness)
        draws = name not in WITHOUT_WORKER
        with gauge.sampling(), witness.reading(STEADY_CALLERS.get(name, 1)) as reads:
            if name == LETTERS:
                outcomes = _provoke(router, attacker, theirs.id, seconds)
                picture.begin()
            else:
                outcomes = run_attack(
                    name, target, seconds, when_begun=picture.begin if draws else lambda: None
                )
            picture_seconds = picture.seconds() if draws else None
        let_pass(SETTLING_SECONDS)
        with suppress(TimeoutError):  # then the figure says so
            wait_until(lambda: gauge.threads() <= threads_before + USUAL_THREADS, IDLE_THREAD_SECONDS)
        return Figures(
            quiet_p50=quiet * 1000,
            p50=reads.median * 1000,
            p99=reads.percentile99 * 1000,
            failed=len(reads.errors),
            reads=len(reads.seconds),
            draws=draws,
            generation_seconds=picture_seconds,
            before_mib=before / MIB,
            peak_mib=gauge.peak_bytes / MIB,
            after_mib=gauge.bytes() / MIB,
            threads_before=threads_before,
            threads_after=gauge.threads(),
            outcomes=outcomes,
        )


class _Picture:
    """A picture that the other user makes during the attack."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._seconds: float | None = None
        self._thread = threading.Thread(target=self._make, daemon=True)

    def begin(self) -> None:
        """Begin to make the picture."""
        self._thread.start()

    def seconds(self) -> float | None:
        """Return the time until the picture was ready, in seconds, or None if it never was."""
        self._thread.join(GENERATION_SECONDS)
        return self._seconds

    def _make(self) -> None:
        started = time.monotonic()
        generations = self._witness.client.generations
        with suppress(AvatarCreatorError):
            generation = generations.create(
                self._witness.project_id, prompt="a face", width=256, height=256, timeout=GENERATION_SECONDS
            )
            *_, last = generations.watch(generation.id)
            if last.avatar_id:
                self._seconds = time.monotonic() - started


def _provoke(router: RouterFake, attacker: AvatarCreator, project_id: str, seconds: float) -> dict[str, int]:
    """Let the provider answer the attacker with letters for some seconds, and everybody well after that."""
    router.behave(always=Behavior(faults=(Fault(stage="submit", status=500, body="a" * 120_000),)))
    attacker.generations.create(project_id, prompt="a face", width=256, height=256)
    let_pass(seconds)
    outcomes = {"answers": router.count}
    router.behave(always=Behavior())
    return outcomes
