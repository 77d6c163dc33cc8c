"""One queue, 1 to 16 processes that write to it at the same time: throughput, and what a single call waits.

All processes of a side share one home directory and start at one moment; each writes as fast as it can for a fixed
time. The sides take turns in each round. `flock` and `filelock` around each write are what one would build by hand;
the SQLite queues lock for one anyway. queuelib and persist-queue are for one process by their own documentation. The
last table stops one of two processes (SIGSTOP) at random instants, and tells what the other waited at most.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from . import _queues, _sdks
from ._harness import Settings, at, between, in_turn
from ._queues import DISKCACHE, FILELOCK, FLOCK, FLOOR, LITEQUEUE, QUEUELIB, SQLITE
from ._tables import Answer, Row, Table
from ._workers import Opener, together

if TYPE_CHECKING:
    from collections.abc import Callable

#: Numbers of processes.
COUNTS: Final = (1, 2, 4, 8, 16)
TRACK: Final = "track()"
_SHARED: Final = (FLOOR, FLOCK, FILELOCK, SQLITE, LITEQUEUE, DISKCACHE)
#: Seconds for which a process stands still in the last table.
_STOPPED: Final = 0.5
_STOPPED_SIDES: Final = (FLOCK, SQLITE)


def run(settings: Settings) -> Answer:
    """Measure every number of processes, then the stopped neighbour."""
    tables = {str(count): _table(settings, count) for count in settings_counts(settings)}
    tables["stopped"] = _stopped_table(settings)
    tables["1"].notes.extend(_queues.missing((*_SHARED, QUEUELIB)))
    return Answer("What do several processes on one queue cost each other?", tables)


def settings_counts(settings: Settings) -> tuple[int, ...]:
    """Return the numbers of processes that are measured."""
    return (1, 8) if settings.quick else COUNTS


def _sides() -> dict[str, Opener]:
    shared: dict[str, Opener] = {queue.name: queue.opener(_sdks.SMALL) for queue in _SHARED if queue.installed}
    return {TRACK: _queues.ours(_sdks.SMALL), **shared}


def _table(settings: Settings, count: int) -> Table:
    seconds = 0.3 if settings.quick else 0.8
    rounds = settings.choose(4, 1)
    rows = crowd(settings, _sides(), count, (rounds, seconds), FLOOR.name)
    rows |= {queue.name: {"events/s": "one process only"} for queue in (QUEUELIB,) if count > 1}
    note = f"{rounds} rounds of {seconds} s each; the ratio is of events/s to {FLOOR.name}, formed in each round."
    return Table(f"{count} processes on one queue" if count > 1 else "1 process", "µs", rows, [note])


def crowd(
    settings: Settings, sides: dict[str, Opener], count: int, plan: tuple[int, float], reference: str
) -> dict[str, Row]:
    """Let so many processes of each side write as fast as they can.

    Args:
        settings: where.
        sides: they take turns.
        count: how many processes share a home directory.
        plan: rounds, and the seconds of each.
        reference: the side that the ratios of events per second are to.

    Returns:
        Figures for each side: events per second of all processes together, and microseconds of single calls.
    """
    rounds, seconds = plan
    home = os.path.join(settings.workspace, "crowd")
    times: dict[str, list[float]] = {name: [] for name in sides}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in in_turn(list(sides), number):
            found = together(sides[name], home, count, partial(_write, seconds=seconds))
            calls = [time for one in found for time in one]
            times[name] += calls
            rates[name].append(len(calls) / seconds)
            shutil.rmtree(home)
    return {name: _row(times[name], rates[name], rates[reference]) for name in sides}


def _write(call: Callable[[], object], seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    now = time.perf_counter()
    while now < end:
        call()
        before, now = now, time.perf_counter()
        times.append(1e6 * (now - before))
    return times


def _row(times: list[float], rates: list[float], base: list[float]) -> Row:
    return {
        "events/s": statistics.median(rates),
        "quartiles": between(rates),
        "p50": at(times, 0.5),
        "p99": at(times, 0.99),
        "max": max(times),
        "ratio": statistics.median(one / other for one, other in zip(rates, base, strict=True)),
    }


def _stopped_table(settings: Settings) -> Table:
    trials = settings.choose(15, 3)
    sides: dict[str, Opener] = {TRACK: _queues.ours(_sdks.SMALL, max_queue_size=1000)}
    sides |= {queue.name: queue.opener(_sdks.SMALL) for queue in _STOPPED_SIDES}
    longest: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(trials):
        for name, opener in sides.items():
            longest[name].append(_stopped(settings, opener))
    rows: dict[str, Row] = {
        name: {
            "median of the longest": statistics.median(found),
            "longest of all": max(found),
            "trials that waited over 150 ms": sum(one > _TOLERATED_MS for one in found),
        }
        for name, found in longest.items()
    }
    note = (
        f"{trials} trials; our queue has its default cap of 1,000 events and is full, so that processes meet at its "
        f"lock as often as they can."
    )
    return Table(f"one of two processes is stopped for {_STOPPED} s: longest call of the other", "ms", rows, [note])


#: What the design promises at the most.
_TOLERATED_MS: Final = 150.0


def _stopped(settings: Settings, opener: Opener) -> float:
    """Return the longest call, in milliseconds, of a process whose neighbour stands still for a while."""
    home = os.path.join(settings.workspace, "stopped")
    delay = random.uniform(0.05, 0.15)  # an instant like any other

    def stop_one(pids: list[int]) -> None:
        time.sleep(delay)
        os.kill(pids[0], signal.SIGSTOP)
        time.sleep(_STOPPED)
        os.kill(pids[0], signal.SIGCONT)

    seconds = delay + _STOPPED / 2  # a call that waits for the neighbour ends with its stop, however long this says
    _, other = together(opener, home, 2, partial(_write, seconds=seconds), stop_one)
    shutil.rmtree(home)
    return max(other) / 1000
