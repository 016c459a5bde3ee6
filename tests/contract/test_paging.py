"""Lists: their pages while resources are created and deleted, and their filters."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from itertools import chain, combinations
from random import Random
from threading import Event
from typing import Any

import pytest
import uuid_utils
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1 import avatar_service_pb2 as avatars_pb
from avatar_creator.v1 import generation_service_pb2 as generations_pb
from avatar_creator.v1.attributes_pb2 import AgeRange, Gender, Style
from avatar_creator.v1.avatar_pb2 import SourceType
from avatar_creator.v1.generation_pb2 import Generation, GenerationState
from tests import pictures
from tests.contract.calls import Calls
from tests.support.service import Deployment
from tests.support.threads import Threads
from tests.support.waiting import wait_until

PICTURE = pictures.png()


class ProjectList:
    """The list of projects."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def add(self) -> str:
        return self._calls.create_project().id

    def remove(self, project_id: str) -> None:
        self._calls.projects.DeleteProject(projects_pb.DeleteProjectRequest(project_id=project_id))

    def page(self, size: int, token: str) -> tuple[list[str], str]:
        request = projects_pb.ListProjectsRequest(page_size=size, page_token=token)
        answer = self._calls.projects.ListProjects(request)
        return [project.id for project in answer.projects], answer.next_page_token


class AvatarList:
    """The list of the avatars of a project."""

    order = avatars_pb.AVATAR_ORDER_UNSPECIFIED

    def __init__(self, calls: Calls, project_id: str = "") -> None:
        self._calls = calls
        self._project_id = project_id or calls.create_project().id

    def add(self) -> str:
        return self._calls.upload(self._project_id, PICTURE).id

    def remove(self, avatar_id: str) -> None:
        self._calls.avatars.DeleteAvatar(avatars_pb.DeleteAvatarRequest(avatar_id=avatar_id))

    def page(self, size: int, token: str) -> tuple[list[str], str]:
        request = avatars_pb.ListAvatarsRequest(
            project_id=self._project_id, page_size=size, page_token=token, order=self.order
        )
        answer = self._calls.avatars.ListAvatars(request)
        return [avatar.id for avatar in answer.avatars], answer.next_page_token


class AvatarListByUse(AvatarList):
    """The same list, last used first. None of its avatars was ever used."""

    order = avatars_pb.AVATAR_ORDER_LAST_USED_FIRST


