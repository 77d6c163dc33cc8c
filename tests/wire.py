"""What the tests of sending share: events to send, a server that can answer anything at all, relays to a real one."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import socketserver
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

from producttelemetry._event import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, Self

CLIENT: Final = "11111111-1111-4111-8111-111111111111"
ENCODER: Final = Encoder(CLIENT, "22222222-2222-4222-8222-222222222222", {})
LINE: Final = ENCODER.event("test.event", {"number": 1}, "usage", None)


def soon(seconds: float = 5.0) -> float:
    """Return a deadline."""
    return time.monotonic() + seconds


class RawServer:
    """A server on a loopback port that hands each connection, its request read, to a function: a context manager.

    Args:
        answer: writes to the connection whatever it likes; it is closed afterwards.
        reads: whether the request is read first.

    Attributes:
        base: what a `Transport` is given.
        requests: the bytes of each request.
        leaving: set when the server stops; an answer that takes its time waits for it.
    """

    def __init__(self, answer: Callable[[socket.socket], object], *, reads: bool = True) -> None:
        self.answer = answer
        self._reads = reads
        self.requests: list[bytes] = []
        self.leaving = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}/api"
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        # Closing a socket does not wake who accepts on it.
        with socket.create_connection(("127.0.0.1", self.port)):
            self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection = self._listener.accept()[0]
            with connection, contextlib.suppress(OSError):
                if self.leaving.is_set():
                    return
                connection.settimeout(10)
                if self._reads:
                    self.requests.append(read_request(connection))
                self.answer(connection)

    def drip(self, data: bytes, connection: socket.socket, *, seconds: float = 3.0) -> None:
        """Send one piece of data again and again, every 20 ms, until the client leaves or the time is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.leaving.wait(0.02):
            connection.sendall(data)


class Script:
    """What a `RawServer` answers: a list of answers, then always the last one; None resets the connection.

    Attributes:
        exchanges: each request with its answer.
    """

    def __init__(self, server: RawServer, answers: Iterable[bytes | None]) -> None:
        self._server = server
        self._left = list(answers)
        self.exchanges: list[tuple[bytes, bytes | None]] = []

    def __call__(self, connection: socket.socket) -> None:
        """Answer one request."""
        data = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        self.exchanges.append((self._server.requests[-1], data))
        if data is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.sendall(data)

    def sent(self) -> list[list[dict[str, Any]]]:
        """Return the events of each request."""
        return [events_of(request) for request, _ in self.exchanges]


def events_of(request: bytes) -> list[dict[str, Any]]:
    """Return the events in a request; a link of a user is one."""
    value = json.loads(request.partition(b"\r\n\r\n")[2])
    events: list[dict[str, Any]] = value.get("events", [value])
    return events


def read_request(connection: socket.socket) -> bytes:
    """Read a request to its end."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0 or len(data) < end + 4 + _length(data[:end]):
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    return data


def _length(head: bytes) -> int:
    found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(found[0].partition(b":")[2]) if found else 0


# --- relays: many connections at a time -----------------------------------------------------------------------------


@contextlib.contextmanager
def listening(handle: Callable[[socket.socket], object]) -> Generator[int]:
    """Hand each connection on a loopback port to a function, in a thread of its own; give the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(10)
            with contextlib.suppress(OSError):  # whoever connects may leave at any time
                handle(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, request: bytes) -> bytes:
    """Send a request to a port of this machine; return the answer, up to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as upstream:
        upstream.sendall(request)
        return b"".join(iter(lambda: upstream.recv(65536), b""))


def tunnel(one: socket.socket, other: socket.socket) -> None:
    """Pass on what comes from either side until one of them leaves."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while ready := selector.select(10):
            for key, _ in ready:
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # a socket, as registered above
                if not data:
                    return
                key.data.sendall(data)
