"""A whole program with one event: from its start to its own end, to the end of its pipe, and what works on after it.

The program imports the SDK, makes a client, tracks one event and ends. Its server answers after 80 ms, refuses
connections, or accepts them and never answers. Each run has a new home directory; in the second half, one in which
999 events of earlier runs wait, so that the program's own makes the queue full. The memory-only SDKs have no such
queue: it says so instead of a figure. CPU time is that of the program, and that of the process that it left behind,
which is ours to wait for (see `_programs`). A side that has used up its time has no more rounds.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from . import _sdks
from ._harness import Settings, between, in_turn
from ._programs import Left, background_cpu_ms, subreaper, wait_until_quiet
from ._programs import run as run_program
from ._servers import Server, answering, hanging, refusing
from ._spools import home_with
from ._tables import Answer, Row, Table
from ._workers import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

#: A program that does nothing: what an interpreter costs.
BARE: Final = "python -c pass"
#: Seconds until the first server answers.
DELAY: Final = 0.08
#: Events that wait in the second half: with the program's own, the queue is full by the default cap.
PENDING: Final = 999
#: Seconds that the runs of one side may take, for one server, before it has no more rounds.
_PATIENCE: Final = 12.0
#: Where ptelemetry keeps what it could not send, in a home directory.
_FORMER_QUEUE: Final = os.path.join(".config", "producttelemetry", "default", "pending_events.json")
_NO_QUEUE: Final = "keeps no queue"


@dataclass
class _Side:
    """One program in one case.

    Attributes:
        source: the program.
        prepare: returns a new home directory.
        kept: counts the events that wait in a home directory; None for what keeps no queue.
        delivered: counts the events that the server has got from this side so far.
        homes: of its runs.
        left: its runs.
        spent: seconds of them all.
    """

    source: str
    prepare: Callable[[int], str]
    kept: Callable[[str], int] | None = None
    delivered: Callable[[], int] = int
    homes: list[str] = field(default_factory=list[str])
    left: list[Left] = field(default_factory=list[Left])
    spent: float = 0.0

    def run(self, number: int) -> None:
        """Run it once more."""
        started = time.monotonic()
        self.homes.append(self.prepare(number))
        left = run_program(self.source, self.homes[-1])
        wait_until_quiet(left.orphans)
        self.spent += time.monotonic() - started
        self.left.append(left)


def run(settings: Settings) -> Answer:
    """Measure three servers with an empty queue, then with a full one."""
    tables: dict[str, Table] = {}
    servers: dict[str, tuple[str, Any]] = {
        "answers": (f"the server answers after {1000 * DELAY:.0f} ms", lambda: answering(DELAY)),
        "refuses": ("the server refuses connections", refusing),
        "hangs": ("the server accepts and never answers", hanging),
    }
    with subreaper():
        for name, (title, start) in servers.items():
            with start() as server:
                tables[name] = _case(settings, name, title, _empty(settings, name, server))
                with_queue = f"{title}; {PENDING:,} events wait"
                tables[f"{name}-full"] = _case(settings, name, with_queue, _full(settings, name, server))
    return Answer("How long does a program with one event take, and what works on after it?", tables)


def _empty(settings: Settings, case: str, server: Server) -> dict[str, _Side]:
    def prepare(name: str) -> Callable[[int], str]:
        return lambda number: _new_home(settings, f"{case}-{name}-{number}")

    sdks = {name: sdk for name, sdk in _sdks.installed().items() if not (settings.quick and sdk.slow)}
    sides = {name: _Side(sdk.program(server.url), prepare(name)) for name, sdk in sdks.items()}
    return {BARE: _Side("pass", prepare("bare")), **sides}


def _full(settings: Settings, case: str, server: Server) -> dict[str, _Side]:
    def ours(number: int) -> str:
        return home_with(settings, f"{case}-full-{number}", PENDING, server.url)

    def theirs(number: int) -> str:
        """What ptelemetry leaves when its server cannot be reached."""
        home = _new_home(settings, f"{case}-full-ptelemetry-{number}")
        queue = os.path.join(home, _FORMER_QUEUE)
        os.makedirs(os.path.dirname(queue))
        with open(queue, "w", encoding="utf-8") as file:
            json.dump({"events": [_former_event(index) for index in range(PENDING)]}, file)
        return home

    def pending(home: str) -> int:
        return in_child(lambda: _pending(server.url), home)

    sides = {
        _sdks.OURS: _Side("", ours, pending, lambda: server.counts().events),
        "ptelemetry": _Side("", theirs, _former_pending, lambda: server.counts().former_events),
    }
    for name, side in sides.items():
        side.source = _sdks.SDKS[name].program(server.url)
    return {name: side for name, side in sides.items() if _sdks.SDKS[name].installed}


def _pending(url: str) -> int:
    from producttelemetry import Telemetry  # noqa: PLC0415  # not in the parent, see `_workers`

    return Telemetry("key", url).stats().pending


def _former_pending(home: str) -> int:
    try:
        with open(os.path.join(home, _FORMER_QUEUE), encoding="utf-8") as file:
            return len(json.load(file)["events"])
    except FileNotFoundError:
        return 0


def _former_event(number: int) -> dict[str, Any]:
    return {
        "event_name": "command.executed",
        "event_type": "usage",
        "client_id": "6f0f4b9e-6f6c-4f0c-9d6c-0b8f5f1f2a11",
        "session_id": "2c1b3a80-3c5e-4c39-8a5d-6a1f3c9f7d22",
        "timestamp": f"2026-11-23T12:00:00.{number:06}+00:00",
        "properties": _sdks.SMALL,
    }


def _new_home(settings: Settings, name: str) -> str:
    home = os.path.join(settings.workspace, name)
    os.mkdir(home)
    return home


def _case(settings: Settings, case: str, title: str, sides: dict[str, _Side]) -> Table:
    patience = settings.choose(int(_PATIENCE), 4)
    rounds = settings.choose(9, 2)
    before = {name: side.delivered() for name, side in sides.items()}
    for number in range(rounds):
        for name in in_turn(list(sides), number):
            if sides[name].spent < patience:
                sides[name].run(number)
    background = {name: _background(side) for name, side in sides.items()}
    rows = {name: _row(side, background[name]) for name, side in sides.items()}
    for name, side in sides.items():
        rows[name] |= _accounts(side, side.delivered() - before[name])
    if BARE not in sides:
        rows |= {name: {"end of pipe": _NO_QUEUE} for name in _sdks.installed() if name not in sides}
    for name in os.listdir(settings.workspace):
        if name.startswith(case):
            shutil.rmtree(os.path.join(settings.workspace, name))
    return Table(title, "ms", rows, [f"Up to {rounds} rounds, a new home directory each."])


def _accounts(side: _Side, delivered: int) -> Row:
    """Return what became of the events of each run: those that waited, and its own."""
    if side.kept is None:
        return {}
    runs = len(side.left)
    kept = sum(map(side.kept, side.homes))
    row: Row = {"delivered": delivered / runs, "kept": kept / runs}
    return {**row, "lost": PENDING + 1 - (delivered + kept) / runs}


def _background(side: _Side) -> list[float]:
    """Wait for what the runs of a side have left behind; return the CPU time of each run's."""
    return [sum(map(background_cpu_ms, left.orphans)) for left in side.left]


def _row(side: _Side, background: list[float]) -> Row:
    pipes = [left.pipe_ms for left in side.left]
    return {
        "end of pipe": statistics.median(pipes),
        "quartiles": between(pipes),
        "longest": max(pipes),
        "own end": statistics.median(left.process_ms for left in side.left),
        "own CPU": statistics.median(left.cpu_ms for left in side.left),
        "background CPU": statistics.median(background),
        "processes left": statistics.median(len(left.orphans) for left in side.left),
        "runs": len(pipes),
    }