class GenerationList:
    """The list of all generations. They are deleted with their project."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._project_of: dict[str, str] = {}

    def add(self) -> str:
        project_id = self._calls.create_project().id
        generation = self._calls.create_generation(project_id)
        self._calls.cancel_unless_finished(generation.id)
        self._project_of[generation.id] = project_id
        return generation.id

    def remove(self, generation_id: str) -> None:
        request = projects_pb.DeleteProjectRequest(project_id=self._project_of[generation_id])
        self._calls.projects.DeleteProject(request)

    def page(self, size: int, token: str) -> tuple[list[str], str]:
        request = generations_pb.ListGenerationsRequest(page_size=size, page_token=token)
        answer = self._calls.generations.ListGenerations(request)
        return [generation.id for generation in answer.generations], answer.next_page_token


Listing = ProjectList | AvatarList | GenerationList


@pytest.fixture(params=[ProjectList, AvatarList, AvatarListByUse, GenerationList])
def listing(request: pytest.FixtureRequest, calls: Calls) -> Listing:
    """Each of the lists, empty."""
    created: Listing = request.param(calls)
    return created


def pages(listing: Listing, size: int, between: Callable[[], None] = lambda: None) -> Iterator[list[str]]:
    """Yield the pages of a list. Call `between` after each page except the last."""
    token = ""
    while True:
        ids, token = listing.page(size, token)
        yield ids
        if not token:
            return
        between()


def test_pages_contain_each_resource_once_newest_first(listing: Listing) -> None:
    ids = [listing.add() for _ in range(10)]

    received = list(pages(listing, 3))

    assert [len(page) for page in received] == [3, 3, 3, 1]
    assert [found for page in received for found in page] == ids[::-1]


def test_a_full_last_page_has_no_token(listing: Listing) -> None:
    ids = [listing.add() for _ in range(4)]

    assert list(pages(listing, 2)) == [[ids[3], ids[2]], [ids[1], ids[0]]]
    assert list(pages(listing, 4)) == [ids[::-1]]


def test_an_empty_list_has_one_empty_page(listing: Listing) -> None:
    assert list(pages(listing, 3)) == [[]]


def test_resources_created_or_deleted_between_pages_do_not_affect_the_others(listing: Listing) -> None:
    """Between pages, add a resource and delete two: the one that the token points at and a later one."""
    ids = [listing.add() for _ in range(10)]
    seen: list[str] = []
    removed: set[str] = set()
    added: set[str] = set()

    def disturb() -> None:
        added.add(listing.add())
        ahead = next(found for found in ids if found not in seen and found not in removed)
        for found in (seen[-1], ahead):
            listing.remove(found)
            removed.add(found)

    for page in pages(listing, 3, disturb):
        seen += page

    assert len(seen) == len(set(seen))
    assert added.isdisjoint(seen)
    assert set(seen) >= set(ids) - removed
    assert seen == sorted(seen, reverse=True)


# Filters of avatars


@pytest.fixture(scope="module")
def cast(shared_deployment: Deployment) -> Iterator[tuple[Calls, dict[str, str]]]:
    """Avatars of all kinds, by name. One of them is generated, in another project."""
    with Calls(shared_deployment.target, shared_deployment.token("cast-director")) as calls:
        project = calls.create_project("Uploads").id
        people: dict[str, dict[str, Any]] = {
            "Éva Kovács": {
                "attributes": {
                    "gender": Gender.GENDER_FEMALE,
                    "age_range": AgeRange.AGE_RANGE_SENIOR,
                    "ethnicity": "Ázsiai",
                    "style": Style.STYLE_FORMAL,
                }
            },
            "100% real": {"attributes": {"gender": Gender.GENDER_MALE, "ethnicity": "azsiai"}},
            "snake_case": {"attributes": {"gender": Gender.GENDER_MALE, "style": Style.STYLE_FORMAL}},
            "snakeXcase": {"attributes": {"age_range": AgeRange.AGE_RANGE_SENIOR}},
            "back\\slash": {"persona": {"name": "Straße"}},
        }
        ids = {
            name: calls.upload(project, PICTURE, name=name, **fields).id for name, fields in people.items()
        }
        generation = calls.create_generation(
            calls.create_project("Portraits").id,
            prompt="Éva in the garden",
            avatar_name="Gardener",
            attributes={"gender": Gender.GENDER_FEMALE, "ethnicity": "ÁZSIAI"},
        )
        ids["Gardener"] = calls.wait_for_end(generation.id).avatar_id
        yield calls, ids


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (
            {},
            {"Éva Kovács", "100% real", "snake_case", "snakeXcase", "back\\slash", "Gardener"},
        ),
        ({"source_types": [SourceType.SOURCE_TYPE_TEXT_TO_IMAGE]}, {"Gardener"}),
        ({"source_types": [SourceType.SOURCE_TYPE_FROM_PRESET]}, set()),
        (
            {"source_types": [SourceType.SOURCE_TYPE_TEXT_TO_IMAGE, SourceType.SOURCE_TYPE_UPLOADED]},
            {"Éva Kovács", "100% real", "snake_case", "snakeXcase", "back\\slash", "Gardener"},
        ),
        ({"gender": Gender.GENDER_MALE}, {"100% real", "snake_case"}),
        ({"gender": Gender.GENDER_NON_BINARY}, set()),
        ({"age_range": AgeRange.AGE_RANGE_SENIOR}, {"Éva Kovács", "snakeXcase"}),
        ({"style": Style.STYLE_FORMAL}, {"Éva Kovács", "snake_case"}),
        ({"ethnicity": "ÁZSIAI"}, {"Éva Kovács", "100% real", "Gardener"}),
        ({"ethnicity": "azsiai"}, {"Éva Kovács", "100% real", "Gardener"}),
        ({"ethnicity": "azsia"}, set()),
        ({"query": "éva"}, {"Éva Kovács", "Gardener"}),
        ({"query": "ÉVA"}, {"Éva Kovács", "Gardener"}),
        ({"query": "eva"}, {"Éva Kovács", "Gardener"}),
        ({"query": "e\u0301va"}, {"Éva Kovács", "Gardener"}),
        ({"query": "garden  éva"}, {"Gardener"}),
        ({"query": "ov áC"}, {"Éva Kovács"}),
        ({"query": "%"}, {"100% real"}),
        ({"query": "0% r"}, {"100% real"}),
        ({"query": "_"}, {"snake_case"}),
        ({"query": "e_c"}, {"snake_case"}),
        ({"query": "\\"}, {"back\\slash"}),
        ({"query": "STRASSE"}, {"back\\slash"}),
        ({"query": "'; DROP TABLE avatars; --"}, set()),
        ({"query": "stranger"}, set()),
        (
            {"gender": Gender.GENDER_FEMALE, "ethnicity": "ázsiai", "query": "eva"},
            {"Éva Kovács", "Gardener"},
        ),
        ({"gender": Gender.GENDER_FEMALE, "style": Style.STYLE_FORMAL, "query": "eva"}, {"Éva Kovács"}),
    ],
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),
)
def test_a_list_contains_the_avatars_that_pass_all_filters(
    cast: tuple[Calls, dict[str, str]], filters: dict[str, Any], expected: set[str]
) -> None:
    calls, ids = cast

    found = calls.avatars.ListAvatars(avatars_pb.ListAvatarsRequest(**filters)).avatars

    assert [avatar.id for avatar in found] == sorted((ids[name] for name in expected), reverse=True)


def test_filters_apply_to_every_page(cast: tuple[Calls, dict[str, str]]) -> None:
    calls, _ = cast
    found: list[str] = []
    request = avatars_pb.ListAvatarsRequest(query="a", page_size=1)

    while True:
        answer = calls.avatars.ListAvatars(request)
        found += [avatar.name for avatar in answer.avatars]
        if not answer.next_page_token:
            break
        request.page_token = answer.next_page_token

    assert found == ["Gardener", "back\\slash", "snakeXcase", "snake_case", "100% real", "Éva Kovács"]


def test_recently_used_avatars_come_first_on_all_pages(calls: Calls) -> None:
    project = calls.create_project().id
    ids = [calls.upload(project, PICTURE).id for _ in range(6)]
    for used in (2, 3, 0, 2):
        calls.record_usage(ids[used])
    by_use = AvatarListByUse(calls, project)

    received = [found for page in pages(by_use, 1) for found in page]

    assert received == [ids[2], ids[0], ids[3], ids[5], ids[4], ids[1]]


def test_thumbnails_are_inline_only_if_requested(calls: Calls) -> None:
    project = calls.create_project().id
    avatar = calls.upload(project, PICTURE)
    assert not avatar.thumbnail_pending

    plain, inline = (
        calls.avatars.ListAvatars(avatars_pb.ListAvatarsRequest(include_thumbnails=include)).avatars[0]
        for include in (False, True)
    )

    metadata, data = calls.download(avatar.id, avatars_pb.IMAGE_VARIANT_THUMBNAIL)
    assert plain.thumbnail_data == b""
    assert inline.thumbnail_data == data
    assert inline.thumbnail == metadata
    picture = Image.open(BytesIO(data))
    assert (picture.format, picture.size) == ("WEBP", (300, 300))


def test_a_project_opens_with_its_newest_avatars_and_a_token_for_the_others(calls: Calls) -> None:
    project = calls.create_project().id
    with Threads(4) as threads:
        uploads = [threads.submit(calls.upload, project, PICTURE) for _ in range(23)]
        ids = sorted((upload.result().id for upload in uploads), reverse=True)
    calls.upload(calls.create_project().id, PICTURE)

    def all_have_thumbnails() -> bool:
        return all(avatar.thumbnail_data for avatar in opened(True).avatars)

    def opened(include_avatars: bool) -> projects_pb.GetProjectResponse:
        request = projects_pb.GetProjectRequest(project_id=project, include_avatars=include_avatars)
        return calls.projects.GetProject(request)

    wait_until(all_have_thumbnails, message="some thumbnails were never created")
    first = opened(True)
    rest = calls.avatars.ListAvatars(
        avatars_pb.ListAvatarsRequest(
            project_id=project, include_thumbnails=True, page_token=first.next_page_token
        )
    )

    assert first.project.avatar_count == 23
    assert first.project.cover_avatar_id == ids[0]
    assert [avatar.id for avatar in first.avatars] == ids[:20]
    assert [avatar.id for avatar in rest.avatars] == ids[20:]
    assert rest.next_page_token == ""
    unopened = opened(False)
    assert (len(unopened.avatars), unopened.next_page_token) == (0, "")


def test_a_grid_of_projects_has_the_four_newest_avatars_of_each(calls: Calls) -> None:
    projects = [calls.create_project().id for _ in range(3)]
    many, few, _ = projects
    ids = {
        project: [calls.upload(project, PICTURE).id for _ in range(count)]
        for project, count in ((many, 6), (few, 2))
    }
    calls.avatars.DeleteAvatar(avatars_pb.DeleteAvatarRequest(avatar_id=ids[many].pop()))

    def shown(**request: Any) -> dict[str, list[str]]:
        listed = calls.projects.ListProjects(projects_pb.ListProjectsRequest(**request))
        return {project.id: [avatar.id for avatar in project.newest_avatars] for project in listed.projects}

    grid = shown(include_newest_avatars=True)
    assert grid[many] == sorted(ids[many], reverse=True)[:4]
    assert grid[few] == sorted(ids[few], reverse=True)
    assert [avatars for project, avatars in grid.items() if project not in (many, few)] == [[]]
    assert set(grid) == set(projects)
    assert shown() == {project: [] for project in projects}
    # Read by their ids, so each page has its own.
    assert shown(include_newest_avatars=True, page_size=1) == {projects[2]: []}


def test_a_project_without_avatars_has_no_token(calls: Calls) -> None:
    request = projects_pb.GetProjectRequest(project_id=calls.create_project().id, include_avatars=True)

    opened = calls.projects.GetProject(request)

    assert (len(opened.avatars), opened.next_page_token, opened.project.cover_avatar_id) == (0, "", "")


# A thousand avatars

CROWD = 1000
PAGE = 37
FEW = 12
"""Number of different times of use: so few that many avatars have the same time."""

NAMES = {"Éva Kovács": "eva kovacs", "Straße 9": "strasse 9", "100% real": "100% real", "e_va": "e_va"}
"""Search text of each name."""
ETHNICITIES = {"Ázsiai": "azsiai", "AZSIAI": "azsiai", "Ázsiai-Indonesian": "azsiai-indonesian", "": ""}
WORDS = "ÉVA ov"

Row = dict[str, Any]


@dataclass
class Crowd:
    """A user with a thousand avatars of mixed kinds in three projects."""

    deployment: Deployment
    user: str
    calls: Calls
    projects: list[str]
    random: Random = field(default_factory=lambda: Random(37))

    def rows(self) -> list[Row]:
        """Return the rows of the user's avatars."""
        return self.deployment.execute("SELECT * FROM avatars WHERE user_id = %s", self.user)

    def fill(self) -> None:
        """Copy one avatar until there are a thousand. Each copy has its own file, which has no bytes."""
        rows = self.rows()
        number = CROWD - len(rows)
        files = [str(uuid_utils.uuid7()) for _ in range(number)]
        self._copy("files", rows[0]["image_file_id"], [{"id": file, "key": file} for file in files])
        avatars = [self._avatar(file) for file in files]
        self._copy("avatars", rows[0]["id"], avatars)
        self._count(avatars, rows[0]["create_time"])

    def add(self) -> str:
        """Upload an avatar that passes every filter, and return its id."""
        attributes = {"gender": 1, "age_range": 4, "ethnicity": "ázsiai", "style": 3}
        return self.calls.upload(self.projects[0], PICTURE, name="Éva Kovács", attributes=attributes).id

    def remove(self, avatar_id: str) -> None:
        self.calls.avatars.DeleteAvatar(avatars_pb.DeleteAvatarRequest(avatar_id=avatar_id))

    def listed(self, filters: Row, between: Callable[[list[str]], None] = lambda _: None) -> list[str]:
        """Return the ids of all pages. Call `between` with the ids so far after each page except the last."""
        return self.calls.list_avatar_ids(filters, PAGE, between)

    def filters(self) -> list[tuple[Row, Callable[[Row], bool]]]:
        """Return each filter with a function that says which rows pass it."""
        types = [SourceType.SOURCE_TYPE_UPLOADED, SourceType.SOURCE_TYPE_FROM_PRESET]
        return [
            ({"project_id": self.projects[0]}, lambda row: bool(row["project_id"] == self.projects[0])),
            ({"source_types": types}, lambda row: row["source_type"] in ("uploaded", "from_preset")),
            ({"gender": Gender.GENDER_FEMALE}, lambda row: bool(row["gender"] == "female")),
            (
                {"age_range": AgeRange.AGE_RANGE_MIDDLE_AGED},
                lambda row: bool(row["age_range"] == "middle_aged"),
            ),
            ({"ethnicity": "ázsiai"}, lambda row: row["ethnicity"].lower() in ("ázsiai", "azsiai")),
            ({"style": Style.STYLE_FORMAL}, lambda row: bool(row["style"] == "formal")),
            ({"query": WORDS}, lambda row: bool(row["name"] == "Éva Kovács")),
        ]

    def _avatar(self, file: str) -> Row:
        choose = self.random.choice
        name, ethnicity = choose([*NAMES, "Éva Kovács", "Éva Kovács"]), choose([*ETHNICITIES])
        used = choose([None, *range(FEW)])
        return {
            "id": str(uuid_utils.uuid7()),
            "project_id": choose([*self.projects, self.projects[0]]),
            "name": name,
            "image_file_id": file,
            "thumbnail_file_id": None,
            "source_type": choose(["uploaded", "text_to_image", "from_preset", "from_reference"]),
            "gender": choose(["female", "female", "male", ""]),
            "age_range": choose(["middle_aged", "middle_aged", "senior", ""]),
            "ethnicity": ethnicity,
            "style": choose(["formal", "formal", "casual", ""]),
            "ethnicity_folded": ETHNICITIES[ethnicity],
            "search_text": NAMES[name],
            "last_used_time": None if used is None else datetime(2026, 1, 1 + used, tzinfo=UTC),
        }

    def _count(self, avatars: list[Row], created: datetime) -> None:
        """Add these avatars to the counters."""
        for project, number in Counter(avatar["project_id"] for avatar in avatars).items():
            self.deployment.execute(
                "UPDATE avatar_projects SET avatar_count = avatar_count + %s WHERE id = %s", number, project
            )
        self.deployment.execute(
            "UPDATE user_statistics SET avatar_count = avatar_count + %s WHERE user_id = %s",
            len(avatars),
            self.user,
        )
        self.deployment.execute(
            "UPDATE daily_uploads SET upload_count = upload_count + %s WHERE user_id = %s AND day = %s",
            sum(avatar["source_type"] == "uploaded" for avatar in avatars),
            self.user,
            created.astimezone(UTC).date().isoformat(),
        )

    def _copy(self, table: str, original: str, copies: list[Row]) -> None:
        """Insert copies of a row, each with its own values in some columns."""
        if not copies:
            return
        (row,) = self.deployment.execute(f"SELECT * FROM {table} WHERE id = %s", original)
        own = list(copies[0])
        places = ", ".join(["(" + ", ".join(["%s"] * len(own)) + ")"] * len(copies))
        values = [copy[column] for copy in copies for column in own]

        def source_of(column: str) -> str:
            if column not in own:
                return f"original.{column}"
            # Without the cast, PostgreSQL takes a column of nulls for text.
            is_time = column.endswith("_time") and not self.deployment.is_embedded
            return f"CAST(copy.{column} AS TIMESTAMPTZ)" if is_time else f"copy.{column}"

        sources = map(source_of, row)
        self.deployment.execute(
            f"WITH copy ({', '.join(own)}) AS (VALUES {places}) INSERT INTO {table} ({', '.join(row)})"
            f" SELECT {', '.join(sources)} FROM {table} AS original, copy WHERE original.id = %s",
            *values,
            original,
        )


