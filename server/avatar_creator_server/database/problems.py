"""Problems of a database, in sentences of ours: the driver's words can have addresses and names of users."""

from __future__ import annotations

_PROBLEMS = (
    (("password authentication failed", "no password supplied"), "it refuses the user or the password"),
    (("no pg_hba.conf entry", "is not permitted to log in"), "it does not let this user or machine connect"),
    (("permission denied for",), "the user may not do this in it"),
    (("database", "does not exist"), "there is no database with this name"),
    (("role", "does not exist"), "there is no user with this name"),
    (("could not translate host name",), "its host name cannot be resolved"),
    (("connection refused",), "nothing listens at its address"),
    (("timeout expired", "timed out"), "it does not answer in time"),
    (("no route to host", "network is unreachable"), "its network cannot be reached"),
    (("too many connections", "too many clients"), "it has no free connection"),
    (("starting up", "shutting down", "in recovery"), "it is starting or stopping"),
    (("ssl", "certificate"), "the TLS connection to it cannot be made"),
    (("server closed the connection", "connection reset"), "it closed the connection"),
    (("unable to open database file",), "its file cannot be opened"),
    (("readonly database", "attempt to write a readonly"), "its file cannot be written"),
    (("file is not a database", "malformed"), "its file is not a SQLite database or is damaged"),
    (("disk is full", "no space left"), "its disk is full"),
    (("database is locked",), "another process has locked it"),
)
"""Words of the drivers in lower case, and our words for them. The first row that fits counts."""


def database_problem(error: BaseException) -> str:
    """Return why the database cannot be used, as part of a sentence that begins with the database.

    Args:
        error: The error of the driver or of peewee, or a `TimeoutError`.
    """
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    words = str(error).lower()
    for signs, problem in _PROBLEMS:
        # A name may stand between the two words of these rows.
        found = all if "does not exist" in signs else any
        if found(sign in words for sign in signs):
            return problem
    return "it reports an error"
