"""Whether a long queue makes anything slower: `track()`, constructor, `stats()` and `flush()`, up to 1,000,000 events.

For each length there is a home directory in which so many events wait, written by a process that is dead; the lengths
are the sides and take turns. `first track()` is that of a new process, which looks for orphans and takes a segment;
`flush()` meets a server that refuses, so it is what a flush costs before anything is sent.
"""

from __future__ import annotations

import contextlib
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ._harness import Plan, Settings, Times, at, between, interleave, timed
from ._sdks import SMALL
from ._servers import refusing
from ._spools import home_with
from ._tables import Answer, Row, Table
from ._workers import Opener, Worker, in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The constructor's arguments for a client that sends nothing by itself and whose cap is not reached.
_OPTIONS: Final[dict[str, Any]] = {
    "max_queue_size": 10**8,
    "flush_at": 10**7,
    "flush_interval": 3600.0,
    "on_exit": "keep",
    "flush_timeout": 60.0,
}


def run(settings: Settings) -> Answer:
    """Measure every operation at every length."""
    lengths = (0, 1_000, 10_000) if settings.quick else (0, 1_000, 100_000, 1_000_000)
    rows: dict[str, Row] = {f"{length:,} pending": {} for length in lengths}
    spread: dict[str, Row] = {name: {} for name in rows}

    def add(column: str, found: Mapping[str, list[Times]]) -> None:
        for name, rounds in found.items():
            calls = [time for times in rounds for time in times]
            rows[name][column] = at(calls, 0.5)
            spread[name][column] = between(calls)

    with refusing() as server:
        homes = {
            name: home_with(settings, f"growth-{length}", length, server.url)
            for name, length in zip(rows, lengths, strict=True)
        }
        operations: dict[str, tuple[Callable[[str], Opener], Plan]] = {
            "constructor": (_constructor, Plan(settings.choose(10, 3), batch=10, warm_up=2)),
            "stats()": (partial(_method, name="stats"), Plan(settings.choose(5, 3), batch=1, warm_up=1)),
            "flush(), refused": (partial(_method, name="flush"), Plan(settings.choose(10, 3), batch=1, warm_up=1)),
        }
        for name, (opener, plan) in operations.items():
            add(name, _measure(homes, partial(opener, server.url), plan))
        add("first track()", _first(homes, server.url, settings.choose(10, 3)))
        tracked = _measure(homes, partial(_track, server.url), Plan(settings.choose(20, 4), batch=500, warm_up=500))
    add("track()", tracked)
    for name, rounds in tracked.items():
        rows[name]["track() p99"] = at([time for times in rounds for time in times], 0.99)
    for home in homes.values():
        shutil.rmtree(home)
    note = "Medians; the cap is far above every length, so that nothing is evicted."
    tables = {
        "growth": Table("by length of the queue", "µs", rows, [note]),
        "spread": Table("quartiles of the same", "µs", spread),
    }
    return Answer("Does a long queue make anything slower?", tables)


def _measure(homes: dict[str, str], opener: Callable[[], Opener], plan: Plan) -> dict[str, list[Times]]:
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(opener(), home)) for name, home in homes.items()}
        return interleave(workers, plan)


def _first(homes: dict[str, str], url: str, rounds: int) -> dict[str, list[Times]]:
    """Measure the first event of new processes."""

    def first() -> Times:
        client = _client(url)
        return [time / 1000 for time in timed(lambda: client.track("command.executed", SMALL), 1)]

    def side(home: str) -> Callable[[int], Times]:
        return lambda _: in_child(first, home)

    sides = {name: side(home) for name, home in homes.items()}
    return interleave(sides, Plan(rounds, batch=1, warm_up=1))


def _client(url: str) -> Any:
    from producttelemetry import Telemetry  # noqa: PLC0415  # not in the parent, see `_workers`

    return Telemetry("key", url, **_OPTIONS)


def _constructor(url: str) -> Opener:
    return lambda: partial(_client, url)


def _method(url: str, name: str) -> Opener:
    return lambda: getattr(_client(url), name)


def _track(url: str) -> Opener:
    return lambda: partial(_client(url).track, "command.executed", SMALL)