@pytest.fixture(scope="module")
def crowd(shared_deployment: Deployment) -> Iterator[Crowd]:
    """A user with up to a thousand avatars: earlier tests may have removed some."""
    user = f"crowd-{uuid.uuid4().hex}"
    with Calls(shared_deployment.target, shared_deployment.token(user)) as calls:
        crowd = Crowd(shared_deployment, user, calls, [calls.create_project().id for _ in range(3)])
        crowd.add()
        yield crowd


def in_order(order: avatars_pb.AvatarOrder.ValueType, rows: list[Row]) -> list[str]:
    """Return the ids of the rows in the order of the list."""
    newest_first = sorted(rows, key=lambda row: str(row["id"]), reverse=True)
    if order != avatars_pb.AVATAR_ORDER_LAST_USED_FIRST:
        return [row["id"] for row in newest_first]
    never = datetime.min.replace(tzinfo=UTC)
    # The sort is stable: avatars used at the same time stay newest first.
    return [
        row["id"]
        for row in sorted(newest_first, key=lambda row: row["last_used_time"] or never, reverse=True)
    ]


ORDERS = [avatars_pb.AVATAR_ORDER_NEWEST_FIRST, avatars_pb.AVATAR_ORDER_LAST_USED_FIRST]


@pytest.mark.parametrize("order", ORDERS, ids=["newest first", "last used first"])
def test_a_thousand_avatars_are_listed_in_order_with_every_pair_of_filters(
    crowd: Crowd, order: avatars_pb.AvatarOrder.ValueType
) -> None:
    """Try no filter, each filter, each pair, and all, with a page size that leaves a partial last page."""
    crowd.fill()
    rows, filters = crowd.rows(), crowd.filters()
    assert len(rows) == CROWD
    lengths = set()

    for combined in chain.from_iterable(combinations(filters, number) for number in (0, 1, 2, len(filters))):
        requested = {name: value for request, _ in combined for name, value in request.items()}
        expected = in_order(order, [row for row in rows if all(passes(row) for _, passes in combined)])
        assert crowd.listed({"order": order, **requested}) == expected, requested
        lengths.add(len(expected))

    assert 0 not in lengths
    assert max(lengths) == CROWD


