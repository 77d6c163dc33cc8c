"""A process that is stopped while it holds the spool's lock: nobody waits for it twice, and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _files as files
from producttelemetry._spool import Directory, Reader, Writer
from producttelemetry._spool._directory import LOCK_WAIT
from tests import harness
from tests.test_spool import line, states

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of one destination."""
    return tmp_path / "spool" / "v1" / "destination"


@contextmanager
def stopped_holder(place: Path) -> Generator[Callable[[], None]]:
    """Have a process take the lock and be stopped; gives a function that lets it go on and end."""
    directory = Directory(str(place))
    directory.create({})
    child = os.fork()
    if child == 0:
        directory.lock.acquire(5.0)
        os.kill(os.getpid(), signal.SIGSTOP)
        directory.lock.release()
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    gone = False

    def go_on() -> None:
        nonlocal gone
        gone = True
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)

    try:
        yield go_on
    finally:
        if not gone:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.fixture
def make(place: Path) -> Iterator[Callable[[int], Writer]]:
    """Make writers on the spool."""
    made: list[Writer] = []

    def writer(cap: int) -> Writer:
        made.append(Writer(Directory(str(place)), {}, cap, "drop_oldest"))
        return made[-1]

    yield writer
    for each in made:
        each._segment.abandon()


def test_events_are_durable_without_the_lock_while_there_is_room(place: Path, make: Callable[[int], Writer]) -> None:
    """The names show free slots: events go to the disk all the same, and only the first call waits."""
    with stopped_holder(place):
        writer = make(1000)
        waits: list[float] = []
        for number in range(100):
            started = time.monotonic()
            writer.append(line(number))
            waits.append(time.monotonic() - started)
        assert list(range(100)) == harness.numbers(harness.events(place))
        assert 0 == writer.volatile
        assert [0] == [number for number, wait in enumerate(waits) if wait >= LOCK_WAIT]


def test_a_full_queue_is_exceeded_by_one_step_at_most(place: Path, make: Callable[[int], Writer]) -> None:
    """Durability goes before the cap by one step; then events wait in memory, and come back when the lock does."""
    with stopped_holder(place) as go_on:
        writer = make(10)
        for number in range(15):
            writer.append(line(number))
        assert 10 <= len(harness.events(place)) <= 11
        assert 15 == len(harness.events(place)) + writer.volatile
        go_on()
        assert writer.seal(last=True)
    assert 0 == writer.volatile
    dropped = Directory(str(place)).ledger().dropped["overflow"]
    assert 15 == len(harness.events(place)) + dropped
    assert list(range(dropped, 15)) == harness.numbers(harness.events(place))


def test_a_process_that_ends_meanwhile_leaves_everything_on_disk(place: Path, make: Callable[[int], Writer]) -> None:
    """At the end of a process what waits in memory is written, cap or not: it would be gone otherwise."""
    with stopped_holder(place):
        writer = make(10)
        for number in range(15):
            writer.append(line(number))
        assert not writer.seal(last=True)
        assert list(range(15)) == harness.numbers(harness.events(place))


def test_a_holder_that_is_killed_gives_way_at_once(place: Path, make: Callable[[int], Writer]) -> None:
    """The kernel drops the lock of the dead: the next reservation is an ordinary one."""
    writer = make(1000)
    with stopped_holder(place):
        writer.append(line(0))
    for number in range(1, 40):
        writer.append(line(number))
    writer.seal()
    assert [("ready", 40)] == states(place)
    harness.assert_sound(place, 1000)


def test_nobody_takes_a_segment_that_is_being_created_without_the_lock(place: Path) -> None:
    """Between creating and naming a file is locked already: who cleans up takes it only if its maker is dead."""
    directory = Directory(str(place))
    directory.create({})
    alive = place / "00000001-aaaa.0.15.tmp"
    dead = place / "00000002-bbbb.0.15.tmp"
    alive.touch()
    dead.touch()
    maker = os.open(alive, os.O_RDWR)
    assert files.try_lock(maker)
    Reader(directory).recover()
    assert [alive.name] == harness.segments(place)
    os.close(maker)
    directory.close()


def test_a_busy_lock_is_waited_for(place: Path, make: Callable[[int], Writer]) -> None:
    """A lock that changes hands all the time is no reason to go beyond the cap, even if the wait gets longer."""
    directory = Directory(str(place))
    directory.create({})
    ready, to_us = os.pipe()
    children: list[int] = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os.write(to_us, b"x")
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                if directory.lock.acquire(1.0):
                    time.sleep(0.03)
                    directory.lock.release()
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready, 1)
    writer = make(1)
    for number in range(4):
        writer.append(line(number))
        assert len(harness.events(place)) <= 1
    for child in children:
        os.waitpid(child, 0)
    os.close(ready)
    os.close(to_us)
    directory.close()
