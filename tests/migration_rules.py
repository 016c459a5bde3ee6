"""Rules for migrations on PostgreSQL, so that none keeps the service's queries waiting: for `make check`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_CREATED_TABLE = re.compile(r"create table (?:if not exists )?(\w+)")
_INDEXED_TABLE = re.compile(r"create (?:unique )?index (?:if not exists )?\w+ on (\w+)")
_REFERENCED_TABLE = re.compile(r"\breferences (\w+)")
_CHANGED_TABLE = re.compile(r"(?:alter|drop) table (?:if exists )?(?:only )?(\w+)")
_LOCKS = (
    (re.compile(r"(?:alter|drop) table (?:if exists )?(?:only )?(\w+)"), "access exclusive"),
    (re.compile(r"create (?:constraint )?trigger .*? on (\w+)"), "share row exclusive"),
    (re.compile(r"\breferences (\w+)"), "share row exclusive"),
    (re.compile(r"(?:insert into|delete from|^update|\) update) (\w+)"), "row exclusive"),
)
"""Tables of a statement, and its locks on them. Source: PostgreSQL's manual, "Explicit Locking"."""
_LOCK_TABLE = re.compile(r"lock table (?:only )?([\w, ]+) in (.+) mode")
_STRENGTHS = (
    "row exclusive",
    "share update exclusive",
    "share",
    "share row exclusive",
    "exclusive",
    "access exclusive",
)
"""Locks that a writer may wait for, or may keep others waiting for, from the weakest."""
_WRITE = re.compile(r"(?:with\b.*\b)?(?:insert into|update|delete from)\b")
_READ = re.compile(r"(?:select|set local|savepoint|release)\b")
_SCANS = (
    (
        "alter table",
        "set not null",
        "add a CHECK constraint as NOT VALID, and validate it in a later migration",
    ),
    ("alter table", " type ", "add a new column, and fill it in the background"),
    ("alter table", "add primary key", "build a unique index concurrently, and use that"),
    ("alter table", "add unique", "build a unique index concurrently, and use that"),
    ("alter table", "add constraint", "add it as NOT VALID, and validate it in a later migration"),
    ("reindex", "", "use avatar_creator_migrations.indexes"),
    ("drop index", "", "use avatar_creator_migrations.indexes"),
    ("cluster", "", "it locks the table for as long as it runs"),
    ("vacuum full", "", "it locks the table for as long as it runs"),
)
"""Statements that lock a table for as long as they read it: beginning, later part, and what to do instead."""


def violations(name: str, statements: Iterable[str], *, atomic: bool) -> Iterator[str]:
    """Yield a sentence for each statement of a migration that would keep the service's queries waiting.

    Args:
        name: Name of the migration.
        statements: The SQL that it ran on PostgreSQL.
        atomic: True if it ran in a transaction.
    """
    created: set[str] = set()
    first_locks: dict[str, str] = {}
    locking = ""
    for statement in statements:
        text = " ".join(statement.replace('"', "").casefold().split())
        created.update(_CREATED_TABLE.findall(text))
        if _READ.match(text) or "avatar_creator_migrations" in text:
            continue
        if not atomic:
            writes_batch = _WRITE.match(text) and " limit " in text
            if "concurrently" not in text and not writes_batch:
                yield (
                    f"{name}: outside a transaction, only build and drop indexes concurrently, "
                    f"and write rows in batches with LIMIT: {text}\n"
                )
            continue
        for table, lock in _locks(text):
            first = first_locks.setdefault(table, lock)
            if table not in created and _STRENGTHS.index(lock) > _STRENGTHS.index(first):
                yield (
                    f"{name}: lock {table} IN {lock.upper()} MODE first, or use two migrations: a "
                    f"transaction that waits for the earlier lock may hold what this one waits for: {text}\n"
                )
        indexed = _INDEXED_TABLE.match(text)
        if indexed and indexed[1] not in created:
            yield (
                f"{name}: an index on an existing table must be built concurrently, "
                f"with avatar_creator_migrations.indexes: {text}\n"
            )
        if locking and _WRITE.match(text):
            yield (
                f"{name}: write rows before it, or in the background: `{locking}` keeps a table locked "
                f"until the end of the transaction: {text}\n"
            )
        locked = {*_CHANGED_TABLE.findall(text), *_REFERENCED_TABLE.findall(text)}
        if locked - created:
            locking = text
        for beginning, part, advice in _SCANS:
            if text.startswith(beginning) and part in text and "not valid" not in text:
                yield f"{name}: {advice}: {text}\n"


def _locks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the tables that a statement locks against writers or writes, with the kind of the lock."""
    if text.startswith("create function"):
        return  # Its body runs later.
    if named := _LOCK_TABLE.match(text):
        for table in named[1].split(","):
            yield table.strip(), named[2]
    for pattern, lock in _LOCKS:
        for table in pattern.findall(text):
            yield table, lock
