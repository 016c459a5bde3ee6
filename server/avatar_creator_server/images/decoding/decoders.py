"""The decoders of a process: child processes that decode pictures, their limits, and turns between users."""

from __future__ import annotations

import asyncio
import fcntl
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

import structlog

from avatar_creator_server.errors import FieldViolation, InvalidArgumentError, overloaded_error
from avatar_creator_server.images.decoding.cost import MIB, too_expensive
from avatar_creator_server.images.decoding.framing import BrokenMessageError, pack, unpack
from avatar_creator_server.images.metadata.stripped import corrupt_error
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.shared.turns import Turns

if TYPE_CHECKING:
    from PIL import Image

log = structlog.get_logger()

TURN_WAIT_SECONDS = 30.0
"""Maximum time that a picture waits for a decoder."""

_WALL_FACTOR = 4
"""Wall time that a picture may take, as a multiple of its CPU time: the machine may be busy."""
_PICTURES_PER_CHILD = 1000
_END_SECONDS = 2.0
_PIECE_BYTES = 1024 * 1024
_PIPE_BYTES = 512 * 1024

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})

_SMALLER = "send a smaller picture, or save it as a baseline JPEG"


class DecodingFailedError(Exception):
    """The bytes are not a picture that this service stored. The message is for the log."""


