"""`avatar-creator` for a shell: a fork of the process of `warm_start`, with the shell's streams."""

from __future__ import annotations

# Nothing else: the imports of this program are most of the cost of its command.
import json
import os
import socket
import sys


def main(address: str, *arguments: str) -> int:
    """Run a command of the service to its end; return its exit status as a shell does."""
    request = [["avatar_creator_server.cli", *arguments], dict(os.environ), os.environ["PWD"]]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(f"\0{address}")
        socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
        connection.recv(64)  # the id of the process
        code = os.waitstatus_to_exitcode(int(connection.recv(64)))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
