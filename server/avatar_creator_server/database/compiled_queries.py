"""Statements that Peewee builds once: each run gives the parameters, and reads rows by position.

Peewee takes several times as long to build a statement as PostgreSQL takes to run it. For each alias of a
table, it even makes a class for every field. So a statement whose text is always the same is built once for
each kind of database. A function that builds statements of several forms, for example a list with optional
filters, is decorated with `compiled`: it runs once for each form.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

import peewee

from avatar_creator_server.database.models.base import UtcDateTimeField, database_proxy
from avatar_creator_server.database.records import field_names, maker

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_FORMS = 512
"""Maximum number of forms of one function that stay built."""

Row = tuple[Any, ...]
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound="DataclassInstance")


class _Parameter:
    """The place of a value that each run gives."""

    def __init__(self, name: str, field: peewee.Field | None) -> None:
        self.name = name
        self.field = field


def parameter(name: str, field: peewee.Field | None = None) -> Any:
    """Return the place of a value in a statement that is compiled.

    Args:
        name: Name of the value when the statement runs.
        field: Field whose encoding the value needs, such as a time; None for a text or a number.
    """
    # The converter False keeps Peewee from encoding the place itself.
    return peewee.Value(_Parameter(name, field), converter=False)


def _encoder(field: peewee.Field | None) -> Callable[[Any], Any] | None:
    """Return the function that encodes values of a field for the current kind of database, if any."""
    match field:
        case peewee.JSONField():
            return _json  # Peewee's own encoding is a part of a query, not a value.
        case UtcDateTimeField() if not database_proxy.for_update:  # SQLite
            return field.db_value
        case _:
            return None


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def parameters(name: str, count: int) -> list[Any]:
    """Return the places of several values: `name0`, `name1` and so on, as `numbered` names them."""
    return [parameter(f"{name}{number}") for number in range(count)]


def in_no_index(column: Any) -> Any:
    """Return the value of a text column as an expression for which the database chooses no index.

    For the owner in a query of rows by their ids. PostgreSQL takes one look into an index of the user's rows
    for cheaper than a look for each id, and then reads the entries of all rows of the user.
    """
    return column.concat("")


def padded(values: Sequence[T]) -> Sequence[T]:
    """Return a set of values, with the last one repeated up to a power of two, so that few forms suffice."""
    return [*values, *[values[-1]] * ((1 << (len(values) - 1).bit_length()) - len(values))]


def numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return values by the names of their places."""
    return {f"{name}{number}": value for number, value in enumerate(values)}


class Columns:
    """The columns of a query's rows, and where they are."""

    def __init__(self, query: Any) -> None:
        """Read the columns that a query selects."""
        self._places: dict[tuple[Any, str], tuple[int, peewee.Field | None]] = {}
        for place, column in enumerate(query._returning):
            match column:
                case peewee.FieldAlias():
                    self._places[column.source, column.field.column_name] = place, column.field
                case peewee.Field():
                    self._places[column.model, column.column_name] = place, column
                case peewee.Alias() | peewee.Column():
                    self._places[None, column.name] = place, None
                case _:
                    self._places[None, column._alias] = place, None

    def getter(self, name: str, source: Any = None) -> Callable[[Row], Any]:
        """Return the function that reads a column from a row.

        Args:
            name: Name of the column, or of the alias of an expression.
            source: Model, or alias of a model; None for an expression.
        """
        place, decode = self._places[source, name][0], self._decoder(name, source)
        return itemgetter(place) if decode is None else lambda row: decode(row[place])

    def reader(self, kind: type[R], source: Any, **given: Callable[[Row], Any]) -> Callable[[Row], R]:
        """Return the function that makes a record of a row.

        Args:
            kind: The dataclass of the record.
            source: Model, or alias of a model, whose columns have the names of the fields.
            given: Functions that read the other fields from a row.
        """
        return self._maker(maker(kind), [(name, source) for name in field_names(kind)], given)

    def named(self) -> Callable[[Row], Any]:
        """Return the function that gives a row's values the names of their columns, as attributes.

        For queries of one model, and expressions with an alias.
        """
        kind: Any = namedtuple("Row", [name for _, name in self._places])  # type: ignore[misc]
        return self._maker(kind, [(name, source) for source, name in self._places], {})

    def _decoder(self, name: str, source: Any) -> Callable[[Any], Any] | None:
        """Return the function that decodes the values of a column; None if the driver does."""
        field = self._places[source, name][1]
        decodes = isinstance(field, UtcDateTimeField | peewee.JSONField | peewee.BooleanField)
        return field.python_value if decodes else None  # type: ignore[union-attr]

    def _maker(
        self,
        kind: Callable[..., T],
        columns: Sequence[tuple[str, Any]],
        given: Mapping[str, Callable[[Row], Any]],
    ) -> Callable[[Row], T]:
        """Return the function that makes a value of a row's columns, each by its name and its source."""
        # Written out as `dataclass` does, because a call for each column would be most of the work.
        names: dict[str, Any] = {"kind": kind}
        arguments = []
        for number, (name, source) in enumerate(columns):
            if name in given:
                names[f"get{number}"] = given[name]
                arguments.append(f"get{number}(row)")
                continue
            place, decode = self._places[source, name][0], self._decoder(name, source)
            names[f"decode{number}"] = decode
            arguments.append(f"decode{number}(row[{place}])" if decode else f"row[{place}]")
        make: Callable[[Row], T] = eval(f"lambda row: kind({', '.join(arguments)})", names)
        return make


def by_name(read: Callable[[Any], T]) -> Callable[[Columns], Callable[[Row], T]]:
    """Return how to read rows with a function that reads the columns as attributes, such as `from_row`."""

    def reader(columns: Columns) -> Callable[[Row], T]:
        named = columns.named()
        return lambda row: read(named(row))

    return reader


