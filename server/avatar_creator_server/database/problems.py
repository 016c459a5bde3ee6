"""Problems of a database, in sentences of ours: the driver's words can have addresses and names of users."""

from __future__ import annotations

import re

_NO_FREE_CONNECTION = (
    "too many connections|too many clients|max_client_conn|query_wait_timeout|remaining connection slots"
)

NO_FREE_CONNECTION = (
    "PostgreSQL or its pooler has no free connection: this process waits and tries again; raise "
    "max_connections (or the pooler's limits), or lower DATABASE_CONNECTIONS of servers and workers"
)
"""Sentence for the log and for `doctor`."""

_PROBLEMS = (
    (r"password authentication failed|no password supplied", "it refuses the user or the password"),
    (r"no pg_hba\.conf entry|is not permitted to log in", "it does not let this user or machine connect"),
    (r"permission denied for", "the user may not do this in it"),
    (r"database.*does not exist", "there is no database with this name"),
    (r"role.*does not exist", "there is no user with this name"),
    (r"could not translate host name", "its host name cannot be resolved"),
    (r"connection refused", "nothing listens at its address"),
    (r"timeout expired|timed out", "it does not answer in time"),
    (r"no route to host|network is unreachable", "its network cannot be reached"),
    (_NO_FREE_CONNECTION, "it has no free connection"),
    ("unsupported startup parameter", "its pooler refuses a parameter of the connection, such as options"),
    (r"starting up|shutting down|in recovery", "it is starting or stopping"),
    (r"ssl|certificate", "the TLS connection to it cannot be made"),
    (r"server closed the connection|connection reset", "it closed the connection"),
    (r"unable to open database file", "its file cannot be opened"),
    (r"readonly database|attempt to write a readonly", "its file cannot be written"),
    (r"file is not a database|malformed", "its file is not a SQLite database or is damaged"),
    (r"disk is full|no space left", "its disk is full"),
    (r"database is locked", "another process has locked it"),
)
"""Patterns of the drivers' words in lower case, and our words for them. The first one found counts."""


def database_problem(error: BaseException) -> str:
    """Return why the database cannot be used, as part of a sentence that begins with the database.

    Args:
        error: The error of the driver or of peewee, or a `TimeoutError`.
    """
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    words = str(error).lower()
    found = (problem for pattern, problem in _PROBLEMS if re.search(pattern, words, re.DOTALL))
    return next(found, "it reports an error")


def sql_state(error: BaseException) -> str | None:
    """Return PostgreSQL's error code behind an error of peewee; None if PostgreSQL gave no answer."""
    return getattr(error.__cause__ or error.__context__, "pgcode", None)


def has_no_free_connection(error: BaseException) -> bool:
    """Return whether PostgreSQL or its pooler refused a connection because it has none left.

    While a client connects, the driver knows no error code, so the words must say it.

    Args:
        error: The error of the driver or of peewee.
    """
    return bool(re.search(_NO_FREE_CONNECTION, str(error).lower()))
