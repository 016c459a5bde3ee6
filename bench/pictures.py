"""Pictures: an upload, and a thumbnail."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import Any

import grpc
from PIL import Image, ImageOps

from avatar_creator.v1 import avatar_service_pb2 as pb
from avatar_creator_server.images.processing import THUMBNAIL_SIZE, make_thumbnail
from bench.goals import BY_NAME
from bench.lab import USER, Lab, baseline
from bench.results import Result, interleaved, of_pairs

ROWS = ("upload", "upload-deferred", "thumbnail")

_SIZE = (4000, 3000)
_QUALITY = 90
_CHUNK_BYTES = 256 * 1024
_UPLOADS = 2
_THUMBNAILS = 5
_UPLOAD = "/avatar_creator.v1.AvatarService/UploadAvatar"


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`."""
    picture = photograph()
    if "upload" in rows or "upload-deferred" in rows:
        yield from _uploads(lab, picture, rows)
    if "thumbnail" in rows:
        yield _thumbnail(lab, picture)


def photograph() -> bytes:
    """Return a JPEG of 12 megapixels and about 5 MiB, with the grain of a photograph."""
    coarse = [Image.effect_noise((400, 300), 120).resize(_SIZE, Image.Resampling.BICUBIC) for _ in range(3)]
    grain = Image.effect_noise(_SIZE, 24)
    picture = Image.merge("RGB", [Image.blend(channel, grain, 0.3) for channel in coarse])
    written = BytesIO()
    picture.save(written, "JPEG", quality=_QUALITY)
    return written.getvalue()


def _uploads(lab: Lab, picture: bytes, rows: Sequence[str]) -> Iterator[Result]:
    with lab.deployment() as deployment, baseline({"Upload": {"kind": "sink"}}) as sink:
        deployment.start_server()
        deployment.start_worker()
        with deployment.client(USER) as client:
            project_id = client.projects.create("Bench").id
        metadata = (("authorization", f"Bearer {deployment.token(USER)}"),)
        with grpc.insecure_channel(deployment.target) as ours, grpc.insecure_channel(sink.address) as theirs:
            upload: Any = ours.stream_unary(_UPLOAD)
            receive: Any = theirs.stream_unary("/bench.Baseline/Upload")
            for row in ("upload", "upload-deferred"):
                if row not in rows:
                    continue
                messages = _messages(project_id, picture, defer_thumbnail=row == "upload-deferred")
                pairs = interleaved(
                    partial(_median_ms, partial(_sent, upload, messages, metadata), _UPLOADS),
                    partial(_median_ms, partial(_sent, receive, messages[1:], None), _UPLOADS),
                    lab.pairs + 1,
                )
                # Without the first pair, which starts the decoders.
                yield of_pairs(BY_NAME[row], pairs[1:], unit="ms", note=f"{len(picture) / 2**20:.1f} MiB")


def _sent(call: Any, messages: Sequence[bytes], metadata: Any) -> Any:
    return call(iter(messages), metadata=metadata)


def _messages(project_id: str, picture: bytes, *, defer_thumbnail: bool) -> list[bytes]:
    """Return the messages of an upload: metadata, then chunks."""
    metadata = pb.UploadAvatarMetadata(
        project_id=project_id, name="Photograph", defer_thumbnail=defer_thumbnail
    )
    chunks = [picture[start : start + _CHUNK_BYTES] for start in range(0, len(picture), _CHUNK_BYTES)]
    requests = [
        pb.UploadAvatarRequest(metadata=metadata),
        *(pb.UploadAvatarRequest(chunk=chunk) for chunk in chunks),
    ]
    return [request.SerializeToString() for request in requests]


def _thumbnail(lab: Lab, picture: bytes) -> Result:
    pairs = interleaved(
        lambda: _median_ms(lambda: make_thumbnail(picture), _THUMBNAILS),
        lambda: _median_ms(lambda: _by_hand(picture), _THUMBNAILS),
        lab.pairs,
    )
    return of_pairs(BY_NAME["thumbnail"], pairs, unit="ms")


def _by_hand(picture: bytes) -> str:
    with Image.open(BytesIO(picture)) as image:
        image.draft(None, (2 * THUMBNAIL_SIZE, 2 * THUMBNAIL_SIZE))
        square = ImageOps.fit(image, (THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.LANCZOS)
    written = BytesIO()
    square.save(written, "WEBP", quality=85, method=4)
    return hashlib.sha256(written.getvalue()).hexdigest()


def _median_ms(function: Callable[[], Any], times: int) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        function()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)
