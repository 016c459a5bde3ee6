"""The filters of a list of avatars, and the indexes that find the few of many avatars that pass them.

The table `avatar_search` has the words and attributes of all avatars. Triggers of the database keep it up to
date: see migration 0016.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peewee import OP, SQL, Expression, NodeList, Table, fn

from avatar_creator_server.avatars.records import AvatarFilter
from avatar_creator_server.database.compiled_queries import numbered, parameter, parameters
from avatar_creator_server.database.text_search import contained, fold

_INDEXED = Table("avatar_search")
_INDEXED_WORDS = Table("avatar_search_words")
_NO_WORDS = SQL("'{}'")
_SQLITE_LETTERS = 3
"""Number of letters of the shortest word that SQLite's index finds."""


def in_query(avatar_id: Any, query: Any, is_postgresql: bool) -> Any:
    """Return the condition that an id is among those of a query."""
    # As an array, so that PostgreSQL reads the avatars by their ids, however many it expects.
    return avatar_id == fn.ANY(fn.ARRAY(query)) if is_postgresql else avatar_id.in_(query)


def in_scope(scope: str, avatar: Any) -> Iterator[Any]:
    """Yield the condition for an avatar to belong to the user or the project of a list.

    A project has one user. With a condition for the user too, PostgreSQL may choose the user's index.

    Args:
        scope: See `SearchForm.scope`.
        avatar: The model of avatars, or the columns of a table or query of them.
    """
    if scope:
        yield getattr(avatar, scope) == parameter(scope)


@dataclass(frozen=True, slots=True)
class SearchForm:
    """The properties of a search that change the text of its query."""

    scope: str
    """Column that has the same value in all avatars of the list; empty for the avatars of all users."""
    source_types: int
    traits: tuple[str, ...]
    """Columns that the list compares with a value."""
    words: int
    has_long_words: bool
    """True if SQLite's index finds some of the words."""

    def can_use_index(self, is_postgresql: bool) -> bool:
        """Return whether an index finds the avatars."""
        return bool(
            self.source_types or self.traits or (self.words if is_postgresql else self.has_long_words)
        )

    def conditions(self, avatar: Any) -> Iterator[Any]:
        """Yield the conditions that an avatar passes.

        Args:
            avatar: The model of avatars, or the columns of a table or query of them.
        """
        if self.source_types:
            yield avatar.source_type.in_(parameters("source_type", self.source_types))
        for column in self.traits:
            yield getattr(avatar, column) == parameter(column)
        for pattern in parameters("pattern", self.words):
            yield Expression(avatar.search_text, OP.ILIKE, NodeList((pattern, SQL("ESCAPE '!'"))))

    def is_found(self, avatar_id: Any, is_postgresql: bool) -> Any:
        """Return the condition that an index finds an avatar of the list's scope.

        The index also finds some that do not pass the filters.
        """
        found = self._found_on_postgresql() if is_postgresql else self._found_on_sqlite()
        return in_query(avatar_id, found, is_postgresql)

    def _found_on_postgresql(self) -> Any:
        row = _INDEXED.c
        # The expression of the index.
        tokens = fn.avatar_search_tokens(
            row.user_id,
            row.project_id,
            row.source_type,
            row.gender,
            row.age_range,
            row.style,
            row.ethnicity_folded,
            row.search_text,
        )
        scope, words = parameter("scope"), parameter("words")
        all_of = fn.avatar_search_wanted(scope, parameter("scoped_traits"), words)
        found = _INDEXED.select(row.avatar_id).where(
            *in_scope(self.scope, row), Expression(tokens, "@>", all_of)
        )
        if self.source_types:
            one_of = fn.avatar_search_wanted(scope, parameter("scoped_source_types"), _NO_WORDS)
            found = found.where(Expression(tokens, "&&", one_of))
        return found

    def _found_on_sqlite(self) -> Any:
        row = _INDEXED.c
        found = _INDEXED.select(row.avatar_id).where(*in_scope(self.scope, row), *self.conditions(row))
        if self.has_long_words:
            matches = Expression(SQL("avatar_search_words"), "MATCH", parameter("match"))
            numbers = _INDEXED_WORDS.select(_INDEXED_WORDS.c.rowid).where(matches)
            found = found.where(row.number.in_(numbers))
        return found


@dataclass(frozen=True, slots=True)
class Search:
    """The words and attributes that a list searches for, folded like the columns."""

    scope: str
    """See `SearchForm.scope`."""
    scope_id: str
    """Value of this column."""
    source_types: tuple[str, ...]
    traits: dict[str, str]
    """Values by column."""
    words: tuple[str, ...]

    @classmethod
    def of_filters(cls, filters: AvatarFilter, user_id: str) -> Search:
        """Return the search of a list.

        Args:
            filters: The filters of the list.
            user_id: User of all avatars in the list; empty for the avatars of all users.
        """
        values = {
            "gender": filters.gender,
            "age_range": filters.age_range,
            "style": filters.style,
            # A text that folds to nothing is not an ethnicity, and must not find any avatar.
            "ethnicity_folded": fold(filters.ethnicity) or filters.ethnicity,
        }
        return cls(
            scope="project_id" if filters.project_id else "user_id" if user_id else "",
            scope_id=filters.project_id or user_id,
            source_types=filters.source_types,
            traits={column: value for column, value in values.items() if value},
            words=tuple(filter(None, map(fold, filters.query.split()))),
        )

    @property
    def form(self) -> SearchForm:
        """The form of the query."""
        return SearchForm(
            scope=self.scope,
            source_types=len(self.source_types),
            traits=tuple(self.traits),
            words=len(self.words),
            has_long_words=bool(self._long_words),
        )

    def values(self) -> dict[str, Any]:
        """Return the values of the query's parameters, on both databases."""
        traits = [f"{column}={value}" for column, value in self.traits.items()]
        phrases = [word.replace('"', '""') for word in self._long_words]
        return {
            **self.traits,
            **numbered("source_type", self.source_types),
            **numbered("pattern", list(map(contained, self.words))),
            "scope": f"{self.scope}={self.scope_id}" if self.scope else "",
            # Each avatar of the scope has the empty attribute.
            "scoped_traits": traits or [""],
            "scoped_source_types": [f"source_type={source_type}" for source_type in self.source_types],
            "words": list(self.words),
            "match": " AND ".join(f'"{phrase}"' for phrase in phrases),
        }

    @property
    def _long_words(self) -> list[str]:
        return [word for word in self.words if len(word) >= _SQLITE_LETTERS]
