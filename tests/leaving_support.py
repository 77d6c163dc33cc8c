"""What the tests of leaving share: servers that hang in every phase, processes measured to the end of their pipe."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests import harness, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from typing import Self

MODULE = "tests.children_leaving"
#: Every way to leave: each `on_exit`, and the calls that come before.
WAYS = ("auto", "detach", "wait", "keep", "flush", "shutdown", "with")
#: Servers that are there and answer nothing useful.
HANGING = ("connect", "tls", "silent", "reply", "trickle")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"


class Left(NamedTuple):
    """How a process has left.

    Attributes:
        seconds: from the moment in which it began to leave to the end of the pipe that it wrote to.
        sent: it has done the sending itself.
    """

    seconds: float
    sent: bool


def leave(settings: dict[str, Any], **options: Any) -> Left:
    """Run a process that leaves, and read its pipe to the end."""
    process = harness.start("leave", json.dumps(settings), MODULE, **options)
    return measure(process)


def measure(process: Any) -> Left:
    """Read the pipe of a process that leaves to the end."""
    with process:
        output = process.stdout.read()
        ended = time.monotonic()
    assert 0 == process.returncode
    started, sent = (json.loads(line) for line in output.splitlines())
    return Left(ended - started, sent)


def together(run: Callable[[Any], Any], settings: Sequence[Any], at_once: int = 12) -> list[Any]:
    """Run several at once; return what became of each, in order."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(run, settings))


def senders() -> list[int]:
    """Return the detached senders of this test, known by the home directory in their environment."""
    home = f"HOME={os.environ['HOME']}".encode()
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as command, open(f"/proc/{name}/environ", "rb") as environment:
                if b"_detached" in command.read() and home in environment.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def children(parent: int) -> list[int]:
    """Return the processes that a process has started and that are still there."""
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == parent:
                found.append(int(name))
    return found


@pytest.fixture
def no_sender_stays() -> Iterator[None]:
    """End what was left behind with a server that hangs."""
    yield
    for process in senders():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    harness.wait_until(lambda: senders() == [])


class Crowd:
    """A server that serves any number of connections at once, each by a function in a thread; a context manager.

    Attributes:
        connections: how many there were.
        leaving: set when the server stops; a function that takes its time waits for it.
    """

    def __init__(self, serve: Callable[[socket.socket, Crowd], object]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.leaving = Event()
        self._threads = [Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaving.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts, on Linux
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                self._threads.append(Thread(target=self._answer, args=(connection,)))
                self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        with connection, suppress(OSError):
            self._serve(connection, self)


def _stop_in_the_middle(connection: socket.socket, crowd: Crowd) -> None:
    wire.read_request(connection)
    connection.sendall(_HEAD + b'{"acc')
    crowd.leaving.wait()


def _trickle(connection: socket.socket, crowd: Crowd) -> None:
    """Go on and on, so that no single read takes long."""
    wire.read_request(connection)
    connection.sendall(_HEAD)
    while not crowd.leaving.wait(0.2):
        connection.sendall(b" ")


@contextmanager
def hanging(phase: str) -> Generator[str]:
    """Run a server that hangs in one phase; give its URL."""
    if phase in {"reply", "trickle"}:
        with Crowd(_stop_in_the_middle if phase == "reply" else _trickle) as crowd:
            yield crowd.url
        return
    # The kernel accepts for a socket that only listens, until its backlog is full.
    with socket.create_server(("127.0.0.1", 0), backlog=0 if phase == "connect" else 64) as listener:
        place = listener.getsockname()
        waiting: list[socket.socket] = []
        while phase == "connect" and (not waiting or _is_connected(waiting[-1])):
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.3)
            with suppress(TimeoutError):
                waiting[-1].connect(place)
        try:
            yield f"{'https' if phase == 'tls' else 'http'}://127.0.0.1:{place[1]}"
        finally:
            for connection in waiting:
                connection.close()


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
