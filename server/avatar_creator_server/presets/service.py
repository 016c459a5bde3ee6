"""The gallery of presets and persona examples, which is the same for all users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from avatar_creator_server.database import models
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.text_search import fold
from avatar_creator_server.errors import NotFoundError
from avatar_creator_server.presets.records import PersonaExample, Preset
from avatar_creator_server.shared.caller import Caller
from avatar_creator_server.shared.paging import Page, Pager


class Gallery:
    """Reads presets and persona examples."""

    def __init__(self, database: Database, pager: Pager) -> None:
        self._database = database
        self._pager = pager

    async def presets(
        self,
        caller: Caller,
        *,
        category: str,
        query: str,
        with_images: bool,
        page_size: int,
        page_token: str,
    ) -> Page[Preset]:
        """Read a page of presets that match all given filters, most popular first."""
        return await self._pager.read(
            (caller.user_id, "presets", category, query),
            lambda limit, cursor: self._presets(category, query, with_images, limit, cursor),
            lambda last: [str(last.popularity), last.id],
            page_size=page_size,
            page_token=page_token,
        )

    async def preset(self, preset_id: str) -> Preset:
        """Read a preset with its picture.

        Raises:
            NotFoundError: There is no such preset.
        """

        def query() -> Preset:
            row = models.AvatarPreset.get_or_none(models.AvatarPreset.id == preset_id)
            if row is None:
                raise NotFoundError("preset", preset_id)
            return Preset.from_row(row)

        return await self._database.read(query)

    async def persona_examples(
        self, caller: Caller, *, category: str, page_size: int, page_token: str
    ) -> Page[PersonaExample]:
        """Read a page of persona examples, most used first."""
        return await self._pager.read(
            (caller.user_id, "persona examples", category),
            lambda limit, cursor: self._persona_examples(category, limit, cursor),
            lambda last: [str(last.use_count), last.id],
            page_size=page_size,
            page_token=page_token,
        )

    async def persona_example(self, persona_example_id: str) -> PersonaExample:
        """Read a persona example.

        Raises:
            NotFoundError: There is no such persona example.
        """

        def query() -> PersonaExample:
            row = models.PersonaExample.get_or_none(models.PersonaExample.id == persona_example_id)
            if row is None:
                raise NotFoundError("persona example", persona_example_id)
            return PersonaExample.from_row(row)

        return await self._database.read(query)

    @staticmethod
    def _presets(
        category: str, query: str, with_images: bool, limit: int, cursor: Sequence[str] | None
    ) -> list[Preset]:
        preset = models.AvatarPreset
        columns = [
            column for column in preset._meta.sorted_fields if with_images or column is not preset.image
        ]
        rows = _most_chosen_first(preset.select(*columns), preset, preset.popularity, category, cursor)
        for word in query.split():
            rows = rows.where(preset.search_text.contains(fold(word)))
        return [Preset.from_row(row) for row in rows.limit(limit)]

    @staticmethod
    def _persona_examples(category: str, limit: int, cursor: Sequence[str] | None) -> list[PersonaExample]:
        example = models.PersonaExample
        rows = _most_chosen_first(example.select(), example, example.use_count, category, cursor)
        return [PersonaExample.from_row(row) for row in rows.limit(limit)]


def _most_chosen_first(
    query: Any, table: Any, count: Any, category: str, cursor: Sequence[str] | None
) -> Any:
    """Filter and sort a query: by `count`, highest first, and then by id, oldest first."""
    if category:
        query = query.where(table.category == category)
    if cursor is not None:
        number, last_id = int(cursor[0]), cursor[1]
        query = query.where((count < number) | ((count == number) & (table.id > last_id)))
    return query.order_by(count.desc(), table.id)
