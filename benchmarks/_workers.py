"""Sides in processes of their own: what one leaves behind (threads, garbage, caches) does not slow another down.

A child is forked from this process, which has imported nothing but the standard library and has no threads, gets a home
directory of its own, and ends without running anybody's exit handlers.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar

from ._harness import Times, timed
from ._programs import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.connection import Connection
    from threading import Barrier

Result = TypeVar("Result")
#: Prepares a side and returns the call to be measured. Runs in the child.
Opener: TypeAlias = "Callable[[], Callable[[], object]]"

#: Seconds that a child may take for what it is asked; far beyond anything measured here.
_PATIENCE: Final = 600.0
#: Number of calls that ends a worker.
_STOP: Final = -1
_fork = multiprocessing.get_context("fork")


class Failed(Exception):  # noqa: N818  # a state
    """The child raised an exception; the message says which."""


class Worker:
    """One side that waits for its turns.

    Args:
        opener: prepares the side, in the child.
        home: the child's home directory; created.
    """

    def __init__(self, opener: Opener, home: str) -> None:
        self._opener = opener
        self._home = home

    def __enter__(self) -> Self:
        self._ours, theirs = _fork.Pipe()
        self._process = _fork.Process(target=_serve, args=(self._opener, self._home, theirs), daemon=True)
        self._process.start()
        theirs.close()
        _receive(self._ours)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it has failed and gone
            self._ours.send(_STOP)  # closing is not enough: workers forked later hold a copy
        self._ours.close()
        self._process.join()

    def __call__(self, calls: int) -> Times:
        """Make so many calls; return the time of each in microseconds."""
        self._ours.send(calls)
        return [time / 1000 for time in _receive(self._ours)]


@contextlib.contextmanager
def workers(openers: dict[str, Opener], place: str) -> Generator[dict[str, Worker]]:
    """Have a worker for each side, with a home of its own below a directory."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(Worker(opener, os.path.join(place, f"home-{number}")))
            for number, (name, opener) in enumerate(openers.items())
        }


def in_child(function: Callable[[], Result], home: str) -> Result:
    """Run a function in a child with that home; return its result.

    Raises:
        Failed: it raised an exception.
    """
    process, _, ours = _start(function, home)
    try:
        result: Result = _receive(ours)
    finally:
        process.join()
    return result


def together(
    opener: Opener,
    home: str,
    processes: int,
    work: Callable[[Callable[[], object]], Result],
    meddle: Callable[[list[int]], object] = len,
) -> list[Result]:
    """Run one side in several processes that share a home and start at the same moment; return what each found.

    Args:
        opener: prepares the side, in each child.
        home: of all of them.
        processes: how many.
        work: what each does with the call that the opener returned.
        meddle: what this process does to them meanwhile, from the common start on; gets their process ids.
    """
    in_child(partial(_once, opener), home)  # SQLite does not wait for its turn where several create one file
    barrier = _fork.Barrier(processes + 1)
    with _several(partial(_join_in, opener, work, barrier), home, processes) as children:
        with contextlib.suppress(threading.BrokenBarrierError):  # a child tells why
            barrier.wait(_PATIENCE)
            meddle([pid for _, pid, _ in children])
        return [_receive(ours) for _, _, ours in children]


@contextlib.contextmanager
def _several(function: Callable[[], Any], home: str, processes: int) -> Generator[list[tuple[Any, int, Connection]]]:
    children = [_start(function, home) for _ in range(processes)]
    try:
        yield children
    except BaseException:  # also Ctrl-C: one of them may stand still
        for process, _, _ in children:
            process.kill()
        raise
    finally:
        for process, _, _ in children:
            process.join()


def _once(opener: Opener) -> None:
    opener()()


def _join_in(opener: Opener, work: Callable[[Callable[[], object]], Result], barrier: Barrier) -> Result:
    try:
        call = opener()
        call()  # opens files; every later call is like the others
    except BaseException:
        barrier.abort()  # nobody needs to wait any longer
        raise
    barrier.wait(_PATIENCE)
    return work(call)


def _start(function: Callable[[], Any], home: str) -> tuple[Any, int, Connection]:
    """Start a child; return it, its process id and where its result will come from."""
    ours, theirs = _fork.Pipe()
    process = _fork.Process(target=_run, args=(function, home, theirs), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None
    return process, process.pid, ours


def _settle_in(home: str) -> None:
    os.makedirs(home, exist_ok=True)
    wanted = environment(home)
    os.environ.clear()
    os.environ.update(wanted)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what the libraries complain about; our own failures go through the pipe


def _run(function: Callable[[], Any], home: str, connection: Connection) -> None:
    _settle_in(home)
    try:
        connection.send((True, function()))
    except BaseException as error:  # noqa: BLE001  # the parent has to hear of it
        connection.send((False, f"{type(error).__name__}: {error}"))
    os._exit(0)


def _serve(opener: Opener, home: str, connection: Connection) -> None:
    _settle_in(home)
    try:
        call = opener()
        connection.send((True, None))
        while (calls := connection.recv()) != _STOP:
            connection.send((True, timed(call, calls)))
    except BaseException as error:  # noqa: BLE001  # the parent has to hear of it
        connection.send((False, f"{type(error).__name__}: {error}"))
    os._exit(0)


def _receive(connection: Connection) -> Any:
    if not connection.poll(_PATIENCE):
        raise Failed("no answer")
    done, value = connection.recv()
    if not done:
        raise Failed(value)
    return value
