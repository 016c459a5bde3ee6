"""Growth: how long the service's reads and claims take as its data grows.

The service's own functions run in this process on filled databases, one after the other. The figure is the
time that PostgreSQL takes for all statements of a call, seen at its socket. The baseline is the read of one
avatar by its id, on the same database in the same moments.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from avatar_creator_server.avatars.records import AvatarFilter
from avatar_creator_server.core import Core
from avatar_creator_server.generations.lists import GenerationFilter
from avatar_creator_server.generations.records import Options
from avatar_creator_server.generations.request import GenerationRequest
from avatar_creator_server.generations.spending import Limits, require_within
from avatar_creator_server.people.person import Attributes, Persona
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.caller import Caller
from bench.filling import LARGEST_USER, RARE_APP, RARE_WORD, fill
from bench.goals import BY_NAME
from bench.lab import Lab, Scale
from bench.recording import Recorder, recording
from bench.results import Curve, Result, figure, of_pairs
from tests.support.service import Deployment

_CALLER = Caller(LARGEST_USER)
_OPERATOR = Caller("operator", sees_all=True)
_ABSENT_WORD = "zeppelin"
_NO_LIMIT = 1_000_000_000
_PAGE = 20
_LARGE_PAGE = 100
_REPEATS = 3
_SLOW_SECONDS = 0.1
"""Time of a call from which one repetition is enough."""


@dataclass(frozen=True, slots=True)
class Size:
    """Size of a database."""

    avatars: int
    users: int
    largest_user: int
    uses: int
    queued: int


SIZES = {
    Scale.TINY: (Size(100, 10, 50, 500, 100), Size(200, 20, 100, 1_000, 200)),
    Scale.SHORT: (
        Size(1_000, 50, 500, 5_000, 1_000),
        Size(10_000, 200, 5_000, 20_000, 10_000),
        Size(50_000, 1_000, 25_000, 100_000, 50_000),
    ),
    Scale.FULL: (
        Size(1_000, 50, 500, 5_000, 1_000),
        Size(30_000, 1_000, 10_000, 150_000, 10_000),
        Size(1_000_000, 10_000, 100_000, 5_000_000, 50_000),
    ),
}

_AVATARS = "avatars of the user"
_DUE = "generations due"
_USES = "uses of the avatar"
_ALL = "avatars of all users"

Call = Callable[[], Awaitable[Any]]
Clock = Callable[[], float]
_Pairs = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Data:
    """Rows of a filled database that the calls name."""

    avatar_ids: Sequence[str]
    """Avatars of the largest user, one from the middle of its list first."""
    last_used_id: str
    """Avatar in the middle of the list by last use."""
    favorite_id: str
    """Avatar with the most uses."""
    project_id: str
    pending_ids: Sequence[str]
    """Pending generations of the largest user."""
    deep_use: tuple[str, Any]
    """Id and time of a use in the middle of the favorite's list."""
    first_time: Any
    """Time of the oldest generation."""
    other_user: tuple[str, str]
    """Id of another user with generations, and of one of that user's projects."""


