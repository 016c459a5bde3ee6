"""Copies of rows, because creating thousands of resources through calls would take minutes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.support.service import Deployment

Row = dict[str, Any]

_ROWS_PER_STATEMENT = 500


def copy_row(deployment: Deployment, table: str, original: Row, copies: list[Row]) -> None:
    """Insert copies of a row, each with its own values in some columns.

    Args:
        deployment: The service.
        table: The table.
        original: Columns and values that identify the row to copy.
        copies: The columns and values of each copy that differ. All have the same columns.
    """
    condition = " AND ".join(f"original.{column} = %s" for column in original)
    (row,) = deployment.execute(f"SELECT * FROM {table} AS original WHERE {condition}", *original.values())
    own = list(copies[0]) if copies else []
    is_time = {column: isinstance(row[column], datetime) for column in own}

    def source_of(column: str) -> str:
        if column not in own:
            return f"original.{column}"
        # Without the cast, PostgreSQL takes a column of times or numbers for text.
        is_cast = is_time[column] and not deployment.is_embedded  # SQLite would make a number of a time
        return f"CAST(copy.{column} AS TIMESTAMPTZ)" if is_cast else f"copy.{column}"

    for start in range(0, len(copies), _ROWS_PER_STATEMENT):
        some = copies[start : start + _ROWS_PER_STATEMENT]
        places = ", ".join(["(" + ", ".join(["%s"] * len(own)) + ")"] * len(some))
        # Materialized, because SQLite would look for the original again for each copy.
        deployment.execute(
            f"WITH original AS MATERIALIZED (SELECT * FROM {table} AS original WHERE {condition}),"
            f" copy ({', '.join(own)}) AS (VALUES {places}) INSERT INTO {table} ({', '.join(row)})"
            f" SELECT {', '.join(map(source_of, row))} FROM original, copy",
            *original.values(),
            *(copy[column] for copy in some for column in own),
        )
