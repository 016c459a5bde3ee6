"""Problems of Redis, in sentences of ours."""

from __future__ import annotations

import os
import re
import socket
import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

_NO_DATABASE = re.compile("DB index", re.IGNORECASE)


def refuses(error: Exception) -> bool:
    """Return whether Redis answers, but not to these settings. A Redis that is away may come back."""
    if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
        return True
    return isinstance(error, ResponseError) and _NO_DATABASE.search(str(error)) is not None


def redis_problem(error: Exception) -> str:
    """Return why Redis cannot be used, as part of a sentence that begins with Redis."""
    # The library's own texts contain Python's `[Errno 111] Connect call failed ('::1', 6379, 0, 0)`.
    match error:
        case AuthenticationError():
            return "it refuses the user or the password"
        case ResponseError():
            return "it refuses a command: check the user's permissions and the number of the database"
        case TimeoutError() | RedisTimeoutError():
            return "it does not answer in time"
    match error.__cause__ or error.__context__ or error:
        case ssl.SSLCertVerificationError() as cause:
            return f"its certificate is not trusted: {cause.verify_message}"
        case ssl.SSLError():
            return "the TLS handshake failed, as with a server without TLS"
        case OSError(errno=int(number)) if number > 0:
            return f"no connection to its address: {os.strerror(number)}"
        case socket.gaierror():
            return "its host name cannot be resolved"
    return "no connection to its address"
