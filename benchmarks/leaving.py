"""A whole program with one event: from its start to its own end, to the end of its pipe, and what works on after it.

The program imports the SDK, makes a client, tracks one event and ends. Its server answers after 80 ms, refuses
connections, or accepts them and never answers. Each run has a new home directory that has been used before: there is a
client id, and no event or 999 of earlier runs, so that the program's own makes the queue full; the memory-only SDKs
have no such queue. All of them take turns, a program that does nothing among them. CPU time is that of the program,
and that of the process that it left behind, which is ours to wait for (see `_programs`). Each side has a server of its
own, which counts the events that it gets. A side that has used up its time has no more rounds. The last table runs ten
commands one after another in one home.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import statistics
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

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
    from contextlib import AbstractContextManager

#: A program that does nothing: what an interpreter costs.
BARE: Final = "python -c pass"
#: Seconds until the first server answers.
DELAY: Final = 0.08
#: Events that wait in the full queue: with the program's own, it is full by the default cap.
PENDING: Final = 999
#: What the name of a side with a full queue ends with.
FULL: Final = f", {PENDING} events wait"
#: The three servers, by the names of the tables: what they do, and how to have one.
SERVERS: Final[dict[str, tuple[str, Callable[[], AbstractContextManager[Server]]]]] = {
    "answers": (f"the server answers after {1000 * DELAY:.0f} ms", partial(answering, DELAY)),
    "refuses": ("the server refuses connections", refusing),
    "hangs": ("the server accepts and never answers", hanging),
}
#: Seconds that the runs of one side may take, for one server, before it has no more rounds.
_PATIENCE: Final = 12
#: Where ptelemetry keeps its files, in a home directory, and there what it could not send.
_FORMER: Final = os.path.join(".config", "producttelemetry", "default")
_FORMER_QUEUE: Final = os.path.join(_FORMER, "pending_events.json")
#: Commands of the last table.
_COMMANDS: Final = 10


@dataclass
class _Side:
    """One program in one case.

    Attributes:
        source: the program.
        prepare: makes a new home directory of that name.
        server: its own; counts the events that it gets.
        events: those that wait, and the program's own.
        kept: counts the events that wait in a home directory.
        homes: of its runs.
        left: its runs.
        got: events that the server had before each run.
        spent: seconds of them all.
    """

    source: str
    prepare: Callable[[str], object]
    server: Server | None = None
    events: int = 0
    kept: Callable[[str], int] = lambda _: 0
    homes: list[str] = field(default_factory=list[str])
    left: list[Left] = field(default_factory=list[Left])
    got: list[int] = field(default_factory=list[int])
    spent: float = 0.0

    def run(self, home: str) -> None:
        """Run it once more."""
        started = time.monotonic()
        self.prepare(home)
        self.homes.append(home)
        self.got.append(self.arrived())
        left = run_program(self.source, home)
        wait_until_quiet(left.orphans)
        self.spent += time.monotonic() - started
        self.left.append(left)

    def arrived(self) -> int:
        """Return how many events the server has got from this side so far."""
        return self.server.counts().events if self.server else 0


def run(settings: Settings) -> Answer:
    """Measure three servers, then ten commands in one home."""
    tables: dict[str, Table] = {}
    with subreaper():
        for name, (title, start) in SERVERS.items():
            with contextlib.ExitStack() as stack:
                tables[name] = _case(settings, title, _sides(settings, partial(_serve, stack, start)))
        tables["loop"] = _loop(settings)
    return Answer("How long does a program with one event take, and what works on after it?", tables)


def _serve(stack: contextlib.ExitStack, start: Callable[[], AbstractContextManager[Server]]) -> Server:
    return stack.enter_context(start())


def _sides(settings: Settings, serve: Callable[[], Server]) -> dict[str, _Side]:
    sides = {BARE: _Side("pass", os.mkdir)}
    for name, sdk in _sdks.installed().items():
        if settings.quick and sdk.slow:
            continue
        for pending in (0, PENDING) if name in _QUEUES else (0,):
            server = serve()
            prepare, kept = _QUEUES.get(name, _no_queue)(settings, pending, server.url)
            side = _Side(sdk.program(server.url), prepare, server, pending + 1, kept)
            sides[name + FULL if pending else name] = side
    return sides


#: How to prepare a home directory, and how to count the events that wait in one.
_Queue: TypeAlias = "tuple[Callable[[str], object], Callable[[str], int]]"


def _no_queue(settings: Settings, pending: int, url: str) -> _Queue:
    del settings, pending, url
    return os.mkdir, lambda _: 0


def _our_queue(settings: Settings, pending: int, url: str) -> _Queue:
    def prepare(home: str) -> str:
        return home_with(settings, os.path.basename(home), pending, url)

    return prepare, partial(in_child, lambda: _pending(url))


def _former_queue(settings: Settings, pending: int, url: str) -> _Queue:
    """Return how to make what ptelemetry leaves when its server cannot be reached."""
    del settings, url

    def prepare(home: str) -> None:
        os.makedirs(os.path.join(home, _FORMER))
        with open(os.path.join(home, _FORMER, "client_id"), "w", encoding="utf-8") as file:
            file.write("6f0f4b9e-6f6c-4f0c-9d6c-0b8f5f1f2a11")
        if pending:
            with open(os.path.join(home, _FORMER_QUEUE), "w", encoding="utf-8") as file:
                json.dump({"events": [_former_event(index) for index in range(pending)]}, file)

    return prepare, _former_pending


_QUEUES: Final = {_sdks.OURS: _our_queue, "ptelemetry": _former_queue}


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


def _case(settings: Settings, title: str, sides: dict[str, _Side]) -> Table:
    patience = settings.choose(_PATIENCE, 4)
    rounds = settings.choose(9, 2)
    for number in range(rounds):
        for index, name in enumerate(in_turn(list(sides), number)):
            if sides[name].spent < patience:
                sides[name].run(os.path.join(settings.workspace, f"home-{number}-{index}"))
    background = {name: _background(side) for name, side in sides.items()}
    rows = {name: _row(side, background[name]) | _accounts(side) for name, side in sides.items()}
    for side in sides.values():
        for home in side.homes:
            shutil.rmtree(home)
    note = (
        f"Up to {rounds} rounds, a new home directory each. `delivered` and `kept` are means of all runs; what is lost "
        f"was neither, of the {PENDING + 1:,} events where a queue was there, else of the one event."
    )
    return Table(title, "ms", rows, [note, *_sdks.missing()])


def _accounts(side: _Side) -> Row:
    """Return what became of the events of each run: those that waited, and its own."""
    if not side.events:
        return {}
    got = [*side.got, side.arrived()]
    delivered = [after - before for before, after in itertools.pairwise(got)]
    kept = [side.kept(home) for home in side.homes]
    lost = [side.events - sum(both) for both in zip(delivered, kept, strict=True)]
    return {
        "delivered": statistics.mean(delivered),
        "kept": statistics.mean(kept),
        "runs that lost events": f"{sum(one > 0 for one in lost)} of {len(lost)}",
        "lost in a run": f"{min(lost)} … {max(lost)}",
    }


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


def _loop(settings: Settings) -> Table:
    """Run commands one after another in one home; return what they leave behind in all."""
    rounds = settings.choose(3, 1)
    found: list[tuple[float, float, float, int]] = []
    for number in range(rounds):
        with answering(DELAY) as server:
            home = home_with(settings, f"loop-{number}", 0, server.url)
            source = _sdks.SDKS[_sdks.OURS].program(server.url)
            started = time.monotonic()
            runs = [run_program(source, home) for _ in range(_COMMANDS)]
            seconds = time.monotonic() - started
            orphans = [orphan for left in runs for orphan in left.orphans]
            cpu = sum(map(background_cpu_ms, orphans))
            found.append((1000 * seconds, len(orphans), cpu, server.counts().events))
    columns = ("all commands", "processes left", "background CPU", "delivered")
    row: Row = {name: statistics.median(values) for name, values in zip(columns, zip(*found, strict=True), strict=True)}
    notes = [f"Medians of {rounds} rounds; a command starts when the one before has ended."]
    return Table(f"{_COMMANDS} commands in one home", "ms", {_sdks.OURS: row}, notes)
