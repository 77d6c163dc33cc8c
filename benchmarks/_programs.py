"""Whole programs: start one in an interpreter of its own, measure it to the end of its pipe, and what it leaves behind.

Time counts from before the program is started. A program that leaves a process behind (a detached sender) has ended for
the shell when it ended itself, and for `program | less` when the last copy of its standard output is closed; both are
measured. What it left behind becomes our child, since we ask the kernel for that (PR_SET_CHILD_SUBREAPER), so its CPU
time can be read when it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator

#: Variables of this process that a program gets as well. All others could change what is measured.
_KEPT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
#: From <linux/prctl.h>.
_PR_SET_CHILD_SUBREAPER: Final = 36
#: Seconds between two looks at a process that was left behind, and for how long to look.
_LOOK: Final = 0.1
_QUIET_WAIT: Final = 3.0

_PACKAGE: Final = importlib.util.find_spec("producttelemetry")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
#: Where the package is imported from.
_ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(_PACKAGE.origin)))


class Left(NamedTuple):
    """How a program ran.

    Attributes:
        pipe_ms: milliseconds from its start to the end of its standard output.
        process_ms: to its own end.
        cpu_ms: CPU time that it used itself.
        output: what it printed.
        orphans: processes that it left behind.
    """

    pipe_ms: float
    process_ms: float
    cpu_ms: float
    output: bytes
    orphans: tuple[int, ...]


def environment(home: str) -> dict[str, str]:
    """Return the environment of a user at a terminal: a home, and none of the variables that CI services set.

    The package that is measured is the one beside this process, wherever a program or what it leaves behind runs.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "HOME": home, "PYTHONPATH": _ROOT}


@contextlib.contextmanager
def subreaper() -> Generator[None]:
    """Get the processes that our children leave behind as children."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def run(source: str, home: str) -> Left:
    """Run a Python program to the end of its pipe.

    Args:
        source: the program.
        home: its home directory.
    """
    before = _children()
    reader, writer = os.pipe()
    pid, started = _spawn([sys.executable, "-c", source], environment(home), writer)
    os.close(writer)
    output, pipe_end, process_end = _await(pid, reader)
    os.close(reader)
    _, _, used = os.wait4(pid, 0)
    return Left(
        1000 * (pipe_end - started),
        1000 * (process_end - started),
        1000 * (used.ru_utime + used.ru_stime),
        output,
        tuple(_children() - before - {pid}),
    )


def _spawn(command: list[str], variables: dict[str, str], output: int) -> tuple[int, float]:
    """Start a program; return its process id and the time right before its start."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, variables, file_actions=actions)
    os.close(null)
    return pid, started


def _await(pid: int, reader: int) -> tuple[bytes, float, float]:
    """Wait for the end of a process and of its pipe, whichever comes first."""
    output = bytearray()
    pipe_end = process_end = 0.0
    process = os.pidfd_open(pid)
    watch = select.poll()
    for descriptor in (reader, process):
        watch.register(descriptor, select.POLLIN)
    while not (pipe_end and process_end):
        for descriptor, _ in watch.poll():
            if descriptor == process:
                process_end = time.perf_counter()
                watch.unregister(process)
            elif part := os.read(reader, 1 << 16):
                output += part
            else:
                pipe_end = time.perf_counter()
                watch.unregister(reader)
    os.close(process)
    return bytes(output), pipe_end, process_end


def _children() -> set[int]:
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as children:
        return set(map(int, children.read().split()))


def wait_until_quiet(orphans: tuple[int, ...]) -> None:
    """Wait until processes use no CPU time, so that they do not disturb what is measured next; a bounded time."""
    deadline = time.monotonic() + _QUIET_WAIT
    used = -1
    while orphans and used != (used := sum(map(_ticks, orphans))) and time.monotonic() < deadline:
        time.sleep(_LOOK)


def _ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime and stime, proc(5)


def background_cpu_ms(orphan: int) -> float:
    """Wait for the end of a process that was left behind; return the CPU time that it used."""
    _, _, used = os.wait4(orphan, 0)
    return 1000 * (used.ru_utime + used.ru_stime)
