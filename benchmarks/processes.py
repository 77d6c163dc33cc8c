"""One queue, 1 to 16 processes that write to it at the same time: throughput, and what a single call waits.

All processes of a side share one home directory and start at one moment; each writes as fast as it can for a fixed
time. The sides take turns in each round. `flock` and `filelock` around each write are what one would build by hand;
the SQLite queues lock for one anyway: diskcache says so, litequeue's documentation does not speak of processes, but
SQLite's does. queuelib is for one process by its documentation, and persist-queue claims threads alone. The last table
stops one of two processes (SIGSTOP) at random instants, and tells what the other waited at most, and what became of its
events.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import _queues, _sdks
from ._harness import Settings, at, between, in_turn
from ._queues import DISKCACHE, FILELOCK, FLOCK, FLOOR, LITEQUEUE, QUEUELIB, SQLITE, THREADS_ONLY, TRACK
from ._tables import Answer, Row, Table
from ._workers import Opener, together

if TYPE_CHECKING:
    from collections.abc import Callable

#: Numbers of processes.
COUNTS: Final = (1, 2, 4, 8, 16)
_SHARED: Final = (FLOOR, FLOCK, FILELOCK, SQLITE, LITEQUEUE, DISKCACHE)
#: Seconds for which a process stands still in the last table.
_STOPPED: Final = 0.5
_STOPPED_SIDES: Final = (FLOCK, SQLITE)
#: The default cap.
_CAP: Final = 1000
#: What the design promises at the most.
_TOLERATED_MS: Final = 150.0


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
    if count > 1:
        rows |= {QUEUELIB.name: {"events/s": "one process only"}}
        rows |= {queue.name: {"events/s": "not claimed"} for queue in THREADS_ONLY}
    note = f"{rounds} rounds of {seconds} s each; the ratio is of events/s to {FLOOR.name}, formed in each round."
    return Table(f"{count} processes on one queue" if count > 1 else "1 process", "µs", rows, [note])


def crowd(
    settings: Settings, sides: dict[str, Opener], count: int, plan: tuple[int, float], reference: str
) -> dict[str, Row]:
    """Let so many processes of each side write; return events per second of all, and microseconds of single calls.

    Args:
        settings: where.
        sides: they take turns.
        count: how many processes share a home directory.
        plan: rounds, and the seconds of each.
        reference: the side that the ratios of events per second are to.
    """
    rounds, seconds = plan
    home = os.path.join(settings.workspace, "crowd")
    times: dict[str, list[float]] = {name: [] for name in sides}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in in_turn(list(sides), number):
            calls, rate = _gather(together(sides[name], home, count, partial(_write, seconds=seconds)))
            times[name] += calls
            rates[name].append(rate)
            shutil.rmtree(home)
    return {name: _row(times[name], rates[name], rates[reference]) for name in sides}


class _Written(NamedTuple):
    """What one process did.

    Attributes:
        started: a moment of the clock that all processes share, in seconds.
        ended: when its last call returned.
        times: of its calls, in microseconds.
    """

    started: float
    ended: float
    times: list[float]


def _gather(found: list[_Written]) -> tuple[list[float], float]:
    """Return the times of all calls, and calls per second from the first start to the last end."""
    calls = [time for one in found for time in one.times]
    return calls, len(calls) / (max(one.ended for one in found) - min(one.started for one in found))


def _write(call: Callable[[], object], seconds: float) -> _Written:
    times: list[float] = []
    started = now = time.perf_counter()
    while now < started + seconds:
        call()
        before, now = now, time.perf_counter()
        times.append(1e6 * (now - before))
    return _Written(started, now, times)


def _row(times: list[float], rates: list[float], base: list[float]) -> Row:
    return {
        "events/s": statistics.median(rates),
        "quartiles": between(rates),
        "p50": at(times, 0.5),
        "p99": at(times, 0.99),
        "p99.9": at(times, 0.999),
        "max": max(times),
        "ratio": statistics.median(one / other for one, other in zip(rates, base, strict=True)),
    }


class _Ours:
    """Our `track()`, which can be asked what became of its events."""

    def __init__(self) -> None:
        from producttelemetry import Telemetry  # noqa: PLC0415  # not in the parent, see `_workers`

        options: dict[str, Any] = {"flush_at": 10**7, "flush_interval": 3600.0, "on_exit": "keep"}
        self._client = Telemetry("key", "http://127.0.0.1:9", max_queue_size=_CAP, **options)

    def __call__(self) -> None:
        self._client.track("command.executed", _sdks.SMALL)

    def fate(self) -> tuple[int, int]:
        """Return how many events wait in memory, and how many were dropped since they did not fit there."""
        stats = self._client.stats()
        return stats.volatile, stats.dropped["memory"]


class _Survivor(NamedTuple):
    """What a process found whose neighbour stood still.

    Attributes:
        longest: call, in milliseconds.
        in_memory: events that wait there at its end.
        dropped: events that did not fit there.
    """

    longest: float
    in_memory: int
    dropped: int


def _stopped_table(settings: Settings) -> Table:
    trials = settings.choose(15, 3)
    sides: dict[str, Opener] = {TRACK: _Ours}
    sides |= {queue.name: queue.opener(_sdks.SMALL) for queue in _STOPPED_SIDES}
    found: dict[str, list[_Survivor]] = {name: [] for name in sides}
    for number in range(trials):
        for name in in_turn(list(sides), number):
            found[name].append(_stopped(settings, sides[name]))
    note = (
        f"{trials} trials; our queue has its default cap of {_CAP:,} events and is full, so that processes meet at its "
        f"lock as often as they can. `in memory` and `dropped` (counted as `memory`) are events of the other process, "
        f"the most of a trial, while its neighbour still stands."
    )
    rows = {name: _stopped_row(survivors) for name, survivors in found.items()}
    return Table(f"one of two processes is stopped for {_STOPPED} s: longest call of the other", "ms", rows, [note])


def _stopped_row(found: list[_Survivor]) -> Row:
    return {
        "median of the longest": statistics.median(one.longest for one in found),
        "longest of all": max(one.longest for one in found),
        "trials over 150 ms": sum(one.longest > _TOLERATED_MS for one in found),
        "in memory": max(one.in_memory for one in found),
        "dropped": max(one.dropped for one in found),
    }


def _stopped(settings: Settings, opener: Opener) -> _Survivor:
    """Return what a process finds whose neighbour stands still for a while."""
    home = os.path.join(settings.workspace, "stopped")
    delay = random.uniform(0.05, 0.15)  # an instant like any other

    def stop_one(pids: list[int]) -> None:
        time.sleep(delay)
        os.kill(pids[0], signal.SIGSTOP)
        try:
            time.sleep(_STOPPED)
        finally:
            os.kill(pids[0], signal.SIGCONT)

    seconds = delay + _STOPPED / 2  # a call that waits for the neighbour ends with its stop, however long this says
    _, other = together(opener, home, 2, partial(_survive, seconds=seconds), stop_one)
    shutil.rmtree(home)
    return other


def _survive(call: Callable[[], object], seconds: float) -> _Survivor:
    longest = max(_write(call, seconds).times) / 1000
    return _Survivor(longest, *(call.fate() if isinstance(call, _Ours) else (0, 0)))
