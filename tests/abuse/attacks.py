"""Attacks on a running service. Each runs in a process of its own until its time is over.

`python -m tests.abuse.attacks NAME SECONDS` reads a `Target` as JSON from standard input. It prints `BEGUN`
when it begins, and at its end how many calls ended with each outcome. An attack uses only calls that the
contract has had from its first version, so that it also runs against an old version of the service.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import grpc.aio
import jwt
import redis.asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image

from avatar_creator.v1 import (
    avatar_project_service_pb2,
    avatar_project_service_pb2_grpc,
    avatar_service_pb2,
    avatar_service_pb2_grpc,
    generation_pb2,
    generation_service_pb2,
    generation_service_pb2_grpc,
    usage_service_pb2,
    usage_service_pb2_grpc,
)
from avatar_creator.v1.avatar_project_pb2 import AvatarProject
from tests import pictures
from tests.abuse.gauge import MIB
from tests.support import http2

BEGUN = "begun\n"
CHUNK_BYTES = 256 * 1024
_CALL_SECONDS = 20.0
_PAUSE_SECONDS = 0.01
"""Pause after a refusal. An attacker who is refused at once would only use up its own processor."""


@dataclass(frozen=True)
class Target:
    """The service under attack, and what the attacker owns there."""

    address: str
    secret: str
    """The secret of the tokens. An attacker signs in as many users as the attack needs."""
    user: str
    project_id: str
    avatar_id: str
    redis_url: str = ""

    def to_json(self) -> str:
        """Return the target as JSON."""
        return json.dumps(asdict(self))


class Attacker:
    """Connections, tokens and the outcomes of one attack."""

    def __init__(self, target: Target, seconds: float) -> None:
        self.target = target
        self.outcomes: Counter[str] = Counter()
        self._ends_at = time.monotonic() + seconds
        self._channels: list[grpc.aio.Channel] = []
        self._tokens: dict[str, str] = {}

    def is_over(self) -> bool:
        """Return whether the attack has lasted long enough."""
        return time.monotonic() >= self._ends_at

    def seconds_left(self) -> float:
        """Return the time until the end of the attack."""
        return max(0.0, self._ends_at - time.monotonic())

    async def until_over(self) -> None:
        """Wait for the end of the attack."""
        await asyncio.sleep(self.seconds_left())

    def channel(self) -> grpc.aio.Channel:
        """Return a connection of its own."""
        channel = grpc.aio.insecure_channel(
            self.target.address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", 64 * MIB),
                ("grpc.enable_http_proxy", 0),
            ],
        )
        self._channels.append(channel)
        return channel

    def metadata(self, user: str = "") -> tuple[tuple[str, str], ...]:
        """Return the metadata with a token of the attacker, or of this user."""
        user = user or self.target.user
        if user not in self._tokens:
            now = int(time.time())
            claims = {"sub": user, "iat": now, "exp": now + 3600}
            self._tokens[user] = jwt.encode(claims, self.target.secret, algorithm="HS256")
        return (("authorization", f"Bearer {self._tokens[user]}"),)

    async def count(self, call: Awaitable[Any]) -> None:
        """Await a call and count its outcome."""
        try:
            await call
            self.outcomes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            self.outcomes[error.code().name] += 1
            if error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
                await asyncio.sleep(_PAUSE_SECONDS)

    async def repeat(self, callers: int, call: Callable[[int], Awaitable[Any]]) -> None:
        """Let many callers call again and again until the attack is over. Each receives its number."""

        async def caller(number: int) -> None:
            while not self.is_over():
                await self.count(call(number))

        await asyncio.gather(*(caller(number) for number in range(callers)))

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels:
            await channel.close(grace=None)


FLOODING_USERS = {"reads at three times the capacity": 400}
"""Number of users of an attack who all wait for a turn. Turns are fair, so another user waits as long as each
of them: until all have had one."""

Attack = Callable[[Attacker], Awaitable[None]]
ATTACKS: dict[str, Attack] = {}


def _attack(name: str) -> Callable[[Attack], Attack]:
    def register(attack: Attack) -> Attack:
        ATTACKS[name] = attack
        return attack

    return register


# Reads that cost much.


def _avatars(channel: grpc.aio.Channel) -> Any:
    return avatar_service_pb2_grpc.AvatarServiceStub(channel)


FOUND_WORDS = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(65)]
"""Words that occur in each of the attacker's avatars, so that a search compares all of them."""
_ABSENT_WORD = "zz"


