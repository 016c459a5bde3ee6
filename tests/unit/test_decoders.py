"""Decoders survive every picture: a child that fails or dies harms only its own picture."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Thread

import psutil
import pytest
from PIL import Image, ImageChops

from avatar_creator_server.errors import AvatarCreatorError, InvalidArgumentError, UnavailableError
from avatar_creator_server.images.decoding.cost import Task, cost_of
from avatar_creator_server.images.decoding.decoders import (
    Decoders,
    DecodingFailedError,
    _bytes_needed,
    _Child,
    _MemoryBudget,
)
from avatar_creator_server.images.decoding.framing import BrokenMessageError, unpack
from avatar_creator_server.images.metadata import StrippedPicture, content_type_of, strip_metadata
from avatar_creator_server.images.processing import accept_upload, decode, make_thumbnail
from tests import pictures
from tests.support.waiting import wait_until

MIB = 1024 * 1024
MEMORY_MIB = 256
LARGE_MEMORY_MIB = 1024
USER = "sarah"
LINEAR = pictures.png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))
"""The chunk of a PNG with linear light."""


@pytest.fixture
async def decoders() -> AsyncIterator[Decoders]:
    """Decoders with one child."""
    running = Decoders(at_once=1, memory_mib=MEMORY_MIB, cpu_seconds=10)
    yield running
    await running.close()


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "decoding.child" in " ".join(child.cmdline())]


@pytest.fixture(autouse=True)
def _children_of_others() -> None:
    """Remember the children of decoders that other tests share."""
    _OTHERS[:] = _children()


_OTHERS: list[psutil.Process] = []


def children() -> list[psutil.Process]:
    """Return the decoding children that this test has started."""
    return [child for child in _children() if child not in _OTHERS]


def flat(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return a picture of one color."""
    return Image.new(mode, (width, height))


async def refusal(decoders: Decoders, data: bytes) -> InvalidArgumentError:
    """Return the error of a picture that must be refused."""
    with pytest.raises(InvalidArgumentError) as refused:
        await decoders.accept(USER, data, "")
    return refused.value


async def test_children_return_what_the_functions_return(decoders: Decoders) -> None:
    data = pictures.jpeg_with_metadata(orientation=6)

    picture = await decoders.accept(USER, data, "image/jpeg")

    assert picture == accept_upload(data, "image/jpeg")
    assert await decoders.thumbnail(USER, picture.data) == make_thumbnail(picture.data)
    image = await decoders.reference(USER, picture.data, 1024, 1024)
    assert ImageChops.difference(image, decode(picture.data)).getbbox() is None


async def test_a_refusal_keeps_its_reason_and_its_fields(decoders: Decoders) -> None:
    error = await refusal(decoders, pictures.encoded("GIF"))

    assert error.reason == "IMAGE_UNSUPPORTED"
    assert [violation.field for violation in error.violations] == ["chunk"]


async def test_a_large_reference_comes_back_smaller(decoders: Decoders) -> None:
    data = pictures.png(flat(4000, 2000))

    image = await decoders.reference(USER, data, 256, 256)

    assert image.size == (1334, 667)


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (lambda: pictures.webp(flat(4200, 4200), lossless=True), "memory"),
        (lambda: pictures.png_with_metadata(flat(5600, 5600, "RGBA"), orientation=6), "memory"),
        (lambda: pictures.png_with_metadata(flat(4700, 4700), orientation=6), "memory"),
        (lambda: pictures.many_scans_jpeg(97, flat(3000, 3000)), "scans"),
    ],
    ids=["WebP", "RGBA", "RGB", "scans"],
)
async def test_a_picture_that_costs_too_much_is_refused_before_it_is_decoded(
    decoders: Decoders, data: Callable[[], bytes], limit: str
) -> None:
    error = await refusal(decoders, data())

    assert (error.reason, error.metadata) == ("IMAGE_TOO_EXPENSIVE", {"limit": limit})
    (child,) = children()
    assert child.memory_info().rss < 100 * 1024 * 1024
    assert (await decoders.accept(USER, pictures.png(), "")).width
    assert children() == [child], "a refusal must not cost a new child"


