"""The statements that a database has received, read from the log of its PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ENTRY = re.compile(r"^\d{4}-\d\d-\d\d [\d:.]+ \w+ \[(\d+)\] (\w+): +(.*)$")
_STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)", re.DOTALL)
_PREPARE = re.compile(r"PREPARE (\w+)(?: \([^)]*\))? AS (.*)", re.DOTALL | re.IGNORECASE)
_EXECUTE = re.compile(r"EXECUTE (\w+)", re.IGNORECASE)
_VALUES = re.compile(r"(?:P|p)arameters: (.*)", re.DOTALL)
_PLACE = re.compile(r"\$\d+")
_VALUE = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")

_TOKEN = re.compile(
    r"""(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')|(?P<name>"[^"]*")|(?P<number>\b\d+(?:\.\d+)?\b)|(?P<end>;)""",
    re.DOTALL,
)
_TABLE = re.compile(r'(?:FROM|INTO|UPDATE) "(\w+)"')
_REPEATED = re.compile(r"(\?|\(\?(?:, \?)*\))(?:, \1)+")


@dataclass(frozen=True, slots=True)
class Received:
    """A statement that PostgreSQL received."""

    sql: str
    """Text with its values, as it can run again."""
    prepared: str = ""
    """The PREPARE before an EXECUTE; empty for other statements."""

    @property
    def form(self) -> str:
        """The text without its values, which is the same for statements that differ only in these."""
        prepare = _PREPARE.match(self.prepared)
        sql = prepare[2] if prepare else self.sql
        text = _TOKEN.sub(lambda token: token[0] if token["name"] else "?", _PLACE.sub("1", sql))
        return _REPEATED.sub(r"\1, …", " ".join(text.split()))

    @property
    def subject(self) -> str:
        """The kind of the statement, and its first table."""
        form = self.form
        table = _TABLE.search(form)
        return f"{form.split()[0]} {table[1] if table else ''}"


class StatementLog:
    """The log of a PostgreSQL whose database has `log_statement = all`."""

    def __init__(self, path: Path) -> None:
        """Take the file. Only statements that arrive from now on are read."""
        self._path = path
        self._place = path.stat().st_size
        self._prepared: dict[tuple[str, str], str] = {}
        """The PREPARE of each session and name."""

    def read_new(self) -> list[Received]:
        """Return the statements since the last call, oldest first, without BEGIN, COMMIT and the like."""
        with self._path.open("rb") as file:
            file.seek(self._place)
            added = file.read()
        complete = added[: added.rfind(b"\n") + 1]
        self._place += len(complete)
        return [
            received
            for received in self._received(complete.decode(errors="replace"))
            if received.sql.split(maxsplit=1)[0].upper()
            in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "EXECUTE")
        ]

    def _received(self, text: str) -> Iterator[Received]:
        entries = list(_entries(text))
        for number, (session, level, message) in enumerate(entries):
            found = _STATEMENT.match(message) if level == "LOG" else None
            if found is None:
                continue
            sql = found[1]
            following = entries[number + 1] if number + 1 < len(entries) else ("", "", "")
            if following[1] == "DETAIL" and (values := _VALUES.match(following[2])):
                sql = _with_values(sql, values[1])
            for part in _parts(sql):
                if prepare := _PREPARE.match(part):
                    self._prepared[session, prepare[1]] = part
                execute = _EXECUTE.match(part)
                yield Received(part, self._prepared[session, execute[1]] if execute else "")


def _with_values(sql: str, values: str) -> str:
    given = dict(_VALUE.findall(values))
    return re.sub(r"\$(\d+)", lambda place: given[place[1]], sql)


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield session, level and message of each entry. The further lines of a message begin with a tab."""
    session, level, lines = "", "", list[str]()
    for line in text.splitlines():
        if line.startswith("\t"):
            lines.append(line[1:])
            continue
        if level:
            yield session, level, "\n".join(lines)
        entry = _ENTRY.match(line)
        session, level, lines = (entry[1], entry[2], [entry[3]]) if entry else ("", "", [])
    if level:
        yield session, level, "\n".join(lines)


def _parts(sql: str) -> Iterator[str]:
    """Yield the statements of a text that has several, with semicolons between them."""
    start = 0
    for token in _TOKEN.finditer(sql):
        if token["end"]:
            yield sql[start : token.start()].strip()
            start = token.end()
    if last := sql[start:].strip():
        yield last