async def _search(attacker: Attacker, words: int) -> None:
    stub = _avatars(attacker.channel())
    query = " ".join([*FOUND_WORDS[: words - 1], _ABSENT_WORD])

    async def search(_: int) -> None:
        request = avatar_service_pb2.ListAvatarsRequest(query=query)
        await stub.ListAvatars(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(12, search)


@_attack("searches of 66 words over 50,000 avatars")
async def many_words(attacker: Attacker) -> None:
    """Search with as many words as the query has room for."""
    await _search(attacker, 66)


@_attack("searches of 8 words over 50,000 avatars")
async def eight_words(attacker: Attacker) -> None:
    """Search with as many words as the contract allows."""
    await _search(attacker, 8)


@_attack("abandoned searches over 50,000 avatars")
async def abandoned_searches(attacker: Attacker) -> None:
    """Give up each search after 100 ms."""
    stub = _avatars(attacker.channel())

    async def search(_: int) -> None:
        query = " ".join([*FOUND_WORDS[:7], _ABSENT_WORD])
        request = avatar_service_pb2.ListAvatarsRequest(query=query)
        await stub.ListAvatars(request, metadata=attacker.metadata(), timeout=0.1)

    await attacker.repeat(12, search)


@_attack("lists of 100 avatars with thumbnails")
async def large_pages(attacker: Attacker) -> None:
    """Read the largest pages."""
    stub = _avatars(attacker.channel())

    async def read(_: int) -> None:
        request = avatar_service_pb2.ListAvatarsRequest(page_size=100, include_thumbnails=True)
        await stub.ListAvatars(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(32, read)


@_attack("a summary of 20,000 apps")
async def summaries(attacker: Attacker) -> None:
    """Summarize the usage of many apps."""
    stub = usage_service_pb2_grpc.UsageServiceStub(attacker.channel())

    async def summarize(_: int) -> None:
        request = usage_service_pb2.SummarizeUsageRequest()
        await stub.SummarizeUsage(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(16, summarize)


@_attack("reads at three times the capacity")
async def flood_of_reads(attacker: Attacker) -> None:
    """Read an avatar from many connections of many users."""
    stubs = [_avatars(attacker.channel()) for _ in range(16)]

    async def read(number: int) -> None:
        request = avatar_service_pb2.GetAvatarRequest(avatar_id=attacker.target.avatar_id)
        metadata = attacker.metadata(f"flood-{number}")
        await stubs[number % 16].GetAvatar(request, metadata=metadata, timeout=1)

    await attacker.repeat(FLOODING_USERS["reads at three times the capacity"], read)


@_attack("reads of one user from 400 callers")
async def reads_of_one_user(attacker: Attacker) -> None:
    """Read an avatar from many connections of one user."""
    stubs = [_avatars(attacker.channel()) for _ in range(16)]

    async def read(number: int) -> None:
        request = avatar_service_pb2.GetAvatarRequest(avatar_id=attacker.target.avatar_id)
        await stubs[number % 16].GetAvatar(request, metadata=attacker.metadata(), timeout=5)

    await attacker.repeat(400, read)


@_attack("reads of two users from 300 callers each")
async def reads_of_two_users(attacker: Attacker) -> None:
    """Keep every place of a waiting read taken."""
    stubs = [_avatars(attacker.channel()) for _ in range(16)]

    async def read(number: int) -> None:
        request = avatar_service_pb2.ListAvatarsRequest(page_size=100)
        metadata = attacker.metadata(f"pair-{number % 2}")
        await stubs[number % 16].ListAvatars(request, metadata=metadata, timeout=_CALL_SECONDS)

    await attacker.repeat(600, read)


# Writes.


@_attack("400 generations a second")
async def flood_of_generations(attacker: Attacker) -> None:
    """Create generations for many users, each in a project of its own, and give up after two seconds."""
    channels = [attacker.channel() for _ in range(8)]
    users = [f"flood-{number}" for number in range(100)]
    projects: dict[str, str] = {}

    async def create_project(number: int, user: str) -> None:
        stub = avatar_project_service_pb2_grpc.AvatarProjectServiceStub(channels[number % 8])
        request = avatar_project_service_pb2.CreateProjectRequest(name="Flood")
        answer = await stub.CreateProject(request, metadata=attacker.metadata(user), timeout=_CALL_SECONDS)
        projects[user] = answer.project.id

    for start in range(0, len(users), 10):
        await asyncio.gather(*(create_project(n, user) for n, user in enumerate(users[start : start + 10])))

    async def create(number: int) -> None:
        user = users[number % len(users)]
        stub = generation_service_pb2_grpc.GenerationServiceStub(channels[number % 8])
        request = generation_service_pb2.CreateGenerationRequest(
            project_id=projects[user],
            prompt="a face",
            options=generation_pb2.GenerationOptions(width=256, height=256),
        )
        await stub.CreateGeneration(request, metadata=attacker.metadata(user), timeout=2)

    started: list[asyncio.Task[None]] = []
    began_at = time.monotonic()
    while not attacker.is_over():
        due = int((time.monotonic() - began_at) * 400)
        started += [asyncio.create_task(attacker.count(create(n))) for n in range(len(started), due)]
        await asyncio.sleep(0.01)
    await asyncio.gather(*started)


@_attack("interactive generations of one user")
async def interactive_flood(attacker: Attacker) -> None:
    """Create interactive generations without an end."""
    stub = generation_service_pb2_grpc.GenerationServiceStub(attacker.channel())

    async def create(_: int) -> None:
        request = generation_service_pb2.CreateGenerationRequest(
            project_id=attacker.target.project_id,
            prompt="a face",
            options=generation_pb2.GenerationOptions(width=1024, height=1024),
            priority=generation_pb2.GENERATION_PRIORITY_INTERACTIVE,
        )
        await stub.CreateGeneration(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)
        await asyncio.sleep(0.05)

    await attacker.repeat(4, create)


@_attack("updates of one project from 64 callers")
async def contended_row(attacker: Attacker) -> None:
    """Change one row from many callers at the same time."""
    stub = avatar_project_service_pb2_grpc.AvatarProjectServiceStub(attacker.channel())

    async def update(number: int) -> None:
        project = AvatarProject(id=attacker.target.project_id, name=f"Name {number}")
        request = avatar_project_service_pb2.UpdateProjectRequest(project=project)
        request.update_mask.paths.append("name")
        await stub.UpdateProject(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(64, update)


@_attack("uses of one avatar from 64 callers")
async def usage_flood(attacker: Attacker) -> None:
    """Record uses of one avatar from many callers at the same time."""
    stub = usage_service_pb2_grpc.UsageServiceStub(attacker.channel())

    async def record(number: int) -> None:
        request = usage_service_pb2.RecordUsageRequest(
            avatar_id=attacker.target.avatar_id, app_id=f"app-{number}", action="flood"
        )
        await stub.RecordUsage(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(64, record)


@_attack("the same request_id from 64 callers")
async def same_request(attacker: Attacker) -> None:
    """Send one logical call many times at once."""
    stub = avatar_project_service_pb2_grpc.AvatarProjectServiceStub(attacker.channel())

    async def create(_: int) -> None:
        request = avatar_project_service_pb2.CreateProjectRequest(
            name="Same", request_id=f"same-{int(time.monotonic())}"
        )
        await stub.CreateProject(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(64, create)


@_attack("deletion of a project of 50,000 avatars")
async def delete_project(attacker: Attacker) -> None:
    """Delete the attacker's large project once."""
    stub = avatar_project_service_pb2_grpc.AvatarProjectServiceStub(attacker.channel())
    request = avatar_project_service_pb2.DeleteProjectRequest(project_id=attacker.target.project_id)
    await attacker.count(stub.DeleteProject(request, metadata=attacker.metadata(), timeout=60))
    await attacker.until_over()


# Pictures.


async def _upload(
    attacker: Attacker, channel: grpc.aio.Channel, chunks: AsyncIterator[bytes], seconds: float
) -> None:
    async def messages() -> AsyncIterator[avatar_service_pb2.UploadAvatarRequest]:
        metadata = avatar_service_pb2.UploadAvatarMetadata(project_id=attacker.target.project_id, name="Face")
        yield avatar_service_pb2.UploadAvatarRequest(metadata=metadata)
        async for chunk in chunks:
            yield avatar_service_pb2.UploadAvatarRequest(chunk=chunk)

    await _avatars(channel).UploadAvatar(messages(), metadata=attacker.metadata(), timeout=seconds)


async def _uploads_of(attacker: Attacker, callers: int, data: bytes) -> None:
    channels = [attacker.channel() for _ in range(callers)]

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]

    await attacker.repeat(
        callers, lambda number: _upload(attacker, channels[number], chunks(), _CALL_SECONDS)
    )


@_attack("60 uploads of 10 MiB")
async def large_uploads(attacker: Attacker) -> None:
    """Send large pictures at the same time."""
    await _uploads_of(attacker, 60, pictures.padded_jpeg(10 * MIB - 1))


@_attack("200 uploads that stand still")
async def stalled_uploads(attacker: Attacker) -> None:
    """Send most of a picture and then nothing."""
    data = pictures.padded_jpeg(9 * MIB)
    channels = [attacker.channel() for _ in range(200)]

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, 8 * MIB, CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]
        await attacker.until_over()

    await attacker.repeat(200, lambda number: _upload(attacker, channels[number], chunks(), 60))


@_attack("empty chunks without an end")
async def empty_chunks(attacker: Attacker) -> None:
    """Send chunks without bytes."""
    channels = [attacker.channel() for _ in range(8)]

    async def chunks() -> AsyncIterator[bytes]:
        while not attacker.is_over():
            yield b""

    await attacker.repeat(8, lambda number: _upload(attacker, channels[number], chunks(), 60))


@_attack("46-byte WebP pictures of 7071x7071")
async def tiny_bombs(attacker: Attacker) -> None:
    """Send pictures that are small as files and large as pixels."""
    await _uploads_of(attacker, 16, pictures.webp(Image.new("RGB", (7071, 7071), "red"), lossless=True))


@_attack("200 KB PNG pictures of 50 megapixels")
async def png_bombs(attacker: Attacker) -> None:
    """Send PNG pictures of one color."""
    await _uploads_of(attacker, 16, pictures.png(Image.new("RGB", (7071, 7071), "red")))


@_attack("JPEG pictures with 97 scans")
async def many_scans(attacker: Attacker) -> None:
    """Send pictures that take long to decode."""
    await _uploads_of(attacker, 16, pictures.many_scans_jpeg(97, Image.new("RGB", (3000, 3000), "red")))


@_attack("20 KB PNG pictures with a color profile of a million tags")
async def large_profiles(attacker: Attacker) -> None:
    """Send pictures whose color profile expands to 16 MiB."""
    await _uploads_of(attacker, 16, pictures.png(icc_profile=pictures.large_icc_profile()))


@_attack("downloads that nothing reads")
async def unread_downloads(attacker: Attacker) -> None:
    """Begin downloads and read one message of each."""
    stubs = [_avatars(attacker.channel()) for _ in range(32)]

    async def begin(number: int) -> None:
        request = avatar_service_pb2.DownloadImageRequest(avatar_id=attacker.target.avatar_id)
        call = stubs[number % 32].DownloadImage(request, metadata=attacker.metadata(), timeout=60)
        await call.read()
        await attacker.until_over()
        call.cancel()

    await attacker.repeat(400, begin)


# The queue and its watches.


@_attack("reads of generations behind 50,000 pending")
async def deep_queue(attacker: Attacker) -> None:
    """Read one's own pending generations, whose answers have their places."""
    stub = generation_service_pb2_grpc.GenerationServiceStub(attacker.channel())

    async def read(_: int) -> None:
        request = generation_service_pb2.ListGenerationsRequest(page_size=100)
        await stub.ListGenerations(request, metadata=attacker.metadata(), timeout=_CALL_SECONDS)

    await attacker.repeat(8, read)


@_attack("watches opened and closed again")
async def watch_churn(attacker: Attacker) -> None:
    """Open watches and close them after their first message."""
    stubs = [generation_service_pb2_grpc.GenerationServiceStub(attacker.channel()) for _ in range(8)]

    async def watch(number: int) -> None:
        request = generation_service_pb2.WatchGenerationsRequest(project_id=attacker.target.project_id)
        call = stubs[number % 8].WatchGenerations(request, metadata=attacker.metadata(), timeout=5)
        await call.read()
        call.cancel()

    await attacker.repeat(128, watch)


@_attack("5,000 watches of one user")
async def many_watches(attacker: Attacker) -> None:
    """Hold many watches open."""
    stubs = [generation_service_pb2_grpc.GenerationServiceStub(attacker.channel()) for _ in range(50)]

    async def watch(number: int) -> None:
        request = generation_service_pb2.WatchGenerationsRequest(project_id=attacker.target.project_id)
        call = stubs[number % 50].WatchGenerations(request, metadata=attacker.metadata(), timeout=120)
        async for _ in call:
            if attacker.is_over():
                return

    async def hold(number: int) -> None:
        watching = asyncio.create_task(attacker.count(watch(number)))
        await asyncio.wait([watching], timeout=attacker.seconds_left())
        if watching.cancel():
            attacker.outcomes["open"] += 1

    await asyncio.gather(*(hold(number) for number in range(5_000)))


@_attack("forged events")
async def forged_events(attacker: Attacker) -> None:
    """Publish events on Redis that no worker wrote."""
    connection = redis.asyncio.from_url(attacker.target.redis_url)
    try:
        while not attacker.is_over():
            channels = [name for name in await connection.pubsub_channels() if b"avatar" in name]
            for name in channels:
                for _ in range(200):
                    await connection.publish(name, secrets.token_bytes(64))
                    attacker.outcomes["published"] += 1
            await asyncio.sleep(0.01)
    finally:
        await connection.aclose()


# Without a token.


@_attack("10,000 health watches without a token")
async def health_watches(attacker: Attacker) -> None:
    """Hold many health watches open."""
    stubs = [health_pb2_grpc.HealthStub(attacker.channel()) for _ in range(100)]

    async def hold(number: int) -> None:
        call = stubs[number % 100].Watch(health_pb2.HealthCheckRequest(), timeout=120)
        try:
            await call.read()
            attacker.outcomes["open"] += 1
        except grpc.aio.AioRpcError as error:
            attacker.outcomes[error.code().name] += 1
        await attacker.until_over()
        call.cancel()

    await asyncio.gather(*(hold(number) for number in range(10_000)))


@_attack("health checks without a token")
async def health_checks(attacker: Attacker) -> None:
    """Check the health again and again."""
    stubs = [health_pb2_grpc.HealthStub(attacker.channel()) for _ in range(8)]

    async def check(number: int) -> None:
        await stubs[number % 8].Check(health_pb2.HealthCheckRequest(), timeout=5)

    await attacker.repeat(64, check)


@_attack("calls with a wrong token")
async def wrong_tokens(attacker: Attacker) -> None:
    """Call with tokens that someone else signed."""
    stubs = [_avatars(attacker.channel()) for _ in range(8)]
    claims = {"sub": "sarah", "exp": int(time.time()) + 3600}
    metadata = (("authorization", "Bearer " + jwt.encode(claims, "x" * 64, algorithm="HS256")),)

    async def read(number: int) -> None:
        request = avatar_service_pb2.GetAvatarRequest(avatar_id=attacker.target.avatar_id)
        await stubs[number % 8].GetAvatar(request, metadata=metadata, timeout=5)

    await attacker.repeat(64, read)


@_attack("reflection streams without a token")
async def reflection_streams(attacker: Attacker) -> None:
    """Ask for all descriptors again and again."""
    stubs = [reflection_pb2_grpc.ServerReflectionStub(attacker.channel()) for _ in range(8)]
    names = [each.full_name for each in generation_service_pb2.DESCRIPTOR.services_by_name.values()] + [
        "google.protobuf.Timestamp"
    ]

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        for _ in range(100):
            for name in names:
                yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)

    async def ask(number: int) -> None:
        call = stubs[number % 8].ServerReflectionInfo(requests(), timeout=10)
        async for _ in call:
            pass

    await attacker.repeat(32, ask)


@_attack("2,000 connections that send nothing")
async def silent_connections(attacker: Attacker) -> None:
    """Open TCP connections and send nothing."""
    host, _, port = attacker.target.address.rpartition(":")
    sockets = []
    for _ in range(2_000):
        try:
            sockets.append(socket.create_connection((host, int(port)), timeout=5))
            attacker.outcomes["open"] += 1
        except OSError:
            attacker.outcomes["refused"] += 1
    await attacker.until_over()
    for each in sockets:
        each.close()


@_attack("streams that are reset at once")
async def rapid_resets(attacker: Attacker) -> None:
    """Start calls and cancel them at once."""
    stubs = [_avatars(attacker.channel()) for _ in range(8)]

    async def start(number: int) -> None:
        request = avatar_service_pb2.GetAvatarRequest(avatar_id=attacker.target.avatar_id)
        call = stubs[number % 8].GetAvatar(request, metadata=attacker.metadata(), timeout=5)
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.sleep(0.0005)

    await attacker.repeat(64, start)


@_attack("requests of 4 MiB that are refused")
async def large_requests(attacker: Attacker) -> None:
    """Send requests that are too large for their field."""
    stubs = [avatar_project_service_pb2_grpc.AvatarProjectServiceStub(attacker.channel()) for _ in range(8)]
    request = avatar_project_service_pb2.CreateProjectRequest(name="x" * (4 * MIB - 100))

    async def create(number: int) -> None:
        await stubs[number % 8].CreateProject(request, metadata=attacker.metadata(), timeout=10)

    await attacker.repeat(32, create)


@_attack("metadata of 60 KiB")
async def large_metadata(attacker: Attacker) -> None:
    """Send calls with much metadata."""
    stubs = [_avatars(attacker.channel()) for _ in range(8)]
    metadata = (*attacker.metadata(), *((f"x-filler-{n}", "y" * 7_000) for n in range(8)))

    async def read(number: int) -> None:
        request = avatar_service_pb2.GetAvatarRequest(avatar_id=attacker.target.avatar_id)
        await stubs[number % 8].GetAvatar(request, metadata=metadata, timeout=10)

    await attacker.repeat(32, read)


# Calls that no gRPC library makes.


GET_AVATAR = "/avatar_creator.v1.AvatarService/GetAvatar"


class _Http2:
    """A connection of HTTP/2 frames that opens calls and counts how the server ends them."""

    def __init__(self, attacker: Attacker) -> None:
        self._attacker = attacker
        self._next_id = 1
        self._open: set[int] = set()

    async def keep_open(self, calls: int, open_call: Callable[[int], bytes]) -> None:
        """Keep so many calls open until the attack is over, on a new connection after each that ends.

        Args:
            calls: Number of calls on the connection at the same time.
            open_call: Receives the number of a stream, and returns the frames of a call.
        """
        while not self._attacker.is_over():
            self._open.clear()
            self._next_id = 1
            try:
                await asyncio.wait_for(self._use_connection(calls, open_call), self._attacker.seconds_left())
            except TimeoutError:
                self._attacker.outcomes["open"] += len(self._open)
            except (OSError, EOFError):
                self._attacker.outcomes["connection ended"] += 1
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _use_connection(self, calls: int, open_call: Callable[[int], bytes]) -> None:
        host, _, port = self._attacker.target.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(http2.PREFACE + http2.frame(http2.SETTINGS, 0, b""))
            while True:
                while len(self._open) < calls:
                    writer.write(open_call(self._next_id))
                    self._open.add(self._next_id)
                    self._next_id += 2
                await writer.drain()
                kind, flags, stream_id, payload = await self._frame(reader)
                if kind in (http2.SETTINGS, http2.PING) and not flags & http2.ACK:
                    writer.write(http2.frame(kind, http2.ACK, payload if kind == http2.PING else b""))
                elif kind == http2.GOAWAY:
                    raise EOFError
                elif kind == http2.RST_STREAM or (kind == http2.HEADERS and flags & http2.END_STREAM):
                    self._open.discard(stream_id)
                    self._attacker.outcomes["ended by the server"] += 1
                    await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            writer.close()

    @staticmethod
    async def _frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
        header = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(header[:3]))
        return header[3], header[4], int.from_bytes(header[5:9]), payload


@_attack("calls of two users whose requests never come")
async def calls_without_requests(attacker: Attacker) -> None:
    """Open reads of two users, and send the headers only."""

    async def hold(number: int) -> None:
        ((name, value),) = attacker.metadata(f"silent-{number % 2}")
        await _Http2(attacker).keep_open(
            100, lambda stream_id: http2.call_headers(stream_id, GET_AVATAR, {name: value})
        )

    await asyncio.gather(*(hold(number) for number in range(20)))


async def _malformed(attacker: Attacker, metadata: dict[str, str], authority: str) -> None:
    def open_call(stream_id: int) -> bytes:
        data = http2.frame(http2.DATA, http2.END_STREAM, bytes(5), stream_id)
        return http2.call_headers(stream_id, GET_AVATAR, metadata, authority=authority) + data

    await asyncio.gather(*(_Http2(attacker).keep_open(50, open_call) for _ in range(4)))


@_attack("calls without a token and without a server's name")
async def no_authority(attacker: Attacker) -> None:
    """Call without the name of the server, which each call should have."""
    await _malformed(attacker, {}, "")


@_attack("calls without a token and with metadata above the limit")
async def too_much_metadata(attacker: Attacker) -> None:
    """Call with more metadata than gRPC accepts, so that the service never sees the call."""
    await _malformed(attacker, {f"x-filler-{number}": "y" * 7_000 for number in range(12)}, "localhost")


async def _main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    attacker = Attacker(Target(**json.load(sys.stdin)), seconds)
    print(BEGUN, end="", flush=True)
    try:
        await ATTACKS[name](attacker)
    finally:
        await attacker.close()
    print(json.dumps(attacker.outcomes))
    sys.stdout.flush()
    os._exit(0)  # thousands of open calls would take long to tidy up


if __name__ == "__main__":
    asyncio.run(_main())