@pytest.mark.parametrize(
    ("order", "filtered"),
    list(zip(ORDERS, (0, 2), strict=True)),
    ids=["newest first, unfiltered", "last used first, filtered"],
)
def test_each_of_a_thousand_avatars_is_listed_once_while_others_are_added_and_deleted(
    crowd: Crowd, order: avatars_pb.AvatarOrder.ValueType, filtered: int
) -> None:
    """Add and delete avatars all the time, and delete listed and unlisted avatars between the pages."""
    crowd.fill()
    filters = crowd.filters()[1 : 1 + filtered]
    requested = {name: value for request, _ in filters for name, value in request.items()}
    rows = [row for row in crowd.rows() if all(passes(row) for _, passes in filters)]
    expected = in_order(order, rows)
    deletable = set(crowd.random.sample(expected, len(expected) // 10))
    removed: set[str] = set()
    over = Event()

    def add_and_remove() -> None:
        while not over.is_set():
            crowd.remove(crowd.add())
            crowd.add()

    def disturb(seen: list[str]) -> None:
        crowd.add()
        for candidates in (reversed(seen), (found for found in expected if found not in set(seen))):
            next_removed = next((found for found in candidates if found in deletable - removed), None)
            if next_removed is not None:
                removed.add(next_removed)
                crowd.remove(next_removed)

    with Threads(1) as threads:
        changes = threads.submit(add_and_remove)
        try:
            found = crowd.listed({"order": order, **requested}, disturb)
        finally:
            over.set()
        changes.result()

    known = set(expected)
    assert len(found) == len(set(found))
    assert len(removed) > 10
    assert [one for one in found if one in known - removed] == [one for one in expected if one not in removed]


# Filters of generations


def test_generations_are_filtered_by_project_state_and_time(calls: Calls) -> None:
    here, there = calls.create_project().id, calls.create_project().id
    completed = calls.wait_for_end(calls.create_generation(here).id)
    for _ in range(2):
        calls.create_generation(there)
    # It may take several attempts, and then more generations than this one are completed.
    cancelled = calls.create_cancelled(there)
    everything = [
        calls.wait_for_end(generation.id)
        for generation in calls.generations.ListGenerations(
            generations_pb.ListGenerationsRequest()
        ).generations
    ]
    assert len(everything) >= 4
    states = GenerationState
    completed_state, cancelled_state = states.GENERATION_STATE_COMPLETED, states.GENERATION_STATE_CANCELLED

    def listed(**filters: Any) -> list[str]:
        answer = calls.generations.ListGenerations(generations_pb.ListGenerationsRequest(**filters))
        return [generation.id for generation in answer.generations]

    def expected(passes: Callable[[Generation], bool]) -> list[str]:
        return [generation.id for generation in everything if passes(generation)]

    assert listed(project_id=here) == [completed.id]
    assert listed(states=[cancelled_state]) == [cancelled.id]
    assert listed(states=[completed_state]) == expected(
        lambda generation: generation.state == completed_state
    )
    assert listed(states=[completed_state, cancelled_state]) == [generation.id for generation in everything]
    assert listed(states=[states.GENERATION_STATE_FAILED]) == []
    assert listed(project_id=here, states=[cancelled_state]) == []
    middle = everything[1].create_time
    since, until = listed(create_time_from=middle), listed(create_time_to=middle)
    assert since == expected(lambda generation: _nanoseconds(generation.create_time) >= _nanoseconds(middle))
    assert until == expected(lambda generation: _nanoseconds(generation.create_time) < _nanoseconds(middle))
    assert (len(since), len(until)) == (2, len(everything) - 2)
    assert listed(create_time_from=middle, create_time_to=middle) == []


def _nanoseconds(time: Timestamp) -> int:
    return time.ToNanoseconds()