@pytest.mark.parametrize(
    "picture",
    [
        lambda: pictures.jpeg(flat(6000, 4000)),
        lambda: pictures.jpeg(flat(6000, 4000), progressive=True, subsampling="4:4:4"),
        lambda: pictures.jpeg(flat(4000, 3000, "CMYK"), progressive=True),
        lambda: pictures.jpeg_with_metadata(pictures.jpeg(flat(5000, 4000)), orientation=6),
        lambda: pictures.jpeg(flat(4000, 3000), progressive=True, icc_profile=pictures.swapped_profile()),
        lambda: pictures.png(flat(5000, 4000), icc_profile=pictures.swapped_profile()),
        lambda: pictures.png_with_metadata(flat(5000, 4000), orientation=6),
        lambda: pictures.png_with_metadata(flat(4000, 3000, "RGBA"), orientation=6),
        lambda: pictures.with_png_chunks(pictures.png(flat(4000, 3000, "L")), LINEAR),
        lambda: pictures.with_png_chunks(pictures.png(flat(4000, 3000, "P")), LINEAR),
        lambda: pictures.with_png_chunks(pictures.png(flat(4000, 3000)), LINEAR),
        lambda: pictures.png(flat(5000, 4000)),
        lambda: pictures.png(flat(4000, 3000, "RGBA")),
        lambda: pictures.png(flat(5000, 4000, "I;16")),
        lambda: png_of_16_bits(4000, 3000),
        lambda: pictures.with_png_chunks(png_of_16_bits(4000, 3000), LINEAR),
        lambda: pictures.png(flat(5000, 4000, "P")),
        lambda: pictures.webp(flat(3500, 3000), lossless=True),
        lambda: pictures.webp(flat(3000, 3000)),
    ],
    ids=[
        "JPEG",
        "4:4:4",
        "CMYK",
        "turned JPEG",
        "JPEG with a profile",
        "PNG with a profile",
        "turned PNG",
        "turned PNG with alpha",
        "gray of another gamma",
        "palette of another gamma",
        "RGB of another gamma",
        "RGB",
        "RGBA",
        "16 bit",
        "RGBA of 16 bits",
        "RGBA of 16 bits and another gamma",
        "palette",
        "lossless WebP",
        "WebP",
    ],
)
async def test_a_picture_within_the_estimate_passes_all_steps_within_the_limit(
    picture: Callable[[], bytes], large_decoders: Decoders
) -> None:
    data = picture()
    kind = content_type_of(data)
    assert kind is not None
    stripped = strip_metadata(data, kind)

    limit_memory(large_decoders, "accept", stripped, len(data))
    accepted = await large_decoders.accept(USER, data, "")
    stored = replace(stripped, data=accepted.data, orientation=1)
    size = len(accepted.data)
    limit_memory(large_decoders, "thumbnail", stored, size)
    await large_decoders.thumbnail(USER, accepted.data)
    limit_memory(large_decoders, "reference", stored, size)
    await large_decoders.reference(USER, accepted.data, 4096, 4096)


