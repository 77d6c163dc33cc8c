"""`_lock.Lock`: excludes descriptors, threads and processes alike, and waits no longer than it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, closing, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _lock
from producttelemetry._lock import LONGEST_QUEUE, Lock
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Takes the lock, says so, and keeps it until its input ends.
PROGRAM = """
import sys
from producttelemetry._lock import Lock
lock = Lock(sys.argv[1])
print(lock.acquire(0.0), flush=True)
sys.stdin.read()
"""


class _Time:
    """A clock that only sleeping moves; something may happen in each sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self.meanwhile: Callable[[], object] = int

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps.append(seconds)
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Time:
    """The time of the module."""
    made = _Time()
    tokens = iter(range(10**9))
    names = {"monotonic": made.monotonic, "sleep": made.sleep, "monotonic_ns": lambda: next(tokens)}
    monkeypatch.setattr(_lock, "time", SimpleNamespace(**names))
    return made


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Callable[[], Lock]]:
    """Make locks of one path, each with a descriptor of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Lock(str(tmp_path / "lock"))))


def holder(path: str) -> subprocess.Popen[str]:
    """Start a process that holds a lock."""
    command = [sys.executable, "-c", PROGRAM, path]
    return subprocess.Popen(command, cwd=harness.ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_two_descriptors_exclude_each_other(lock: Callable[[], Lock]) -> None:
    """In one process, too, one of two has the lock; the other gets it when it is given back, in whichever way."""
    first, second = lock(), lock()
    for give_back in (first.release, first.close):
        assert [True, False] == [first.acquire(0.0), second.acquire(0.0)]
        assert [True, False] == [first.held, second.held]
        give_back()
        assert [False, True] == [first.held, second.acquire(0.0)]
        second.release()


def test_leaving_a_block_releases(lock: Callable[[], Lock]) -> None:
    """Also by an exception; releasing and closing what is not held does nothing."""
    first, second = lock(), lock()
    with suppress(ZeroDivisionError), first:
        first.acquire(0.0)
        raise ZeroDivisionError
    assert second.acquire(0.0)
    first.release()
    first.close()
    first.close()
    assert second.held
    assert not first.acquire(0.0)


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_two_processes_exclude_each_other(end: str, lock: Callable[[], Lock]) -> None:
    """While another process lives it keeps the lock; the kernel gives it back however that process ends."""
    mine = lock()
    with holder(mine.path) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert "True\n" == child.stdout.readline()
        assert not mine.acquire(0.0)
        if end == "leaves":
            child.stdin.close()
        else:
            child.send_signal(signal.SIGKILL)
        child.wait()
        assert mine.acquire(0.0)


def test_a_process_cannot_take_what_we_hold(lock: Callable[[], Lock]) -> None:
    """The other way round: another process does not get our lock."""
    mine = lock()
    assert mine.acquire(0.0)
    with holder(mine.path) as child:
        assert child.stdout is not None
        assert "False\n" == child.stdout.readline()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_neither_keeps_nor_breaks_the_lock(lock: Callable[[], Lock]) -> None:
    """The child's copy is closed without unlocking; and the parent can release although a child has a copy."""
    mine, other = lock(), lock()
    assert mine.acquire(0.0)
    child_reads, we_write = os.pipe()
    we_read, child_writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(we_write)
        copy = os.dup(mine.descriptor)
        mine.forget()
        os.write(child_writes, b"forgotten")
        os.read(child_reads, 1)  # until the parent closes it
        os.close(copy)
        os._exit(0)
    try:
        assert b"forgotten" == os.read(we_read, 100)
        assert not other.acquire(0.0), "the child has unlocked what is the parent's"
        mine.release()
        assert other.acquire(0.0), "the child's copy keeps the lock"
    finally:
        os.close(we_write)
        os.waitpid(child, 0)
        for descriptor in (child_reads, we_read, child_writes):
            os.close(descriptor)


