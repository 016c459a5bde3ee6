"""A proxy on loopback between the service's provider and the real one, which records the form of the answers.

It passes the requests on unchanged, with the key. It keeps no key, no prompt and no picture: only the method,
the path, the status, some headers and the words of a few fields.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import web

from avatar_creator_tasks.providers.hosted.excerpt import excerpt

_KEPT_HEADERS = ("retry-after", "ratelimit", "ratelimit-policy", "x-fal-error-type", "x-fal-retryable")
_PRESENT_HEADERS = ("x-fal-request-id", "x-fal-billable-units", "x-request-id", "x-inference-provider")
_WORDS = ("status", "error_type", "title", "data_removed", "started_at")
_DROPPED = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})
_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """The form of one answer."""

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    """Values of the headers that say when to retry and why."""
    present: tuple[str, ...] = ()
    """Names of other headers that the answer has."""
    words: dict[str, str] = field(default_factory=dict)
    """Fields of a JSON object."""
    size: int = 0
    """Size of the body in bytes."""

    def __str__(self) -> str:
        """Return one line for a person."""
        parts = [f"{self.method} {self.path} -> {self.status}"]
        parts += [f"{name}: {value}" for name, value in {**self.headers, **self.words}.items()]
        return "; ".join([*parts, *([f"has {', '.join(self.present)}"] if self.present else [])])


@dataclass(slots=True)
class Recorder:
    """The proxy, with the answers that passed."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)

    def last(self, method: str, ending: str = "") -> Exchange:
        """Return the last answer to this method at a path with this ending.

        Raises:
            LookupError: There is none.
        """
        for exchange in reversed(self.exchanges):
            if exchange.method == method and exchange.path.endswith(ending):
                return exchange
        raise LookupError(f"no {method} …{ending}")

    def count(self, status: int) -> int:
        """Return the number of answers with this status."""
        return sum(exchange.status == status for exchange in self.exchanges)


@asynccontextmanager
async def recording(target: str, secret: str) -> AsyncIterator[Recorder]:
    """Run a proxy that leads to this address.

    Args:
        target: Address of the provider.
        secret: The key, which no record may contain.
    """
    client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False)
    recorder = Recorder("")

    async def forward(request: web.Request) -> web.Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _DROPPED]
        answer = await client.request(
            request.method,
            httpx.URL(target.rstrip("/") + request.raw_path),
            headers=[*headers, ("accept-encoding", "identity")],
            content=await request.read(),
        )
        recorder.exchanges.append(_exchange(request, answer, secret))
        passed = [(name, value) for name, value in answer.headers.items() if name.lower() not in _DROPPED]
        return web.Response(status=answer.status_code, body=answer.content, headers=dict(passed))

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        recorder.url = f"http://{host}:{port}"
        yield recorder
    finally:
        await runner.cleanup()
        await client.aclose()


def _exchange(request: web.Request, answer: httpx.Response, secret: str) -> Exchange:
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    fields = body if isinstance(body, dict) else {}
    return Exchange(
        method=request.method,
        path=request.path,
        status=answer.status_code,
        headers={
            name: excerpt(answer.headers[name], secret) for name in _KEPT_HEADERS if name in answer.headers
        },
        present=tuple(name for name in _PRESENT_HEADERS if name in answer.headers),
        words={name: excerpt(str(fields[name]), secret) for name in _WORDS if name in fields},
        size=len(answer.content),
    )