def png_of_16_bits(width: int, height: int) -> bytes:
    """Return a transparent RGBA picture of 16 bits, which Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + 8 * width)), 1)
    chunks = (
        pictures.png_chunk(b"IHDR", header),
        pictures.png_chunk(b"IDAT", rows),
        pictures.png_chunk(b"IEND"),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture(scope="module")
def shared_decoders() -> Iterator[Decoders]:
    """Decoders whose child decodes the large pictures of all tests, as the child of a service does."""
    running = Decoders(at_once=1, memory_mib=LARGE_MEMORY_MIB, cpu_seconds=10)
    yield running
    asyncio.run(running.close())


@pytest.fixture
async def large_decoders(shared_decoders: Decoders) -> AsyncIterator[Decoders]:
    """Decoders with one child, which must survive the test."""
    await shared_decoders.accept(USER, pictures.png(), "")
    [before] = shared_decoders._idle
    yield shared_decoders
    assert shared_decoders._idle == [before]


def limit_memory(decoders: Decoders, task: Task, picture: StrippedPicture, size: int) -> None:
    """Give the child exactly the memory that decoders of the estimated memory would give it."""
    needed = cost_of(picture, size, task).memory_bytes // MIB + 1
    if sys.platform == "linux":  # elsewhere, children have no limit
        pid = decoders._idle[0]._process.pid
        _, most = resource.prlimit(pid, resource.RLIMIT_AS)
        resource.prlimit(pid, resource.RLIMIT_AS, (most - (LARGE_MEMORY_MIB - needed) * MIB, most))


async def test_memory_beyond_the_limit_is_refused(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_memory", _MemoryBudget(1 << 40))  # as if the estimate were wrong

    error = await refusal(decoders, pictures.jpeg_with_metadata(pictures.jpeg(flat(7000, 7000)), 6))

    assert (error.reason, error.metadata) == ("IMAGE_TOO_EXPENSIVE", {"limit": "memory"})
    assert (await decoders.accept(USER, pictures.png(), "")).width


async def test_cpu_time_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = Decoders(at_once=1, memory_mib=1024, cpu_seconds=0)
    monkeypatch.setattr(decoders, "_wall_seconds", 60.0)
    try:
        error = await refusal(decoders, pictures.png_with_metadata(flat(7000, 7000, "RGBA"), orientation=6))

        assert (error.reason, error.metadata) == ("IMAGE_TOO_EXPENSIVE", {"limit": "seconds"})
        assert (await decoders.accept(USER, pictures.png(), "")).width
    finally:
        await decoders.close()


async def test_bytes_that_no_decoder_reads_are_an_error_for_the_log(decoders: Decoders) -> None:
    with pytest.raises(DecodingFailedError):
        await decoders.thumbnail(USER, b"no picture")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=["killed", "crashed"])
async def test_an_idle_child_that_died_is_replaced(decoders: Decoders, number: signal.Signals) -> None:
    await decoders.accept(USER, pictures.png(), "")
    (child,) = children()
    os.kill(child.pid, number)
    await asyncio.to_thread(wait_until, lambda: child.status() == psutil.STATUS_ZOMBIE)

    assert (await decoders.accept(USER, pictures.png(), "")).width
    assert len(children()) == 1


async def test_a_picture_whose_child_was_killed_gets_one_more_child(decoders: Decoders) -> None:
    await decoders.accept(USER, pictures.png(), "")
    (child,) = children()
    child.suspend()
    decoding = asyncio.create_task(decoders.accept(USER, pictures.png(), ""))
    await asyncio.to_thread(wait_until, lambda: bool(decoders._running))

    child.kill()

    assert (await decoding).width


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [
        (signal.SIGSEGV, InvalidArgumentError, "IMAGE_CORRUPT"),
        (signal.SIGKILL, UnavailableError, "OVERLOADED"),
    ],
    ids=["crashed", "killed from outside"],
)
async def test_a_picture_whose_children_die_twice_is_refused(
    number: signal.Signals, error: type[AvatarCreatorError], reason: str
) -> None:
    decoders = Decoders(at_once=1, memory_mib=1024, cpu_seconds=30)
    data = pictures.png_with_metadata(flat(7000, 7000), orientation=6)
    try:
        decoding = asyncio.create_task(decoders.accept(USER, data, ""))
        for _ in range(2):
            await asyncio.to_thread(_end_busy_child, number)

        with pytest.raises(error) as refused:
            await decoding

        assert refused.value.reason == reason
        assert (await decoders.accept(USER, pictures.png(), "")).width
    finally:
        await decoders.close()


def _end_busy_child(number: signal.Signals) -> None:
    child = wait_until(
        lambda: next((each for each in children() if each.memory_info().rss > 150 * MIB), None)
    )
    child.send_signal(number)
    wait_until(lambda: not _is_running(child.pid))


async def test_a_child_that_stands_still_is_killed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = Decoders(at_once=1, memory_mib=MEMORY_MIB, cpu_seconds=1)
    try:
        await decoders.accept(USER, pictures.png(), "")
        (child,) = children()
        child.suspend()
        monkeypatch.setattr(decoders, "_wall_seconds", 0.2)

        with pytest.raises(UnavailableError) as refused:
            await decoders.accept(USER, pictures.png(), "")

        assert refused.value.reason == "OVERLOADED"
        assert children() == []
    finally:
        await decoders.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_children_ignore_the_signals_of_the_group(decoders: Decoders, number: signal.Signals) -> None:
    await decoders.accept(USER, pictures.png(), "")
    (child,) = children()

    os.kill(child.pid, number)

    assert (await decoders.accept(USER, pictures.png(), "")).width
    assert children() == [child]


async def test_a_caller_who_left_while_waiting_is_not_decoded(decoders: Decoders) -> None:
    await decoders.accept(USER, pictures.png(), "")
    (child,) = children()
    child.suspend()
    first = asyncio.create_task(decoders.accept(USER, pictures.png(), ""))
    second = asyncio.create_task(decoders.accept(USER, pictures.png(), ""))
    await asyncio.to_thread(wait_until, lambda: bool(decoders._running))
    uses = next(iter(decoders._running)).uses

    second.cancel()
    child.resume()

    assert (await first).width
    with pytest.raises(asyncio.CancelledError):
        await second
    assert decoders._idle[0].uses == uses


async def test_a_child_knows_no_secret(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "a secret")
    await decoders.accept(USER, pictures.png(), "")

    (child,) = children()

    assert "JWT_SECRET" not in child.environ()


async def test_the_end_of_the_decoders_ends_a_running_picture_at_once() -> None:
    decoders = Decoders(at_once=1, memory_mib=MEMORY_MIB, cpu_seconds=10)
    await decoders.accept(USER, pictures.png(), "")
    (child,) = children()
    child.suspend()
    decoding = asyncio.create_task(decoders.accept(USER, pictures.png(), ""))
    await asyncio.to_thread(wait_until, lambda: bool(decoders._running))

    async with asyncio.timeout(5):
        await decoders.close()

    with pytest.raises(UnavailableError):
        await decoding
    assert children() == []


_LEAVES_A_BUSY_CHILD = """
import asyncio, os, signal, sys
from avatar_creator_server.images.decoding.decoders import Decoders

