"""A full queue: what `track()` costs when each event has to take the place of another, or is refused.

The cap is the default of 1,000 events, which are there before the first round. `room` is the same client with a cap
that is not reached. With `drop_oldest` the writer takes the lock for each event, evicts the oldest one and counts it;
with `drop_newest` it looks whether there is room. The peers have a bound as well: diskcache drops the oldest, litequeue
refuses by an exception, which is caught. Rows of calls that are
refused say so. A second table has eight processes on one full queue.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from . import _queues
from ._harness import Plan, Settings, interleave, summary
from ._sdks import SMALL
from ._tables import Answer, Table
from ._workers import Opener, workers
from .processes import crowd

if TYPE_CHECKING:
    from collections.abc import Callable

#: Events in the queue: the default cap.
CAP: Final = 1000
ROOM: Final = "track(), room"
_PROCESSES: Final = 8


def run(settings: Settings) -> Answer:
    """Measure one process, then eight."""
    tables = {"one": _one(settings), "eight": _eight(settings)}
    return Answer("What does a full queue cost?", tables)


def _sides() -> dict[str, Opener]:
    sides: dict[str, Opener] = {
        ROOM: _queues.ours(SMALL),
        "track(), drop_oldest": _filled(_queues.ours(SMALL, max_queue_size=CAP)),
        "track(), drop_newest, refused": _filled(_queues.ours(SMALL, max_queue_size=CAP, overflow="drop_newest")),
    }
    peers: dict[str, tuple[str, Callable[[], Callable[[], object]]]] = {
        "diskcache.Deque(maxlen=1000)": ("diskcache", _diskcache),
        "litequeue, maxsize=1000, refused": ("litequeue", _litequeue),
    }
    installed = {name: opener for name, (module, opener) in peers.items() if importlib.util.find_spec(module)}
    return {**sides, **{name: _filled(opener) for name, opener in installed.items()}}


def _filled(opener: Opener) -> Opener:
    """Return an opener of a full queue."""

    def open_and_fill() -> Callable[[], object]:
        call = opener()
        for _ in range(CAP + 1):
            call()
        return call

    return open_and_fill


def _diskcache() -> Callable[[], object]:
    module: Any = importlib.import_module("diskcache")
    deque = module.Deque(directory=os.path.join(os.environ["HOME"], "diskcache"), maxlen=CAP)
    event = _queues.event(SMALL)
    return lambda: deque.append(json.dumps(event))


def _litequeue() -> Callable[[], object]:
    module: Any = importlib.import_module("litequeue")
    queue = module.LiteQueue(os.path.join(os.environ["HOME"], "litequeue.db"), maxsize=CAP)
    event = _queues.event(SMALL)

    def put() -> None:
        with contextlib.suppress(sqlite3.IntegrityError):  # it is full
            queue.put(json.dumps(event))

    return put


def _one(settings: Settings) -> Table:
    plan = Plan(settings.choose(20, 3), batch=300, warm_up=100)
    with workers(_sides(), os.path.join(settings.workspace, "full")) as batches:
        rounds = interleave(batches, plan)
    notes = [f"{plan.rounds} rounds of {plan.batch} calls each; ratios to {ROOM}, formed in each round."]
    return Table("one process", "µs", summary(rounds, ROOM), notes)


def _eight(settings: Settings) -> Table:
    rounds, seconds = settings.choose(4, 1), 0.5
    sides = {name: opener for name, opener in _sides().items() if name.startswith("track")}
    rows = crowd(settings, sides, _PROCESSES, (rounds, seconds), ROOM)
    for row in rows.values():
        row["calls/s"] = row.pop("events/s")  # a refused call stores no event
    rows = {name: {"calls/s": row["calls/s"], **row} for name, row in rows.items()}
    notes = [f"{rounds} rounds of {seconds} s each; the ratio is of calls/s to {ROOM}, formed in each round."]
    return Table(f"{_PROCESSES} processes that write as fast as they can", "µs", rows, notes)