class Decoders:
    """Decodes pictures in child processes, a few at a time.

    A child that dies fails only its own picture. The next picture gets a new child. Children start when the
    first picture needs them, and end with this process.
    """

    def __init__(
        self, *, at_once: int, memory_mib: int, cpu_seconds: int, log_level: str = "warning"
    ) -> None:
        """Create the decoders of a process.

        Args:
            at_once: Number of children.
            memory_mib: Maximum memory of all children for pixels, in MiB. A picture may use all of it.
            cpu_seconds: Maximum CPU time for one picture.
            log_level: Minimum level of the events that a child logs.
        """
        self._turns = Turns("pictures", at_once=at_once, wait_seconds=TURN_WAIT_SECONDS)
        self._memory = _MemoryBudget(memory_mib * MIB)
        self._wall_seconds = float(cpu_seconds * _WALL_FACTOR)
        self._command = (
            sys.executable,
            "-P",  # the working folder of the service has no modules
            "-m",
            "avatar_creator_server.images.decoding.child",
            str(memory_mib),
            str(cpu_seconds),
            log_level,
        )
        self._at_once = at_once
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[_Child] = []
        self._running: set[_Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def accept(self, user_id: str, data: bytes, declared_type: str) -> Picture:
        """Check an uploaded file and return the picture to store; see `examine_upload` and `decode_upload`.

        Raises:
            InvalidArgumentError: The file is not an acceptable picture, or it costs too much
                (IMAGE_TOO_EXPENSIVE).
            UnavailableError: No decoder is free, or the machine is too busy.
        """
        return _picture(await self._run(user_id, {"task": "accept", "declared_type": declared_type}, data))

    async def thumbnail(self, user_id: str, data: bytes) -> Picture:
        """Make the thumbnail of a stored picture; see `make_thumbnail`.

        Raises:
            DecodingFailedError: The bytes are not a stored picture.
            InvalidArgumentError: The picture costs too much.
            UnavailableError: No decoder is free, or the machine is too busy.
        """
        return _picture(await self._run(user_id, {"task": "thumbnail"}, data))

    async def reference(self, user_id: str, data: bytes, width: int, height: int) -> Image.Image:
        """Return the pixels of a stored picture as RGB in sRGB; see `decode`.

        A much larger picture is made smaller, but not smaller than this width and height.

        Raises what `thumbnail` raises.
        """
        task = {"task": "reference", "width": width, "height": height}
        return _pixels(await self._run(user_id, task, data))

    async def close(self) -> None:
        """End all children."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for child in self._running:
                # Its thread notices the end. If the pipes closed here, the thread could wait in vain.
                child.signal_end()
        for child in idle:
            child.kill()
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _run(self, user_id: str, task: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        # A caller who leaves while waiting gives up the place. Later, the thread goes on and keeps the turn.
        await self._turns.begin(user_id)
        try:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="decoder")
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._decode, task, data)
        except BaseException:
            self._turns.end(user_id)
            raise

        def ended(future: asyncio.Future[Any]) -> None:
            self._turns.end(user_id)
            if not future.cancelled():
                future.exception()  # the caller may be gone

        running.add_done_callback(ended)
        return await asyncio.shield(running)

    def _decode(self, task: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Decode in a child. If the child dies for another reason than its CPU time, decode once more."""
        try:
            return self._try(task, data)
        except _ChildDiedError as died:
            self._judge(died, task, data, is_last=False)
        try:
            return self._try(task, data)
        except _ChildDiedError as died:
            self._judge(died, task, data, is_last=True)
            raise

    @staticmethod
    def _judge(died: _ChildDiedError, task: dict[str, Any], data: bytes, *, is_last: bool) -> None:
        """Log the death of a child, and raise its error if there is no further try."""
        log.warning("decoder_died", task=task["task"], size_bytes=len(data), ended_with=died.return_code)
        if died.return_code == -signal.SIGXCPU:
            raise too_expensive("seconds", f"the picture takes too long to decode; {_SMALLER}") from died
        if not is_last:
            return
        if -died.return_code in _CRASHES:
            raise corrupt_error("it cannot be decoded") from died
        # Killed from outside, for example because the machine has no memory left, or it could not start.
        raise overloaded_error("this machine cannot decode the picture right now") from died

    def _try(self, task: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        child = self._take_child()
        is_reusable, is_affordable, needed = False, True, 0
        try:
            child.send(task, data)
            answer, content = child.receive()
            if "needs" in answer:
                needed = _bytes_needed(answer)
                is_affordable = needed <= self._memory.total
                with self._memory.reserved(needed if is_affordable else 0):
                    child.restart_clock()
                    child.send({"go": is_affordable})
                    answer, content = child.receive()
            is_reusable = child.uses < _PICTURES_PER_CHILD
            if not is_affordable:
                raise too_expensive(
                    "memory",
                    f"the picture needs {needed // MIB:,} MiB of memory to decode, and the maximum is "
                    f"{self._memory.total // MIB:,} MiB; send a picture with fewer pixels",
                )
        except TimeoutError as error:
            log.warning("decoder_timed_out", task=task["task"], size_bytes=len(data))
            raise overloaded_error("this machine is too busy to decode the picture") from error
        finally:
            self._put_back(child, is_reusable)
        return _checked(answer), content

    def _take_child(self) -> _Child:
        with self._lock:
            child = self._idle.pop() if self._idle else None
            while child is not None and not child.is_alive():
                child.kill()
                child = self._idle.pop() if self._idle else None
            if self._closed:
                raise overloaded_error("the server is shutting down")
            if child is None:
                try:
                    child = _Child(self._command)
                except OSError as error:
                    log.warning("decoder_not_started", error=repr(error))
                    raise overloaded_error("this machine cannot decode the picture right now") from error
            self._running.add(child)
        child.begin(self._wall_seconds)
        return child

    def _put_back(self, child: _Child, is_reusable: bool) -> None:
        with self._lock:
            self._running.discard(child)
            if is_reusable and not self._closed:
                self._idle.append(child)
                return
        child.kill()


class _ChildDiedError(Exception):
    """A child ended in the middle of its work."""

    def __init__(self, return_code: int) -> None:
        super().__init__(f"the child ended with {return_code}")
        self.return_code = return_code
        """Exit code; the negative number of the signal if a signal ended the child."""


class _Child:
    """One child process. Only one thread uses it at a time."""

    def __init__(self, command: tuple[str, ...]) -> None:
        # Popen and not asyncio's: it starts with vfork and exec, so gRPC's fork handlers do not run.
        # Not the service's environment, which has secrets. One thread a library: a limit of memory needs few.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=0,  # Ctrl-C signals the group of the terminal, and the service needs its children
            env={
                **{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        for pipe in (self._input, self._output):
            os.set_blocking(pipe.fileno(), False)
            _widen(pipe.fileno())
        self._selector = selectors.DefaultSelector()
        self._wall_seconds = 0.0
        self._deadline = 0.0
        self.uses = 0

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, wall_seconds: float) -> None:
        self.uses += 1
        self._wall_seconds = wall_seconds
        self.restart_clock()

    def restart_clock(self) -> None:
        self._deadline = time.monotonic() + self._wall_seconds

    def send(self, header: dict[str, Any], content: bytes = b"") -> None:
        """Send a message.

        Raises:
            TimeoutError: The child did not read it in time.
            _ChildDiedError: The child is dead.
        """
        for part in pack(header, content):
            rest = memoryview(part)
            while rest:
                self._wait(self._input.fileno(), selectors.EVENT_WRITE)
                try:
                    written = os.write(self._input.fileno(), rest[:_PIECE_BYTES])
                except BrokenPipeError:
                    raise self._died() from None
                rest = rest[written:]

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Wait for a message.

        Raises:
            TimeoutError: The child did not answer in time.
            _ChildDiedError: The child is dead.
        """
        try:
            return unpack(self._read)
        except BrokenMessageError as error:
            raise self._died() from error

    def signal_end(self) -> None:
        """End the process, and leave the rest to the thread that uses it."""
        self._process.kill()

    def kill(self) -> None:
        """End the process at once, and close its pipes."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._input, self._output):
            pipe.close()

    def _read(self, length: int) -> bytes:
        data, missing = BytesIO(), length
        while missing:
            self._wait(self._output.fileno(), selectors.EVENT_READ)
            piece = os.read(self._output.fileno(), min(missing, _PIECE_BYTES))
            if not piece:
                break
            missing -= data.write(piece)
        return data.getvalue()

    def _wait(self, descriptor: int, event: int) -> None:
        self._selector.register(descriptor, event)
        try:
            if not self._selector.select(max(0.0, self._deadline - time.monotonic())):
                raise TimeoutError
        finally:
            self._selector.unregister(descriptor)

    def _died(self) -> _ChildDiedError:
        try:
            return _ChildDiedError(self._process.wait(_END_SECONDS))
        except subprocess.TimeoutExpired:
            return _ChildDiedError(0)


def _widen(pipe: int) -> None:
    """Let a pipe hold more than the kernel's 64 KiB, so that both sides take turns less often."""
    if sys.platform == "linux":
        with suppress(OSError):  # this user's pipes have reached their limit, 64 MiB by default
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONHOME", "LD_LIBRARY_PATH")


class _MemoryBudget:
    """Memory that the children share. A picture waits in its decoder until enough is free.

    Pictures get their memory in the order in which they came, or small ones would keep a large one waiting.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserved(self, amount: int) -> Iterator[None]:
        place = object()
        with self._changed:
            self._waiting.append(place)
            # Not bounded: every holder ends within its own limit of time.
            self._changed.wait_for(lambda: self._waiting[0] is place and self._free >= amount)
            self._waiting.popleft()
            self._free -= amount
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


def _bytes_needed(answer: dict[str, Any]) -> int:
    """Return the memory that a child asks for. A picture may have taken it over, so it is not trusted."""
    needed = answer["needs"]
    if not isinstance(needed, int) or needed < 0:
        raise DecodingFailedError(f"a child that needs {needed!r}"[:100])
    return needed


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without an error, or raise its error."""
    if "refused" in answer:
        refused = answer["refused"]
        with _distrust():
            refusal = InvalidArgumentError(
                refused["reason"],
                refused["message"],
                metadata=refused["metadata"],
                violations=[FieldViolation(**violation) for violation in refused["violations"]],
            )
        raise refusal
    match answer.get("failed"):
        case None:
            return answer
        case "memory":
            raise too_expensive("memory", f"the picture needs too much memory to decode; {_SMALLER}")
    raise DecodingFailedError(str(answer.get("error")))


def _picture(answered: tuple[dict[str, Any], bytes]) -> Picture:
    answer, data = answered
    with _distrust():
        return Picture(data, answer["content_type"], answer["width"], answer["height"], answer["sha256"])


def _pixels(answered: tuple[dict[str, Any], bytes]) -> Image.Image:
    from PIL import Image  # A server needs no pixels.

    answer, pixels = answered
    with _distrust():
        width, height = answer["width"], answer["height"]
        if width * height * 3 != len(pixels):  # before Pillow takes memory for that size
            raise ValueError(f"{len(pixels)} bytes for {width}x{height} pixels")
        return Image.frombytes("RGB", (width, height), pixels)


@contextmanager
def _distrust() -> Iterator[None]:
    """Turn the errors of an answer with missing or strange parts into one for the log."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise DecodingFailedError(f"a child answered strangely: {error!r}"[:200]) from error