async def main():
    decoders = Decoders(at_once=1, memory_mib=256, cpu_seconds=60)
    await decoders.accept("sarah", sys.stdin.buffer.read(), "")
    print(decoders._idle[0]._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_a_killed_service_leaves_no_child() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", _LEAVES_A_BUSY_CHILD],
        input=pictures.png(),
        stdout=subprocess.PIPE,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    wait_until(lambda: not _is_running(int(finished.stdout)))


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_large_picture_gets_its_memory_before_later_small_ones() -> None:
    budget = _MemoryBudget(10)
    order: list[int] = []

    def decode(amount: int) -> None:
        with budget.reserved(amount):
            order.append(amount)

    threads = [Thread(target=decode, args=(amount,)) for amount in (10, 2, 3)]
    with budget.reserved(5):
        for number, thread in enumerate(threads, start=1):
            thread.start()
            wait_until(lambda waiting=number: len(budget._waiting) == waiting)  # type: ignore[misc]
    for thread in threads:
        thread.join()

    assert order[0] == 10


@pytest.mark.parametrize("needs", [-1, "1", None, 1.5])
def test_a_child_may_not_ask_for_a_strange_amount_of_memory(needs: object) -> None:
    with pytest.raises(DecodingFailedError):
        _bytes_needed({"needs": needs})


@pytest.mark.parametrize("header", [b"[1]", b"1", b"[" * 60_000], ids=["list", "number", "deep"])
def test_a_header_that_is_no_object_is_no_message(header: bytes) -> None:
    message = BytesIO(struct.pack(">II", len(header), 0) + header)
    with pytest.raises(BrokenMessageError):
        unpack(message.read)


async def test_a_stored_picture_has_its_cost_although_no_upload_may_have_it(decoders: Decoders) -> None:
    large = pictures.png(flat(8000, 8000, "L"))
    with pytest.raises(InvalidArgumentError) as refused:
        await decoders.thumbnail(USER, large)
    assert refused.value.metadata == {"limit": "memory"}


@pytest.mark.parametrize(
    "answer",
    [{}, {"refused": {}}, {"refused": None}, {"width": 2, "height": 1}, {"width": "1", "height": 1}],
    ids=["empty", "no reason", "no refusal", "too few pixels", "no number"],
)
async def test_a_strange_answer_of_a_child_is_an_error_for_the_log(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]
) -> None:
    monkeypatch.setattr(_Child, "receive", lambda _child: (answer, b"abc"))
    with pytest.raises(DecodingFailedError):
        await decoders.reference(USER, b"a picture", 1, 1)
