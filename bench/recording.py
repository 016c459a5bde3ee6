"""Records the statements that a process sends to PostgreSQL, at the socket: any driver, any code."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 64 * 1024
_SSL_REQUEST, _GSS_REQUEST = 80_877_103, 80_877_104
"""Codes of the requests before a session, each answered with one byte (PostgreSQL's manual, section 54.7)."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PREPARE = re.compile(r"PREPARE \w+ AS .*?(?=; (?:PREPARE|EXECUTE) |$)", re.DOTALL)
"""A statement that prepares another. It has places for values, and so no text that could look like SQL."""


@dataclass(slots=True)
class Session:
    """The statements of one connection."""

    transactions: list[list[str]] = field(default_factory=lambda: [[]])
    """Statements by transaction, the running one last."""
    seconds: float = 0.0
    """Time that PostgreSQL took for the statements so far."""
    prepared: list[str] = field(default_factory=list)
    """Statements of forgotten transactions that prepared others."""

    _sent_at: float = 0.0

    def sent(self, statement: str) -> None:
        """Add a statement to the running transaction."""
        self.transactions[-1].append(statement)
        self._sent_at = time.perf_counter()

    def answered(self, *, is_idle: bool) -> None:
        """Take the time of a statement, and end the transaction if there is none any longer."""
        if self._sent_at:
            self.seconds += time.perf_counter() - self._sent_at
            self._sent_at = 0.0
        if is_idle and self.transactions[-1]:
            self.transactions.append([])

    def forget(self) -> None:
        """Forget the transactions so far, except what they prepared."""
        for transaction in self.transactions:
            for statement in transaction:
                self.prepared += _PREPARE.findall(statement)
        self.transactions = [[]]


class Recorder:
    """A proxy in front of PostgreSQL that keeps the text of every statement."""

    def __init__(self, url: str) -> None:
        """Listen, and forward to the host and port of `url`."""
        self._parts = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.sessions: list[Session] = []
        threading.Thread(target=self._accept, name="recorder", daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the database through this proxy."""
        user = f"{self._parts.username}:{self._parts.password}@"
        port = self._listener.getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{port}"))

    @property
    def count(self) -> int:
        """Number of statements so far."""
        return sum(len(each) for session in list(self.sessions) for each in list(session.transactions))

    @property
    def seconds(self) -> float:
        """Time that PostgreSQL took for all statements so far."""
        return sum(session.seconds for session in list(self.sessions))

    def transaction_with(self, text: str) -> tuple[list[str], list[str]]:
        """Return the statements of the first transaction that has this text, and what its session prepared.

        Raises:
            LookupError: No transaction has the text.
        """
        for session in self.sessions:
            for transaction in session.transactions:
                if any(text in statement for statement in transaction):
                    return transaction, session.prepared
        raise LookupError(f"no transaction with {text}")

    def close(self) -> None:
        """Stop to accept connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self._parts.hostname or "", self._parts.port or 0))
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session()
            self.sessions.append(session)
            requests = _Requests(session)
            threading.Thread(target=_pump, args=(client, server, requests.feed), daemon=True).start()
            answers = _Answers(session, requests)
            threading.Thread(target=_pump, args=(server, client, answers.feed), daemon=True).start()


def with_new_ids(statements: Sequence[str], kept: Collection[str]) -> list[list[str]]:
    """Return each statement in parts, of which every second one is an id that each call makes again.

    Args:
        statements: The statements.
        kept: Ids of rows that exist.
    """
    split = []
    for statement in statements:
        parts, place = [""], 0
        for found in _ID.finditer(statement):
            parts[-1] += statement[place : found.start()]
            if found[0] in kept:
                parts[-1] += found[0]
            else:
                parts += [found[0], ""]
            place = found.end()
        parts[-1] += statement[place:]
        split.append(parts)
    return split


class _Requests:
    """Reads the messages of a client (PostgreSQL's manual, section 54.7)."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bytes = bytearray()
        self._has_begun = False
        self.answers_of_one_byte = 0

    def feed(self, data: bytes) -> None:
        self._bytes += data
        prefix = 1 if self._has_begun else 0
        while len(self._bytes) >= prefix + 4:
            size = prefix + int.from_bytes(self._bytes[prefix : prefix + 4])
            if len(self._bytes) < size:
                return
            message = bytes(self._bytes[:size])
            del self._bytes[:size]
            if self._has_begun:
                self._read(message)
            elif int.from_bytes(message[4:8]) in (_SSL_REQUEST, _GSS_REQUEST):
                self.answers_of_one_byte += 1
            else:
                self._has_begun, prefix = True, 1

    def _read(self, message: bytes) -> None:
        if message[:1] == b"Q":
            self._session.sent(message[5:-1].decode())


class _Answers:
    """Reads the messages of the server, for the ends of transactions."""

    def __init__(self, session: Session, requests: _Requests) -> None:
        self._session = session
        self._requests = requests
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        self._bytes += data
        while self._requests.answers_of_one_byte and self._bytes:
            self._requests.answers_of_one_byte -= 1
            del self._bytes[:1]
        place = 0
        while len(self._bytes) >= place + 5:
            size = 1 + int.from_bytes(self._bytes[place + 1 : place + 5])
            if len(self._bytes) < place + size:
                break
            if self._bytes[place : place + 1] == b"Z":  # ReadyForQuery, and I outside a transaction
                self._session.answered(is_idle=self._bytes[place + 5 : place + 6] == b"I")
            place += size
        del self._bytes[:place]


def _pump(source: socket.socket, sink: socket.socket, feed: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK_BYTES):
            feed(data)
            sink.sendall(data)
    for side in (source, sink):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def recording(url: str) -> Iterator[Recorder]:
    """Record while the context is open."""
    recorder = Recorder(url)
    try:
        yield recorder
    finally:
        recorder.close()