_ROWS: dict[str, tuple[str, Callable[[Size], int]]] = {
    "claim": (_DUE, lambda size: size.queued),
    "claim-waiting": (_DUE, lambda size: size.queued),
    "queue-place": (_DUE, lambda size: size.queued),
    "queue-page": (_DUE, lambda size: size.queued),
    "estimate": (_DUE, lambda size: size.queued),
    "last-used": (_AVATARS, lambda size: size.largest_user),
    "last-used-deep": (_AVATARS, lambda size: size.largest_user),
    "word-search": (_AVATARS, lambda size: size.largest_user),
    "word-search-rare": (_AVATARS, lambda size: size.largest_user),
    "filter": (_AVATARS, lambda size: size.largest_user),
    "generations-state": (_AVATARS, lambda size: size.largest_user),
    "generations-dates": (_AVATARS, lambda size: size.largest_user),
    "usage-rare": (_USES, lambda size: size.uses // 50),
    "usage-deep": (_USES, lambda size: size.uses // 50),
    "limits": (_AVATARS, lambda size: size.largest_user),
    "statistics": (_ALL, lambda size: size.avatars),
    "list-deep": (_AVATARS, lambda size: size.largest_user),
    "batch-get": (_AVATARS, lambda size: size.largest_user),
    "summary": (_USES, lambda size: size.uses // 50),
    "snapshot": (_AVATARS, lambda size: size.largest_user),
}
"""Rows that each curve counts, and their number at a size."""

ROWS = tuple(_ROWS)

_CLAIMS = ("claim", "claim-waiting")
_CLAIMS_OF_TURN = 4
"""Claims after which the order begins again: the last of them is for a waiting user (`URGENT_CLAIMS`)."""
_FRESH = ("queue-place", "queue-page", "estimate")
"""Rows that would answer from memory the second time, so each measurement has new parts of the service. They
compute in Python too, so their time is the whole one."""


def measure(lab: Lab, rows: Sequence[str]) -> Iterator[Result]:
    """Measure these of `ROWS`, at each size.

    Raises:
        ExceptionGroup: Some rows failed. All others have been yielded.
    """
    sizes = SIZES[lab.scale]
    found: dict[str, list[_Pairs]] = {row: [] for row in rows}
    failures: list[Exception] = []
    for size in sizes:
        url = lab.database()
        fill(
            url,
            avatars=size.avatars,
            users=size.users,
            largest_user=size.largest_user,
            uses=size.uses,
            queued=size.queued,
        )
        with lab.deployment(url) as deployment, recording(url) as recorder:
            measured = asyncio.run(_measure(deployment, recorder, list(found), lab.pairs))
            for row, pairs in measured.items():
                if isinstance(pairs, Exception):
                    failures.append(pairs)
                    del found[row]
                else:
                    found[row].append(pairs)
        lab.postgres.drop_database(url)
    for row, by_size in found.items():
        counted, count_of = _ROWS[row]
        medians, baselines = (
            [statistics.median(pair[side] for pair in pairs) for pairs in by_size] for side in (0, 1)
        )
        curve = Curve([count_of(size) for size in sizes], medians, baselines, counted)
        yield of_pairs(
            BY_NAME[row],
            by_size[-1],
            unit="ms",
            note=f"{' → '.join(map(figure, medians))} ms at {' / '.join(map(figure, curve.sizes))} {counted}",
            curve=curve,
        )
    if failures:
        raise ExceptionGroup("rows failed", failures)


async def _measure(
    deployment: Deployment, recorder: Recorder, rows: Sequence[str], pairs: int
) -> dict[str, _Pairs | Exception]:
    """Return the pairs of each row, or its error."""
    data = _read(deployment)
    core = _wire(deployment, recorder)
    found: dict[str, _Pairs | Exception] = {}
    try:
        measured = _Measured(deployment, recorder, data, core, await _calls(core, data), pairs)
        await measured.point()
        await core.generations.get(_CALLER, data.pending_ids[0])
        # Claims last, because they change the queue.
        for row in sorted(rows, key=lambda row: row in _CLAIMS):
            try:
                found[row] = await measured.pairs_of(row)
            except Exception as error:
                error.add_note(f"the row is {row}")
                found[row] = error
    finally:
        await core.close()
    return found


@dataclass(frozen=True, slots=True)
class _Measured:
    """A filled database, and the service's parts that use it."""

    deployment: Deployment
    recorder: Recorder
    data: _Data
    core: Core
    calls: dict[str, Call]
    count: int
    """Number of pairs."""

    async def point(self) -> None:
        """Read one avatar by its id."""
        await self.core.avatars.get(_CALLER, self.data.avatar_ids[0])

    async def pairs_of(self, row: str) -> _Pairs:
        """Return the pairs of a row."""
        if row in _CLAIMS:
            return await self._claims(waiting=row == "claim-waiting")
        if row in _FRESH:
            return [(await self._first_ms(row), await self._point_ms()) for _ in range(self.count)]
        call = self.calls[row]
        await call()
        return [(await _best_ms(call, self._sql), await self._point_ms()) for _ in range(self.count)]

    def _sql(self) -> float:
        """Return the time that PostgreSQL took for all statements so far: the clock of most rows."""
        return self.recorder.seconds

    async def _point_ms(self) -> float:
        return await _best_ms(self.point, self._sql)

    async def _first_ms(self, row: str) -> float:
        """Return the whole time of a call with new parts of the service, which have read no queue for it."""
        core = _wire(self.deployment, self.recorder)
        try:
            await _serve_another(core, self.data)
            calls = await _calls(core, self.data)
            return await _once_ms(calls[row], time.perf_counter)
        finally:
            await core.close()

    async def _claims(self, *, waiting: bool) -> _Pairs:
        """Claim due generations, of which every fourth claim is for a waiting user."""
        found = []
        for number in range(1 + self.count):
            took = [
                await _once_ms(lambda: self.core.leases.claim("bench"), self._sql)
                for _ in range(_CLAIMS_OF_TURN)
            ]
            ours = took[-1] if waiting else min(took[:-1])
            if number:  # the first claims build their statements
                found.append((ours, await self._point_ms()))
        return found


def _wire(deployment: Deployment, recorder: Recorder) -> Core:
    settings = deployment.settings
    return Core.wire(
        Settings.load(
            database_url=recorder.url,
            redis_url=settings["REDIS_URL"],
            jwt_secret=settings["JWT_SECRET"],
            upload_path=deployment.upload_path,
            data_path=deployment.data_path,
        )
    )


async def _serve_another(core: Core, data: _Data) -> None:
    """Answer another user, so that a connection has read the queue, as those of a server have.

    In a new session, PostgreSQL first reads its catalogs for each table, which takes longer than the queue.
    """
    user_id, project_id = data.other_user
    caller, pending = Caller(user_id), GenerationFilter(states=("pending",))
    await core.generations.list_page(caller, pending, page_size=_LARGE_PAGE, page_token="")
    await core.generations.estimate(caller, _request(project_id))


def _request(project_id: str) -> GenerationRequest:
    return GenerationRequest(project_id, "a face", "", Persona(), Attributes(), Options())


async def _calls(core: Core, data: _Data) -> dict[str, Call]:
    """Return the call of each row."""
    avatars, generations, usage = core.avatars, core.generations, core.usage
    project = AvatarFilter()
    by_use = AvatarFilter(last_used_first=True)

    async def list_of(filters: AvatarFilter, after: str = "") -> Any:
        token = ""
        if after:
            first = await avatars.list_page(_CALLER, filters, page_size=1, page_token="")
            token = first.token_after(await avatars.get(_CALLER, after))
        return lambda: avatars.list_page(_CALLER, filters, page_size=_PAGE, page_token=token)

    def uses(app_id: str = "", token: str = "") -> Call:
        return lambda: usage.list_page(
            _CALLER, data.favorite_id, app_id=app_id, action="", page_size=_PAGE, page_token=token
        )

    def listed(filters: GenerationFilter, page_size: int = _PAGE) -> Call:
        return lambda: generations.list_page(_CALLER, filters, page_size=page_size, page_token="")

    def within() -> None:
        limits = Limits(_NO_LIMIT, _NO_LIMIT, _NO_LIMIT, _NO_LIMIT * 1_000_000)
        require_within(limits, LARGEST_USER, core.database.now(), count=1, price_micros=0)

    some_uses = await uses()()
    use_id, use_time = data.deep_use
    deep_use = some_uses.token_after(replace(some_uses.items[0], id=use_id, create_time=use_time))
    first_day = GenerationFilter(created_before=data.first_time + timedelta(seconds=1))
    return {
        "queue-place": lambda: generations.get(_CALLER, data.pending_ids[0]),
        "queue-page": listed(GenerationFilter(states=("pending",)), _LARGE_PAGE),
        "estimate": lambda: generations.estimate(_CALLER, _request(data.project_id)),
        "last-used": await list_of(by_use),
        "last-used-deep": await list_of(by_use, data.last_used_id),
        "word-search": await list_of(AvatarFilter(query=_ABSENT_WORD)),
        "word-search-rare": await list_of(AvatarFilter(query=RARE_WORD)),
        "filter": await list_of(AvatarFilter(style="fantasy")),
        "generations-state": listed(GenerationFilter(states=("processing",))),
        "generations-dates": listed(first_day),
        "usage-rare": uses(RARE_APP),
        "usage-deep": uses(token=deep_use),
        "limits": lambda: core.database.read(within),
        "statistics": lambda: usage.statistics(_OPERATOR, page_token=""),
        "list-deep": await list_of(project, data.avatar_ids[0]),
        "batch-get": lambda: avatars.batch_get(_CALLER, data.avatar_ids[:_PAGE]),
        "summary": lambda: usage.summarize(_CALLER, data.favorite_id, page_size=_PAGE, page_token=""),
        "snapshot": lambda: core.feed.snapshot_of_project(_CALLER, data.project_id, None),
    }


async def _best_ms(call: Call, clock: Clock) -> float:
    """Return the shortest time of several calls: other programs of the machine only make them longer."""
    took = [await _once_ms(call, clock)]
    while len(took) < _REPEATS and took[-1] < _SLOW_SECONDS * 1000:
        took.append(await _once_ms(call, clock))
    return min(took)


async def _once_ms(call: Call, clock: Clock) -> float:
    started = clock()
    await call()
    return (clock() - started) * 1000


def _read(deployment: Deployment) -> _Data:
    """Find the rows that the calls name."""

    def column(statement: str, *parameters: Any) -> list[Any]:
        return [next(iter(row.values())) for row in deployment.execute(statement, *parameters)]

    middle = "(SELECT count(*) / 2 FROM avatars WHERE user_id = %s)"
    avatar_ids = column(
        f"SELECT id FROM avatars WHERE user_id = %s ORDER BY id DESC OFFSET {middle} LIMIT 100",
        LARGEST_USER,
        LARGEST_USER,
    )
    [last_used_id] = column(
        "SELECT id FROM avatars WHERE user_id = %s ORDER BY last_used_time DESC NULLS LAST, id DESC"
        " OFFSET (SELECT count(*) / 3 FROM avatars WHERE user_id = %s) LIMIT 1",
        LARGEST_USER,
        LARGEST_USER,
    )
    [favorite_id] = column("SELECT avatar_id FROM avatar_app_usage WHERE app_id = %s", RARE_APP)
    [use] = deployment.execute(
        "SELECT id, create_time FROM avatar_usage_history WHERE avatar_id = %s"
        " ORDER BY create_time DESC, id DESC"
        " OFFSET (SELECT usage_count / 2 FROM avatars WHERE id = %s) LIMIT 1",
        favorite_id,
        favorite_id,
    )
    pending = column(
        "SELECT id FROM avatar_generations WHERE user_id = %s AND state = 'pending'"
        " ORDER BY id DESC LIMIT 100",
        LARGEST_USER,
    )
    [first_time] = column(
        "SELECT create_time FROM avatar_generations WHERE user_id = %s ORDER BY id LIMIT 1", LARGEST_USER
    )
    [other] = deployment.execute(
        "SELECT user_id, project_id FROM avatar_generations WHERE user_id <> %s AND state = 'processing'"
        " ORDER BY user_id LIMIT 1",
        LARGEST_USER,
    )
    [project_id] = column("SELECT project_id FROM avatars WHERE id = %s", avatar_ids[0])
    return _Data(
        avatar_ids,
        last_used_id,
        favorite_id,
        project_id,
        pending,
        (use["id"], use["create_time"]),
        first_time,
        (other["user_id"], other["project_id"]),
    )
