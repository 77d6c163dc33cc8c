"""What the tests of the transport share: events to send, and a server that can answer anything at all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Final

from producttelemetry._event import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

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