class Statement(NamedTuple):
    """A statement with its values, ready to run."""

    sql: str
    values: list[Any]
    by_key: bool
    """See `CompiledStatement`."""


class _Built(NamedTuple):
    """A statement for one kind of database."""

    sql: str
    constants: list[Any]
    """The values of the statement, with None in the places of those that each run gives."""
    given: list[tuple[int, str, Callable[[Any], Any] | None]]
    """Place, name and encoding of each value that a run gives."""

    @classmethod
    def of(cls, sql: str, values: list[Any]) -> _Built:
        """Take what Peewee has built."""
        given = [
            (place, value.name, _encoder(value.field))
            for place, value in enumerate(values)
            if isinstance(value, _Parameter)
        ]
        return cls(sql, [None if isinstance(value, _Parameter) else value for value in values], given)


class CompiledStatement:
    """A statement that is built, with places for values."""

    def __init__(self, query: Any, *, by_key: bool = False) -> None:
        """Take a query with `parameter`s, which is built with the first run.

        Args:
            query: The query.
            by_key: True for a query that finds each row by its key, so that one plan is the best for all
                values. PostgreSQL keeps that plan. To plan a query takes it several times as long as to run
                it, but the best plan of a list depends on the user, and on how many rows the user has.
        """
        self._query = query
        self._by_key = by_key
        self._built: dict[type[Any], _Built] = {}

    def given(self, **values: Any) -> Statement:
        """Return the statement with these values of its parameters."""
        return self._filled(values)

    def _filled(self, values: dict[str, Any]) -> Statement:
        kind = type(database_proxy.obj)
        built = self._built.get(kind)
        if built is None:
            built = self._built[kind] = _Built.of(*self._query.sql())
        filled = built.constants.copy()
        for place, name, encode in built.given:
            value = values[name]
            filled[place] = value if encode is None else encode(value)
        return Statement(built.sql, filled, self._by_key)

    def run(self, **values: Any) -> Any:
        """Run the statement in this database job, and return the driver's cursor."""
        return run_together(self.given(**values))


class CompiledInsert(CompiledStatement):
    """The INSERT of one row, with a place for each column."""

    def __init__(
        self, model: Any, change: Callable[[Any], Any] = lambda query: query, **expressions: Any
    ) -> None:
        """Take the model of the table.

        Args:
            model: The model.
            change: Adds to the INSERT what it does at a conflict, and what it returns.
            expressions: Values of columns that the database computes, by name of column.
        """
        fields = [field for field in model._meta.sorted_fields if field.column_name not in expressions]
        places = {field: parameter(field.column_name, field) for field in fields}
        super().__init__(change(model.insert(places, **expressions)), by_key=True)
        defaults = {field.column_name: field.default for field in fields}
        self._made = {name: default for name, default in defaults.items() if callable(default)}
        """Functions that make the defaults of each row."""
        self._defaults = defaults | dict.fromkeys(self._made)

    def given(self, **values: Any) -> Statement:
        """Return the statement with these values by name of column, and the defaults of the others."""
        return self._filled(self._complete(values))

    def row(self, **values: Any) -> Any:
        """Return the row that `given` inserts, with its columns as attributes."""
        return SimpleNamespace(**self._complete(values))

    def of_row(self, row: Any) -> Statement:
        """Return the statement that inserts a row of `row`."""
        return self._filled(vars(row))

    def _complete(self, values: dict[str, Any]) -> dict[str, Any]:
        complete = self._defaults | values
        if len(complete) != len(self._defaults):
            unknown = values.keys() - self._defaults.keys()
            raise ValueError(f"the statement has no {', '.join(sorted(unknown))}")
        for name, make in self._made.items():
            if name not in values:
                complete[name] = make()
        return complete


class CompiledQuery(CompiledStatement, Generic[T]):
    """A SELECT that is built, and the function that reads its rows."""

    def __init__(
        self, query: Any, read: Callable[[Columns], Callable[[Row], T]], *, by_key: bool = False
    ) -> None:
        """Take a query with `parameter`s, which is built with the first run.

        Args:
            query: The query.
            read: Returns the function that reads a row.
            by_key: See `CompiledStatement`.
        """
        super().__init__(query, by_key=by_key)
        self._read = read(Columns(query))

    def rows(self, **values: Any) -> list[T]:
        """Run the query in this database job with these values of its parameters."""
        return list(map(self._read, self.run(**values)))

    def first(self, **values: Any) -> T | None:
        """Run the query, and return its first row; None without rows."""
        return next(iter(self.rows(**values)), None)


def run_together(*statements: Statement) -> Any:
    """Run several statements in their order, and return the driver's cursor of the last one.

    PostgreSQL receives all of them at once, so they cost one round trip. After one fails, no later one runs.
    """
    return database_proxy.obj.execute_together(statements)


def run_later(*statements: Statement) -> None:
    """Run statements of the current transaction whose results are not needed.

    PostgreSQL receives them together with the next statement, or with the commit, so they cost no round trip.
    The locks that they take are held for a shorter time. An error appears there too, or at the end of their
    savepoint. Outside a transaction, the statements run at once.
    """
    database_proxy.obj.execute_later(statements)


def run_last(*statements: Statement) -> Any:
    """Run the last statements of the current transaction, and return the driver's cursor of the last one.

    The transaction ends with them: no statement may change anything after them. If they are also its first
    ones, PostgreSQL makes one transaction of them without BEGIN and COMMIT, in one round trip.
    """
    return database_proxy.obj.execute_last(statements)


def compiled(build: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that builds a statement, so that it runs once for each combination of arguments."""
    return lru_cache(maxsize=_FORMS)(build)  # type: ignore[return-value]  # lru_cache has no ParamSpec
