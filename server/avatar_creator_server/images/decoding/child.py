"""The decoding child: reads pictures from its standard input and answers on its standard output.

It ends when its input closes. It knows no database, network, token or setting. Its arguments are the memory
for pixels in MiB, the CPU time for one picture in seconds, and the log level.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from avatar_creator_server.errors import InvalidArgumentError
from avatar_creator_server.images import processing as images
from avatar_creator_server.images.decoding.cost import (
    MIB,
    Cost,
    Task,
    cost_of,
    draft_scale,
    require_few_scans,
)
from avatar_creator_server.images.decoding.framing import BrokenMessageError, pack, unpack
from avatar_creator_server.images.metadata import StrippedPicture, content_type_of, strip_metadata
from avatar_creator_server.images.picture import Picture
from avatar_creator_server.logs import configure_logging
from avatar_creator_server.redaction import Redactor
from avatar_creator_server.shared.memory import return_free_memory

MAX_REFERENCE_PIXELS = 16_000_000
"""Maximum number of pixels of a decoded reference: 48 MB."""

_SLACK_BYTES = 48 * MIB
"""Address space in addition to the limit: stacks, code that is loaded late, and Python's own objects."""
_PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def main() -> None:
    """Serve pictures until standard input closes."""
    memory_mib, cpu_seconds, log_level = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    source, sink = sys.stdin.buffer, _private_output()
    _outlive_signals_but_not_the_parent()
    configure_logging(log_level, Redactor({}))  # it knows no secret
    Image.init()
    _limit_memory(memory_mib * MIB)
    while True:
        try:
            header, content = unpack(source.read)
        except BrokenMessageError:
            return
        _limit_cpu(cpu_seconds)
        answer, result = _answer(header, content, source, sink)
        del content
        _write(sink, answer, result)
        del answer, result
        return_free_memory()


def _answer(
    header: dict[str, Any], content: bytes, source: BinaryIO, sink: BinaryIO
) -> tuple[dict[str, Any], bytes]:
    """Do what the header asks for, and return the answer or the error."""
    try:
        cost, work = _prepare(header, content)
        _write(sink, {"needs": cost.memory_bytes})
        go_ahead, _ = unpack(source.read)  # sent when the service has reserved that memory
        return work() if go_ahead["go"] else ({}, b"")
    except InvalidArgumentError as error:
        # `decode_upload` turns every exception of a decoder into IMAGE_CORRUPT.
        if isinstance(error.__cause__, MemoryError):
            return {"failed": "memory"}, b""
        return {
            "refused": {
                "reason": error.reason,
                "message": error.message,
                "metadata": error.metadata,
                "violations": [asdict(violation) for violation in error.violations],
            }
        }, b""
    except MemoryError:
        return {"failed": "memory"}, b""
    except Exception as error:  # Pillow's decoders raise exceptions of many types.
        return {"failed": "decoding", "error": repr(error)[:500]}, b""


def _prepare(
    header: dict[str, Any], content: bytes
) -> tuple[Cost, Callable[[], tuple[dict[str, Any], bytes]]]:
    """Return what the task costs, and the function that does it. No pixel is decoded yet.

    The file of an upload, and its copy without metadata, stay in memory while the child waits.

    Raises:
        InvalidArgumentError: The picture is refused for something else than its pixels, or is damaged.
        ValueError: The content is not a stored picture, or there is no such task.
    """
    match header:
        case {"task": "accept", "declared_type": str(declared_type)}:
            uploaded = images.examine_upload(content, declared_type)
            cost = _cost(uploaded, content, "accept")
            return cost, lambda: _picture(images.decode_upload(uploaded))
        case {"task": "thumbnail"}:
            cost = _cost(_stored(content), content, "thumbnail")
            return cost, lambda: _picture(images.make_thumbnail(content))
        case {"task": "reference", "width": int(width), "height": int(height)}:
            stored = _stored(content)
            scale = draft_scale(stored.width, stored.height, width, height)
            cost = _cost(stored, content, "reference", scale)
            return cost, lambda: _reference(content, width, height)
    raise ValueError(f"unknown task {header}")


def _cost(picture: StrippedPicture, content: bytes, task: Task, scale: int = 1) -> Cost:
    cost = cost_of(picture, len(content), task, scale)
    require_few_scans(picture, cost)
    return cost


def _stored(content: bytes) -> StrippedPicture:
    content_type = content_type_of(content)
    if content_type is None:
        raise ValueError("not a stored picture")
    return strip_metadata(content, content_type)


def _reference(content: bytes, width: int, height: int) -> tuple[dict[str, Any], bytes]:
    image = reduced(images.decode(content, at_least=(width, height)), width, height)
    return {"width": image.width, "height": image.height}, image.tobytes()


def reduced(image: Image.Image, width: int, height: int) -> Image.Image:
    """Return an RGB picture with at least twice this width and height, and few enough pixels to be sent.

    A picture that is not much larger than that stays as it is. The size is divided by a whole number.
    """
    factor = max(1, min(image.width // (2 * width), image.height // (2 * height)))
    while -(-image.width // factor) * -(-image.height // factor) > MAX_REFERENCE_PIXELS:
        factor += 1
    return image if factor == 1 else image.reduce(factor)


def _picture(picture: Picture) -> tuple[dict[str, Any], bytes]:
    return {
        "content_type": picture.content_type,
        "width": picture.width,
        "height": picture.height,
        "sha256": picture.sha256,
    }, picture.data


def _write(sink: BinaryIO, header: dict[str, Any], content: bytes = b"") -> None:
    for part in pack(header, content):
        sink.write(part)
    sink.flush()


def _private_output() -> BinaryIO:
    """Return the standard output, and send all other output to standard error."""
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


def _outlive_signals_but_not_the_parent() -> None:
    # Ctrl-C and a service manager signal the whole group. The service still needs its children to drain.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    # A busy child of a killed service would go on until its picture is decoded.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # If memory runs out, the kernel kills a child first. The service starts another one.
    with suppress(OSError):  # not every container may write it
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit_memory(limit_bytes: int) -> None:
    if sys.platform != "linux":
        return
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = mapped + limit_bytes + _SLACK_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_cpu(seconds: int) -> None:
    """Let the kernel end this process after so many more seconds of CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


if __name__ == "__main__":
    main()
