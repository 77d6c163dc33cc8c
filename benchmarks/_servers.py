"""What the sides send to, on the loopback interface, each in a process of its own: three that act, and one real one.

- `answering`: reads HTTP and accepts everything, after a delay if asked; the bodies that the SDK's protocol and its
  peers expect are the same one. It parses no JSON, so it is as fast as a server can be, and counts what comes.
- `hanging`: accepts connections and never says a word.
- `refusing`: a port that is bound and does not listen, so connecting is refused at once.
- `collector`: the package's own local collector with its SQLite file; nobody looks at its page.
"""

from __future__ import annotations

import contextlib
import gzip
import multiprocessing
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection

#: Connections that may wait to be accepted.
_BACKLOG: Final = 1024
#: What every client here understands as success.
_REPLY: Final = b'{"accepted": %d, "rejected": 0, "success": true, "status": 1, "code": 200}'
_PART: Final = 1 << 18
#: What the events of all sides are called, as it stands in a body once for each.
_NAME: Final = b'"command.executed"'
_fork = multiprocessing.get_context("fork")


class Counts(NamedTuple):
    """What has arrived.

    Attributes:
        wire_bytes: heads and bodies of all requests.
        requests: how many were answered.
        events: by their name.
    """

    wire_bytes: int
    requests: int
    events: int


class Server:
    """A server that runs.

    Args:
        port: where, on 127.0.0.1.
        counters: shared with the process that serves.
    """

    def __init__(self, port: int, counters: Any = None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._counters = counters

    def counts(self) -> Counts:
        """Return what has arrived so far; zeros where nothing does, and for the collector, which counts itself."""
        return Counts(0, 0, 0) if self._counters is None else Counts(*self._counters)


@contextlib.contextmanager
def refusing() -> Generator[Server]:
    """Have a port at which connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Server(bound.getsockname()[1])


@contextlib.contextmanager
def hanging() -> Generator[Server]:
    """Have a server that accepts and says nothing."""
    with _serving(_hang) as server:
        yield server


@contextlib.contextmanager
def answering(delay: float = 0.0) -> Generator[Server]:
    """Have a server that accepts everything.

    Args:
        delay: seconds from the end of a request to its answer.
    """
    with _serving(lambda connection, counters: _answer(connection, counters, delay)) as server:
        yield server


@contextlib.contextmanager
def collector(store: str) -> Generator[Server]:
    """Have the local collector.

    Args:
        store: its SQLite file.
    """
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=_collect, args=(store, ours, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Server(int(ours.recv().rpartition(":")[2]))
    finally:
        ours.close()
        process.join()


def _collect(store: str, parents: Connection, connection: Connection) -> None:
    from producttelemetry.collector import RunningCollector  # noqa: PLC0415  # not in the parent process

    parents.close()
    with RunningCollector(store=store) as running:
        connection.send(running.url)
        with contextlib.suppress(EOFError):
            connection.recv()
        connection.close()
    os._exit(0)


@contextlib.contextmanager
def _serving(act: Callable[[socket.socket, Any], None]) -> Generator[Server]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    counters = _fork.Array("q", 3, lock=True)
    process = _fork.Process(target=_accept, args=(listener, act, counters), daemon=True)
    process.start()
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield Server(port, counters)
    finally:
        process.terminate()
        process.join()


def _accept(listener: socket.socket, act: Callable[[socket.socket, Any], None], counters: Any) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_guarded, args=(act, connection, counters), daemon=True).start()


def _guarded(act: Callable[[socket.socket, Any], None], connection: socket.socket, counters: Any) -> None:
    with connection, contextlib.suppress(OSError):  # clients come and go
        act(connection, counters)


def _hang(connection: socket.socket, counters: Any) -> None:
    del counters
    while connection.recv(_PART):
        pass


def _answer(connection: socket.socket, counters: Any, delay: float) -> None:
    data = bytearray()
    while head := _head(connection, data):
        whole = len(head) + _length(head)
        if not _fill(connection, data, whole):
            return
        events = _events(head, data, whole)
        with counters.get_lock():
            for index, number in enumerate((whole, 1, events)):
                counters[index] += number
        del data[:whole]
        time.sleep(delay)
        closes = b"connection: close" in head
        connection.sendall(_response(_REPLY % events, closes=closes))
        if closes:
            return


def _head(connection: socket.socket, data: bytearray) -> bytes:
    """Read to the end of a request's head; return it in lower case, or nothing if there is no more request."""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if not (part := connection.recv(_PART)):
            return b""
        data += part
    head = bytes(data[: end + 4]).lower()
    if b"expect: 100-continue" in head:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    return head


def _fill(connection: socket.socket, data: bytearray, whole: int) -> bool:
    """Read until there are so many bytes; return whether they came."""
    while len(data) < whole:
        if not (part := connection.recv(_PART)):
            return False
        data += part
    return True


def _events(head: bytes, data: bytearray, whole: int) -> int:
    if b"content-encoding: gzip" not in head:
        return data.count(_NAME, len(head), whole)
    return gzip.decompress(bytes(data[len(head) : whole])).count(_NAME)


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _response(body: bytes, *, closes: bool) -> bytes:
    connection = b"close" if closes else b"keep-alive"
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n%s" % (
        len(body),
        connection,
        body,
    )
