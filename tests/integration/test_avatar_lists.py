"""Lists of many avatars: each page has exactly the avatars that pass, and is a range of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
import uuid_utils

from avatar_creator.v1 import avatar_project_service_pb2 as projects_pb
from avatar_creator.v1 import avatar_service_pb2 as avatars_pb
from avatar_creator.v1.attributes_pb2 import AgeRange, Attributes, Gender, Style
from avatar_creator.v1.avatar_pb2 import Avatar, SourceType
from tests.contract.calls import Calls
from tests.support.large_project import fill_project
from tests.support.rows import Row, copy_row
from tests.support.service import Deployment

MANY = 2600
"""Number of avatars: more than a list reads before it uses an index, also in the larger project."""
SEARCHES = 120
PAGE = 100
PIECES = {
    "Éva": "eva",
    "STRASSE": "strasse",
    "Straße": "strasse",
    "100%": "100%",
    "e_va": "e_va",
    'the "best"': 'the "best"',
    "back\\slash": "back\\slash",
    "Ωmega": "ωmega",
    "写真": "写真",
    "🙂!": "🙂!",
    "a-b-c": "a-b-c",
    "O'Neil": "o'neil",
}
"""Pieces of names, each with its part of the search text."""
RARE = "Quetzalcóatl"
ACCENTS = str.maketrans("aeo", "áéö")
GENDERS = {"female": Gender.GENDER_FEMALE, "male": Gender.GENDER_MALE, "non_binary": Gender.GENDER_NON_BINARY}
AGES = {"senior": AgeRange.AGE_RANGE_SENIOR, "middle_aged": AgeRange.AGE_RANGE_MIDDLE_AGED}
STYLES = {"formal": Style.STYLE_FORMAL, "casual": Style.STYLE_CASUAL}
ETHNICITIES = {"Ázsiai": "azsiai", "Kenyan": "kenyan"}
SOURCES = {
    "uploaded": SourceType.SOURCE_TYPE_UPLOADED,
    "text_to_image": SourceType.SOURCE_TYPE_TEXT_TO_IMAGE,
    "from_preset": SourceType.SOURCE_TYPE_FROM_PRESET,
}


@dataclass
class Gallery:
    """A user with many avatars in two projects."""

    deployment: Deployment
    user: str
    calls: Calls
    random: Random = field(default_factory=lambda: Random(7))

    def __post_init__(self) -> None:
        self.projects = [self.calls.create_project(name).id for name in ("Large", "Small", "Gone")]
        fill_project(self.deployment, self.projects[0], 1)
        (self.original,) = self.deployment.execute("SELECT * FROM avatars WHERE user_id = %s", self.user)

    def fill(self, number: int) -> None:
        """Copy one avatar many times. Each copy has its own file, which has no bytes."""
        files = [str(uuid_utils.uuid7()) for _ in range(number)]
        copies = [{"id": file, "key": file} for file in files]
        copy_row(self.deployment, "files", {"id": self.original["image_file_id"]}, copies)
        copy_row(self.deployment, "avatars", {"id": self.original["id"]}, [*map(self._avatar, files)])

    def _avatar(self, file: str) -> Row:
        choose = self.random.choice
        pieces = self.random.choices(list(PIECES), k=3)
        rare = self.random.random() < 0.004
        ethnicity = choose([*ETHNICITIES, ""])
        return {
            "id": str(uuid_utils.uuid7()),
            "project_id": choose([*self.projects, self.projects[0], self.projects[0]]),
            "name": " ".join(pieces),
            "image_file_id": file,
            "source_type": choose(["uploaded", "uploaded", "text_to_image"]),
            # The rare values are among the oldest and the newest avatars.
            "gender": "non_binary" if rare else choose(["female", "male", ""]),
            "age_range": choose(["middle_aged", ""]),
            "style": choose(["formal", "casual", ""]),
            "ethnicity": ethnicity,
            "ethnicity_folded": ETHNICITIES.get(ethnicity, ""),
            "search_text": " ".join(PIECES[piece] for piece in pieces) + (" quetzalcoatl" if rare else ""),
            "last_used_time": choose([None, *(datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 9))]),
        }

    def change(self) -> None:
        """Rename some avatars, delete others, and delete a project."""
        ids = [row["id"] for row in self.rows()]
        for avatar_id in self.random.sample(ids, 20):
            changed = Avatar(
                id=avatar_id, name=f"{RARE} Éva", attributes=Attributes(age_range=AgeRange.AGE_RANGE_SENIOR)
            )
            self.calls.avatars.UpdateAvatar(avatars_pb.UpdateAvatarRequest(avatar=changed))
        for avatar_id in self.random.sample(ids, 20):
            self.calls.avatars.DeleteAvatar(avatars_pb.DeleteAvatarRequest(avatar_id=avatar_id))
        self.calls.projects.DeleteProject(projects_pb.DeleteProjectRequest(project_id=self.projects.pop()))

    def rows(self) -> list[Row]:
        """Return the rows of the avatars that are in no deleted project, in the order of no list."""
        columns = ", ".join(f"'{project}'" for project in self.projects)
        return self.deployment.execute(f"SELECT * FROM avatars WHERE project_id IN ({columns})")

    def search(self) -> tuple[Row, list[Callable[[Row], bool]]]:
        """Return random filters, with the conditions that an avatar must pass."""
        some, choose = self.random.random, self.random.choice
        filters: Row = {}
        conditions: list[Callable[[Row], bool]] = []

        def compare(name: str, column: str, values: dict[str, Any]) -> None:
            if some() < 0.25:
                value, message = choose([*values.items()])
                filters[name] = message
                conditions.append(lambda row: bool(row[column] == value))

        compare("gender", "gender", GENDERS)
        compare("age_range", "age_range", AGES)
        compare("style", "style", STYLES)
        folded = {folded: ethnicity.upper() for ethnicity, folded in ETHNICITIES.items()} | {
            "unheard": "unheard"
        }
        compare("ethnicity", "ethnicity_folded", folded)
        compare("project_id", "project_id", {project: project for project in self.projects})
        if some() < 0.3:
            sources = self.random.sample([*SOURCES], k=choose([1, 2]))
            filters["source_types"] = [SOURCES[source] for source in sources]
            conditions.append(lambda row: row["source_type"] in sources)
        if some() < 0.6:
            words = [self._word() for _ in range(choose([1, 1, 2, 3]))]
            filters["query"] = " ".join(map(self._variant, words))
            conditions.append(lambda row: all(word in row["search_text"] for word in words))
        return filters, conditions

    def _word(self) -> str:
        """Return a part of a search text, in one of five cases one that no text contains."""
        if self.random.random() < 0.2:
            return "".join(self.random.choices("aelstvxq%_写", k=self.random.choice([1, 2, 4])))
        word = self.random.choice(" ".join([*PIECES.values(), "quetzalcoatl"]).split())
        start = self.random.randrange(len(word))
        return word[start : start + self.random.randint(1, 6)]

    def _variant(self, word: str) -> str:
        return self.random.choice([word, word.upper(), word.translate(ACCENTS)])

    def listed(self, filters: Row) -> list[str]:
        """Return the ids of all pages of a list."""
        return self.calls.list_avatar_ids(filters, PAGE)


@pytest.fixture(params=["embedded", "distributed"])
def gallery(request: pytest.FixtureRequest, user: str) -> Iterator[Gallery]:
    """A user with many avatars, on each database."""
    deployment: Deployment = request.getfixturevalue(request.param)
    deployment.start_server()
    with Calls(deployment.target, deployment.token(user)) as calls:
        yield Gallery(deployment, user, calls)


UNDO_0016 = {
    "embedded": (
        "DROP TRIGGER avatar_search_insert",
        "DROP TRIGGER avatar_search_update",
        "DROP TRIGGER avatar_search_delete",
        "DROP TABLE avatar_search_words",
        "DROP TABLE avatar_search",
        "DROP INDEX avatars_project_last_used",
    ),
    "distributed": (
        "DROP TRIGGER avatar_search_write ON avatars",
        "DROP TABLE avatar_search",
        "DROP FUNCTION avatar_search_write, avatar_search_tokens, avatar_search_wanted",
        "DROP INDEX avatars_project_last_used",
    ),
}
"""Statements that undo migrations 0016 and 0017."""


def fill_as_an_earlier_version(gallery: Gallery, number: int) -> None:
    """Add avatars that only the migration adds to the searches, and check that searches find them."""
    deployment = gallery.deployment
    for statement in UNDO_0016["embedded" if deployment.is_embedded else "distributed"]:
        deployment.execute(statement)
    deployment.execute("DELETE FROM avatar_creator_migrations WHERE name LIKE '0016%' OR name LIKE '0017%'")
    gallery.fill(number)

    outcome = deployment.run_command("migrate")

    assert outcome.returncode == 0, outcome.stderr
    assert "applied 0017" in outcome.stdout
    ids = sorted((row["id"] for row in gallery.rows() if "quetzal" in row["search_text"]), reverse=True)
    assert len(ids) in range(1, PAGE)
    assert gallery.listed({"query": RARE}) == ids
    assert gallery.listed({"gender": Gender.GENDER_NON_BINARY}) == ids


def test_a_list_has_exactly_the_avatars_that_pass_its_filters(gallery: Gallery) -> None:
    fill_as_an_earlier_version(gallery, MANY // 2)
    gallery.fill(MANY // 2)
    gallery.change()
    rows = sorted(gallery.rows(), key=lambda row: str(row["id"]), reverse=True)
    never = datetime.min.replace(tzinfo=UTC)
    by_use = sorted(rows, key=lambda row: (row["last_used_time"] or never, row["id"]), reverse=True)
    numbers: set[int] = set()

    orders = (
        (avatars_pb.AVATAR_ORDER_NEWEST_FIRST, rows),
        (avatars_pb.AVATAR_ORDER_LAST_USED_FIRST, by_use),
    )
    for _ in range(SEARCHES):
        filters, conditions = gallery.search()
        order, ordered = gallery.random.choice(orders)
        expected = [row["id"] for row in ordered if all(passes(row) for passes in conditions)]
        assert gallery.listed({**filters, "order": order}) == expected, filters
        numbers.add(min(len(expected), PAGE + 1))

    # There were lists without avatars, with few of many, and of several pages.
    assert {0, PAGE + 1} < numbers
