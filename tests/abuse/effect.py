"""The effect of an attack on another user, and on the memory and threads of a server."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import psutil
from PIL import Image

from avatar_creator import AvatarCreator, AvatarCreatorError
from avatar_creator.v1 import avatar_service_pb2, avatar_service_pb2_grpc
from tests import pictures
from tests.abuse.attacks import FOUND_WORDS, Target
from tests.support.huggingface_router import Behavior, Fault, RouterFake
from tests.support.large_project import fill_project
from tests.support.postgres import Postgres
from tests.support.redis import Redis
from tests.support.service import Deployment
from tests.support.waiting import wait_until

MIB = 1024 * 1024
QUIET_SECONDS = 3.0
READ_SECONDS = 20.0
"""Deadline of another user's read. A read that fails counts as this."""
GENERATION_SECONDS = 60.0
"""Longest time that another user waits for a picture."""
SETTLING_SECONDS = 5.0
"""Time after the attack until memory is read again."""


@dataclass(frozen=True)
class Figures:
    """Figures of one attack, as another user and the operator see them."""

    quiet_p50: float
    p50: float
    p99: float
    """Latencies of the other user's GetAvatar in milliseconds."""
    failed: int
    reads: int
    generation_seconds: float | None
    """Time of the other user's picture; None if it was not ready in time."""
    before_mib: float
    peak_mib: float
    after_mib: float
    """Memory of the server and its children, proportional for shared pages."""
    threads_before: int
    threads_after: int
    """Threads of the server."""
    outcomes: dict[str, int]
    """Outcomes of the attacker's calls."""


class Witness:
    """Another user, who reads an avatar again and again."""

    def __init__(self, target: str, token: str, avatar_id: str) -> None:
        # A connection of its own, even if the program has others to the same address.
        self._channel = grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)])
        self._stub = avatar_service_pb2_grpc.AvatarServiceStub(self._channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._avatar_id = avatar_id

    @contextmanager
    def reading(self) -> Iterator[tuple[list[float], list[str]]]:
        """Read on a thread while the context is open; yield the latencies in ms and the errors."""
        latencies: list[float] = []
        errors: list[str] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.wait(0.02):
                started = time.perf_counter()
                try:
                    request = avatar_service_pb2.GetAvatarRequest(avatar_id=self._avatar_id)
                    self._stub.GetAvatar(request, metadata=self._metadata, timeout=READ_SECONDS)
                    latencies.append((time.perf_counter() - started) * 1000)
                except grpc.RpcError as error:
                    errors.append(str(error.code()))
                    latencies.append(READ_SECONDS * 1000)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield latencies, errors
        finally:
            stop.set()
            thread.join()


class Gauge:
    """The memory of processes and their children."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self.peak = 0.0

    def threads(self) -> int:
        """Return the number of threads of the processes themselves."""
        return sum(psutil.Process(pid).num_threads() for pid in self._pids)

    def mib(self) -> float:
        """Return the memory in MiB."""
        total = 0
        for pid in self._pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                for each in (process, *process.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        total += each.memory_full_info().pss
        return total / MIB

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Record the peak while the context is open."""
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(0.2):
                self.peak = max(self.peak, self.mib())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


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
    if not deployment.is_embedded and name not in ("reads of generations behind 50,000 pending",):
        deployment.start_worker()
    with deployment.client("witness") as client, deployment.client("attacker") as attacker:
        project = client.projects.create("Quiet")
        avatar = client.avatars.upload(project.id, pictures.png(), name="Face")
        wait_until(lambda: not client.avatars.get(avatar.id).thumbnail_pending, 30.0)
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
        witness = Witness(deployment.target, deployment.token("witness"), avatar.id)
        gauge = Gauge([server.pid for server in deployment.servers])
        with witness.reading() as (quiet, _):
            time.sleep(QUIET_SECONDS)
        before, threads_before = gauge.mib(), gauge.threads()
        with gauge.sampling(), witness.reading() as (latencies, errors):
            waiting = _Picture(client, project.id) if deployment.workers else None
            outcomes = (
                _provoke(router, attacker, theirs.id, seconds)
                if name == LETTERS
                else _attack(name, target, seconds)
            )
            picture_seconds = waiting.seconds() if waiting else None
        time.sleep(SETTLING_SECONDS)
        return Figures(
            quiet_p50=statistics.median(quiet),
            p50=statistics.median(latencies),
            p99=sorted(latencies)[int(len(latencies) * 0.99)],
            failed=len(errors),
            reads=len(latencies),
            generation_seconds=picture_seconds,
            before_mib=before,
            peak_mib=gauge.peak,
            after_mib=gauge.mib(),
            threads_before=threads_before,
            threads_after=gauge.threads(),
            outcomes=outcomes,
        )


class _Picture:
    """A picture that the other user makes during the attack."""

    def __init__(self, client: AvatarCreator, project_id: str) -> None:
        self._seconds: float | None = None
        self._thread = threading.Thread(target=self._make, args=(client, project_id), daemon=True)
        self._thread.start()

    def seconds(self) -> float | None:
        """Return the time until the picture was ready, in seconds, or None if it never was."""
        self._thread.join(GENERATION_SECONDS)
        return self._seconds

    def _make(self, client: AvatarCreator, project_id: str) -> None:
        time.sleep(2.0)  # the attack has begun
        started = time.monotonic()
        with suppress(AvatarCreatorError):
            generation = client.generations.create(
                project_id, prompt="a face", width=256, height=256, timeout=GENERATION_SECONDS
            )
            for _ in client.generations.watch(generation.id):
                pass
            self._seconds = time.monotonic() - started


def _attack(name: str, target: Target, seconds: float) -> dict[str, int]:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.abuse.attacks", name, str(seconds)],
        input=target.to_json(),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 180,
    )
    if finished.returncode:
        print(finished.stderr[-2000:], file=sys.stderr)
    outcomes: dict[str, int] = json.loads(finished.stdout or "{}")
    return outcomes


def _provoke(router: RouterFake, attacker: AvatarCreator, project_id: str, seconds: float) -> dict[str, int]:
    router.behave(always=Behavior(faults=(Fault(stage="submit", status=500, body="a" * 120_000),)))
    attacker.generations.create(project_id, prompt="a face", width=256, height=256)
    time.sleep(seconds)
    return {}