@pytest.mark.parametrize("again", [False, True], ids=["not there", "held by another"])
def test_a_lock_file_that_was_deleted_while_held(again: bool, lock: Callable[[], Lock]) -> None:
    """The next `acquire` locks the file that has the name now, so that it excludes those who come later."""
    first, second, third = lock(), lock(), lock()
    assert first.acquire(0.0)
    os.unlink(first.path)
    if again:
        assert second.acquire(0.0)
    first.release()
    assert (not again) is first.acquire(0.01)
    second.release()
    assert first.acquire(0.01)
    assert not third.acquire(0.0)
    assert os.fstat(first.descriptor).st_ino == os.stat(first.path).st_ino


def test_a_lock_file_that_was_deleted_is_free(lock: Callable[[], Lock]) -> None:
    """Who asks without waiting gets a lock that nobody holds, also when the file is another one by now."""
    mine = lock()
    assert mine.acquire(0.0)
    mine.release()
    os.unlink(mine.path)
    assert mine.acquire(0.0)


def test_a_host_that_closes_all_descriptors(lock: Callable[[], Lock], tmp_path: Path) -> None:
    """When the number of our descriptor has become a file of the host's, that file is neither locked nor closed."""
    mine, other = lock(), lock()
    assert mine.acquire(0.0)
    number = mine.descriptor
    os.close(number)
    with open(tmp_path / "theirs", "wb") as theirs:
        os.dup2(theirs.fileno(), number)
    assert mine.acquire(0.0)
    assert number != mine.descriptor
    assert not other.acquire(0.0)
    mine.close()
    os.write(number, b"x")
    os.close(number)
    assert other.acquire(0.0)


def test_a_directory_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A lock that cannot be had for another reason than a holder says so, and leaves no descriptor behind."""
    mine = Lock(str(tmp_path / "missing" / "lock"))
    with pytest.raises(FileNotFoundError):
        mine.acquire(1.0)
    assert [False, -1] == [mine.held, mine.descriptor]


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "least"), [(0.0, 0.0), (-1.0, 0.0), (0.1, 0.1), (0.5, 0.5)])
def test_waiting_ends(timeout: float, least: float, lock: Callable[[], Lock], clock: _Time) -> None:
    """Somebody who does not give the lock back is waited for as long as was said, and 0 does not wait at all."""
    mine = lock()
    lock().acquire(0.0)
    assert not mine.acquire(timeout)
    assert least <= sum(clock.sleeps) <= least * 1.01
    assert not mine.held


def test_nobody_waits_twice_for_the_same_holder(lock: Callable[[], Lock], clock: _Time) -> None:
    """A holder who was stopped costs one wait; another holder is waited for again."""
    theirs, mine = lock(), lock()
    theirs.acquire(0.0)
    assert not mine.acquire(0.1)
    waited = len(clock.sleeps)
    assert not mine.acquire(0.1)
    assert waited == len(clock.sleeps)
    theirs.release()
    theirs.acquire(0.0)
    assert not mine.acquire(0.1)
    assert waited < len(clock.sleeps)
    theirs.release()
    assert mine.acquire(0.0)


def test_a_lock_that_is_given_back_is_taken(lock: Callable[[], Lock], clock: _Time) -> None:
    """Waiting ends with the lock as soon as it is free."""
    theirs, mine = lock(), lock()
    theirs.acquire(0.0)

    def give_back() -> None:
        if len(clock.sleeps) == 5:
            theirs.release()

    clock.meanwhile = give_back
    assert mine.acquire(10.0)
    assert 5 == len(clock.sleeps)


def test_a_lock_that_changes_hands_is_waited_for(lock: Callable[[], Lock], clock: _Time) -> None:
    """While holders come and go it is right to wait on, beyond the time for one of them, but not for ever."""
    theirs, mine = lock(), lock()
    theirs.acquire(0.0)

    def change_hands() -> None:
        theirs.release()
        theirs.acquire(0.0)

    clock.meanwhile = change_hands
    assert not mine.acquire(0.05)
    assert LONGEST_QUEUE <= sum(clock.sleeps) <= LONGEST_QUEUE * 1.01
